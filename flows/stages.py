"""Stages called in this process, with the same arguments that DVC's command gives them."""

import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from flows import transient
from flows.store.pipeline import Stage
from flows.workspace import Workspace
from tasks.shared import manifest, memory, params, plugins, settings
from tasks.shared.errors import Transient, UserError


def call(workspace: Workspace, stage: Stage) -> None:
    """Run the stage's function; afterwards its outputs are finished.

    Raises:
        UserError, Transient: as the stage says; Transient also where memory or the network ended.
    """
    module = _module(stage)
    try:
        module.run(**stage.paths, settings=_settings(workspace, stage))
    except Transient:
        raise
    except Exception as error:
        passing = transient.reason(error)
        if passing is None:
            raise
        if memory.ended(error):
            error.__traceback__ = None  # its frames hold what memory is full of
            _make_room()
            passing += _ADVICE.get(stage.name, "")
        raise Transient(f"{stage.name}: {passing}") from error
    for path in stage.makes:
        manifest.read(path, stage.name)


def group_key(workspace: Workspace, stage: Stage) -> str | None:
    """Runs of a stage with equal keys can be one call of `call_together`; None: this one is called alone.

    Raises:
        UserError: a section is wrong.
    """
    module = _module(stage)
    return module.group_key(_settings(workspace, stage)) if hasattr(module, "group_key") else None


def call_together(workspace: Workspace, stages: Sequence[Stage]) -> dict[int, Exception]:
    """Run a stage for several subjects at once; each is finished, or has a failure under its number.

    Raises:
        UserError: they do not fit together.
    """
    module = _module(stages[0])
    return module.run_together(
        [module.Job(**stage.paths, settings=_settings(workspace, stage)) for stage in stages]
    )


_ADVICE = {
    "fine_tune": "; if it stays so: a smaller fine_tune.train_batch_size, or gradient_checkpointing: true"
}


def _make_room() -> None:
    """Another attempt shall not find the memory taken by the model that this one kept warm."""
    if warm := sys.modules.get("tasks.backbones._warm"):
        warm.forget()
    memory.free()


def check(workspace: Workspace, stages: list[Stage], params_file: Path | None = None) -> None:
    """Validate every parameter of some stages before any of them works: a typo must not cost an artifact.

    A stage module may offer `check(settings)` for what its section alone cannot say.

    Args:
        params_file: instead of the workspace's own.

    Raises:
        UserError: names every stage that complains.
    """
    complaints = []
    for stage in stages:
        try:
            _check_keys(stage)
            module, told = _module(stage), _settings(workspace, stage, params_file)
            told.recipe(stage.name)
            _ = told.base
            told.section(module.Params, stage.name)
            if hasattr(module, "check"):
                module.check(told)
            elif stage.name == "fine_tune":
                method = told.subject.method
                told.section(plugins.load("methods", method).Params, f"methods.{method}")
        except UserError as error:
            complaints.append(str(error))
    if complaints:
        raise UserError("; ".join(dict.fromkeys(complaints)))


def _check_keys(stage: Stage) -> None:
    """DVC notices a missing key only after the work is done."""
    for path, keys in stage.keys.items():
        tree = params.read_yaml(path)
        for key in keys:
            values: Any = tree
            for part in key.split("."):
                if not isinstance(values, dict) or part not in values:
                    raise UserError(f"{path}: {key}: missing; write the key, with {{}} for an empty section")
                values = values[part]


def _module(stage: Stage) -> ModuleType:
    try:
        return import_module(stage.module)
    except ModuleNotFoundError as error:
        if error.name and stage.module.startswith(error.name):
            raise UserError(f"{stage.file}: {stage.name}: there is no module {stage.module!r}") from error
        raise UserError(
            f"{stage.module}: needs the package {error.name!r}, which is not installed"
        ) from error


def _settings(workspace: Workspace, stage: Stage, params_file: Path | None = None) -> settings.Settings:
    return settings.load(params_file or workspace.params_file, stage.subject_file)
