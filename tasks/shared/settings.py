"""What a stage is told: params.yaml with a subject's overrides laid over it, section by section."""

from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, Field

from tasks.shared import params, subject
from tasks.shared.errors import UserError

Section = TypeVar("Section", bound=BaseModel)


class Base(params.Params):
    """Which text-to-image weights everything starts from."""

    model: str = Field(
        description="a diffusers folder, a Hub id, or one .safetensors file; relative to the project"
    )
    revision: str = Field(
        default="main",
        description="Hub revision; for a folder or file its digest (`dreamline doctor` prints it), checked",
    )
    dtype: str = Field(
        default="float32", pattern="^(float32|bfloat16|float16)$", description="precision of frozen weights"
    )


class Machine(params.Params):
    """How this machine works: what changes no result, so that DVC need not know."""

    checkpoint_steps: int = Field(
        default=100,
        ge=0,
        description="updates between checkpoints of a fine-tuning (go on after a crash); 0: none",
    )
    subjects_at_once: int = Field(
        default=8,
        ge=1,
        le=32,
        description="subjects that share the steps of their fine-tunings in a night; 1: one after the other. "
        "Takes memory for so many batches; results differ by rounding with more than two threads and on a GPU",
    )


class Settings:
    """Read access to the merged parameters; remembers which sections were read.

    `read` is compared with dvc.yaml by a test, so that no stage can depend on a key that DVC does not track.
    """

    def __init__(self, tree: dict[str, Any], project: Path, subject: subject.Subject | None = None):
        self._tree, self.project, self._subject, self.read = tree, project, subject, set[str]()

    @property
    def subject(self) -> subject.Subject:
        """The subject's identity.

        Raises:
            UserError: these settings were loaded without a subject.yaml.
        """
        if self._subject is None:
            raise UserError("this stage needs a subject: give --subject path/to/subject.yaml")
        return self._subject

    @property
    def base(self) -> Base:
        """The base model; a local path is made absolute from the project's root."""
        base = self.section(Base, "base")
        local = self.project / base.model
        return base.model_copy(update={"model": str(local)}) if local.exists() else base

    @property
    def machine(self) -> Machine:
        """What no result depends on; the only section that no stage declares."""
        return params.validate(Machine, self._tree.get("machine", {}), "params.yaml: machine")

    def section(self, model: type[Section], dotted: str) -> Section:
        """Validate the section at `dotted` (such as "methods.dreambooth"); a missing section is empty."""
        self.read.add(dotted)
        values: Any = self._tree
        for part in dotted.split("."):
            values = values.get(part, {}) if isinstance(values, dict) else {}
        return params.validate(model, values, f"params.yaml (or the subject's override): {dotted}")

    def recipe(self, stage: str) -> int:
        """Recipe version of a stage: raised by hand when a change of code alters its results."""
        self.read.add(f"recipe.{stage}")
        version = self._tree.get("recipe", {}).get(stage)
        if not isinstance(version, int):
            raise UserError(f"params.yaml: recipe.{stage}: expected an integer, got {version!r}")
        return version


def find_project(start: Path) -> Path:
    """The nearest folder at or above `start` that holds params.yaml and dvc.yaml.

    Raises:
        UserError: there is none.
    """
    for folder in (start.resolve(), *start.resolve().parents):
        if (folder / "params.yaml").is_file() and (folder / "data").is_dir():
            return folder
    raise UserError(
        f"{start}: not inside a Dreamline project (no params.yaml beside a data folder at or above it)"
    )


def load(params_file: Path, subject_file: Path | None = None) -> Settings:
    """Read params.yaml and, if given, a subject.yaml whose blocks override it.

    Raises:
        UserError: a file is missing or wrong.
    """
    tree, project = params.read_yaml(params_file), params_file.resolve().parent
    if subject_file is None:
        return Settings(tree, project)
    identity, overrides = subject.read(subject_file)
    return Settings(params.merged(tree, overrides), project, identity)
