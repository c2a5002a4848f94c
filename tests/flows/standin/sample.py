"""Stand-in for tasks.sample."""

from pathlib import Path

from standin.work import Params, make  # noqa: F401

from tasks.shared import cli
from tasks.shared.settings import Settings


def run(fine_tune: Path, out: Path, settings: Settings) -> None:
    """Hash the inputs."""
    make(
        "sample",
        out,
        settings,
        {"phrase": settings.subject.phrase, "base": settings.base.model_dump()},
        fine_tune=fine_tune,
    )


if __name__ == "__main__":
    cli.main(run)
