"""Stand-in for tasks.class_prior."""

from pathlib import Path

from standin.work import Params, make  # noqa: F401

from tasks.shared import cli
from tasks.shared.settings import Settings


def run(class_file: Path, out: Path, settings: Settings) -> None:
    """Hash the inputs."""
    make("class_prior", out, settings, {"base": settings.base.model_dump()}, class_file=class_file)


if __name__ == "__main__":
    cli.main(run)
