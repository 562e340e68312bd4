"""The command as a module: ``python -m edgeemo run ...``."""

from edgeemo.cli.main import entry

if __name__ == "__main__":
    entry()
