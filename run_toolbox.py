"""Open the toolbox: the same as `deepvis live`."""

import sys

from deepvis.cli.start import main

if __name__ == "__main__":
    sys.exit(main(["live", *sys.argv[1:]]))
