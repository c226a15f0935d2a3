"""`python -m clamp3` is the command `clamp3`."""

from clamp3.cli import app

if __name__ == "__main__":
    app()
