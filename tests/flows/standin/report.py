"""Stand-in for tasks.report."""

from pathlib import Path

from standin.work import Params, make  # noqa: F401

from tasks.shared import cli
from tasks.shared.settings import Settings


def run(
    photos: Path,
    segment: Path,
    prior: Path,
    fine_tune: Path,
    sample: Path,
    evaluate: Path,
    out: Path,
    settings: Settings,
) -> None:
    """Hash the inputs."""
    make(
        "report",
        out,
        settings,
        {"phrase": settings.subject.phrase},
        photos=photos,
        segment=segment,
        prior=prior,
        fine_tune=fine_tune,
        sample=sample,
        evaluate=evaluate,
    )


if __name__ == "__main__":
    cli.main(run)
