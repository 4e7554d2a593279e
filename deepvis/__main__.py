"""`python -m deepvis`: the command line, where the script `deepvis` is not on the path."""

import sys

from deepvis.cli.start import main

if __name__ == "__main__":
    sys.exit(main())
