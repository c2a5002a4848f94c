"""Class priors before the subjects that need them: each once, however many subjects share it."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from prefect import flow

from flows import execution, personalize, stages
from flows.store import pipeline
from flows.store.pipeline import Stage
from flows.store.staleness import Forecast
from flows.workspace import Workspace, find

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Priors:
    """What became of the classes that tonight's subjects need, by folder name."""

    made: tuple[str, ...] = ()
    reused: tuple[str, ...] = ()
    failed: dict[str, Exception] = field(default_factory=dict)


@flow(name="class_prior", flow_run_name="{class_folder}", persist_result=False, validate_parameters=False)
def class_prior(class_folder: str, project: str | None = None) -> list[dict[str, Any]]:
    """Bring the pictures of a class up to date; does nothing where they are."""
    workspace = Workspace(Path(project)) if project else find()
    found = pipeline.read(workspace, workspace.prior(class_folder) / "dvc.yaml")
    stages.check(workspace, found)
    perform = personalize.as_task()
    return [asdict(execution.shared(workspace, stage, perform)) for stage in found]


def first(
    workspace: Workspace,
    stale: Iterable[Forecast],
    tell: personalize.Tell = lambda name, event: None,
) -> Priors:
    """Make what stale subjects need of their classes; a class that fails costs its own subjects only."""
    needed: dict[str, bool] = {}
    for forecast in stale:
        for verdict in forecast.verdicts:
            if verdict.stage.subject_file is None:
                folder = _folder(verdict.stage)
                needed[folder] = needed.get(folder, False) or not verdict.fresh
    made, failed = [], {}
    for folder in sorted(folder for folder, wanted in needed.items() if wanted):
        try:
            outcomes = [execution.Outcome(**told) for told in class_prior(folder, str(workspace.root))]
        except Exception as error:
            log.warning("class pictures of %s: %s", folder, error)
            failed[folder] = error
            continue
        for outcome in outcomes:
            tell(folder, outcome)
        if any(outcome.action == "ran" for outcome in outcomes):
            made.append(folder)
    return Priors(tuple(made), tuple(sorted(set(needed) - set(made) - set(failed))), failed)


def of(forecast: Forecast) -> set[str]:
    """Folders of the classes that a subject needs."""
    return {_folder(verdict.stage) for verdict in forecast.verdicts if verdict.stage.subject_file is None}


def _folder(stage: Stage) -> str:
    return stage.file.parent.name
