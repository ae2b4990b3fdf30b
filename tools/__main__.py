"""`python -m tools` is `iznet`."""

from tools.cli import main

if __name__ == "__main__":
    main()
