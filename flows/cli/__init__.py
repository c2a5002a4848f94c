"""The `dreamline` command: `flows.cli:main`."""

from flows.cli.entry import main

__all__ = ["main"]
