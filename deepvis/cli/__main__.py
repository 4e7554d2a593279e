"""`python -m deepvis.cli`: the same as `python -m deepvis`."""

import sys

from deepvis.cli.start import main

if __name__ == "__main__":
    sys.exit(main())
