"""`python -m deepvis`: the command line, where the script `deepvis` is not on the path."""

from deepvis.cli import main

if __name__ == "__main__":
    main()
