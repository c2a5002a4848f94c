"""Stand-in for tasks.fine_tune."""

from pathlib import Path

from standin.work import Params, make

from tasks.shared import cli
from tasks.shared.settings import Settings


def check(settings: Settings) -> None:
    """The method's section."""
    settings.section(Params, f"methods.{settings.subject.method}")


def run(segment: Path, prior: Path, out: Path, settings: Settings) -> None:
    """Hash the inputs."""
    method = settings.section(Params, f"methods.{settings.subject.method}")
    told = {
        "method": method.model_dump(),
        "phrase": settings.subject.phrase,
        "base": settings.base.model_dump(),
    }
    make("fine_tune", out, settings, told, segment=segment, prior=prior)


if __name__ == "__main__":
    cli.main(run)
