"""Stand-in for tasks.segment."""

from pathlib import Path

from standin.work import Params, make  # noqa: F401

from tasks.shared import cli
from tasks.shared.settings import Settings


def run(photos: Path, out: Path, settings: Settings) -> None:
    """Hash the inputs."""
    make("segment", out, settings, {}, photos=photos)


if __name__ == "__main__":
    cli.main(run)
