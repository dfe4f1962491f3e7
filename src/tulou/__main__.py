"""`python -m tulou` is the same command as `tulou`."""

from tulou.cli import main

if __name__ == "__main__":
    main()
