"""Stand-in for tasks.evaluate."""

from pathlib import Path

from standin.work import Params, make  # noqa: F401

from tasks.shared import cli
from tasks.shared.settings import Settings


def run(segment: Path, sample: Path, out: Path, settings: Settings) -> None:
    """Hash the inputs."""
    make("evaluate", out, settings, {"phrase": settings.subject.phrase}, segment=segment, sample=sample)


if __name__ == "__main__":
    cli.main(run)
