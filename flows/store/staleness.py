"""Is it stale? DVC's word, stage by stage, turned into reasons that a person can read."""

import os
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from flows import consents
from flows.store import pipeline, reasons, repository, versions
from flows.store.pipeline import Stage
from flows.store.untouched import Untouched
from flows.workspace import SubjectFolder, Workspace
from tasks.shared import params
from tasks.shared.errors import UserError


@dataclass(frozen=True)
class Verdict:
    """What DVC found about one stage.

    Attributes:
        inputs: changed inputs, params or command, as reasons; with any of them the stage must run.
        outputs: changed or missing outputs; alone they are taken from the cache again, nothing is computed.
        after: stages before it in the plan that will run, so that this one probably will.
        recalled: it was made before of just these inputs and comes back; looked for by `recalls.foresee` alone.
    """

    stage: Stage
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    recalled: bool = False

    @property
    def fresh(self) -> bool:
        return not (self.inputs or self.outputs or self.after)

    @property
    def restorable(self) -> bool:
        return bool(self.outputs) and not self.inputs and not self.after

    @property
    def first(self) -> bool:
        return reasons.NEVER_RUN in self.inputs

    @property
    def why(self) -> str:
        if self.restorable:
            return f"{', '.join(self.outputs)}: is restored"
        why = ", ".join(self.inputs) or f"after {', '.join(self.after)}"
        return f"{why}: made before, comes back" if self.recalled else why


@dataclass(frozen=True)
class Forecast:
    """What a run of one subject would do, or why it cannot.

    Attributes:
        stopped: the error is a consent that does not hold; only the person can mend it.
    """

    name: str
    verdicts: tuple[Verdict, ...] = ()
    error: str | None = None
    photos: str | None = None
    stopped: bool = False

    @property
    def fresh(self) -> bool:
        return self.error is None and self.photos is None and all(verdict.fresh for verdict in self.verdicts)

    @property
    def to_run(self) -> list[Verdict]:
        return [verdict for verdict in self.verdicts if not (verdict.fresh or verdict.restorable)]

    @property
    def to_compute(self) -> list[Verdict]:
        """Those of `to_run` that will be made and do not come back, as far as was looked."""
        return [verdict for verdict in self.to_run if not verdict.recalled]


Foresee = Callable[[Workspace, Sequence[Verdict]], Sequence[Verdict]]


def verdict(workspace: Workspace, stage: Stage) -> Verdict:
    """Ask DVC about one stage; costs the same in a fleet of any size."""
    return verdicts([stage], _status(workspace, [stage.target]))[0]


def _forecast(subject: SubjectFolder, stages: Sequence[Stage], status: Mapping[str, list]) -> Forecast:
    """What a run of the subject's plan would do.

    Raises:
        UserError: photos/ is not what was accepted.
    """
    entries = status.get(str(subject.photos_file), [])
    photos = next((change for entry in entries for change in _changes(entry, "changed outs").values()), None)
    root, folder = subject.workspace.root, subject.folder / "photos"
    if photos == "modified":
        raise UserError(
            f"{folder}: changed since it was accepted; accept it with `dvc add {folder.relative_to(root)}`, "
            f"or undo with `dvc checkout --force {subject.photos_file.relative_to(root)}`"
        )
    restored = {folder} if photos else set()
    return Forecast(subject.name, tuple(verdicts(stages, status, restored)), photos=photos)


def forecasts(
    workspace: Workspace,
    names: Iterable[str],
    memory: Untouched | None = None,
    foresee: Foresee | None = None,
) -> list[Forecast]:
    """What a run of each subject would do; a broken one spoils only its own.

    Args:
        memory: who is up to date by it is not looked at again, and has no verdicts in its forecast.
        foresee: has a last word about the verdicts of who is stale, such as `recalls.foresee`.
    """
    params.read_yaml(workspace.params_file)  # says in one line what is wrong with it; DVC needs five
    priors: dict[Path, tuple[list[Stage], Mapping[str, list]]] = {}
    found = []
    for name in names:
        try:
            subject = workspace.subject(name)
            if refused := consents.refusal(subject):
                found.append(Forecast(name, error=refused, stopped=True))
                continue
            if memory and memory.fresh(subject):
                found.append(Forecast(name))
                continue
            forecast = look(subject, priors)[1]
            if foresee and forecast.to_run:
                forecast = replace(forecast, verdicts=tuple(foresee(workspace, forecast.verdicts)))
            found.append(_lean(forecast))
        except UserError as error:
            found.append(Forecast(name, error=str(error)))
        if memory:
            memory.note(name, found[-1].fresh)
    if memory:
        memory.keep()
    return found


def _lean(forecast: Forecast) -> Forecast:
    """Without DVC's own objects, which of a thousand subjects would fill the memory."""
    lean = (replace(one, stage=replace(one.stage, loaded=None)) for one in forecast.verdicts)
    return replace(forecast, verdicts=tuple(lean))


def look(
    subject: SubjectFolder, priors: dict[Path, tuple[list[Stage], Mapping[str, list]]] | None = None
) -> tuple[list[Stage], Forecast]:
    """The plan of a subject and DVC's word about it, every file read once.

    Args:
        priors: what was found of class priors so far; each is asked about once in a fleet.
    Raises:
        UserError: a file is wrong, or photos/ is not what was accepted.
    """
    _prepare(subject)
    priors, prior = {} if priors is None else priors, subject.prior / "dvc.yaml"
    if prior not in priors:
        priors[prior] = _loaded(subject.workspace, [prior])
    of_class, of_class_status = priors[prior]
    own, status = _loaded(subject.workspace, [subject.photos_file, subject.dvc_file])
    stages = of_class + own
    return stages, _forecast(subject, stages, {**of_class_status, **status})


def _prepare(subject: SubjectFolder) -> None:
    """Write what the tool keeps, and finish an `add` that was ended between its last two steps."""
    subject.prepare()
    if not subject.photos_file.exists():
        if not (subject.folder / "photos").exists():
            raise UserError(
                f"{subject.photos_file}: missing; add photos: `dreamline add FOLDER --name {subject.name}`"
            )
        versions.add_photos(subject)


def verdicts(
    stages: Sequence[Stage], status: Mapping[str, list], restored: Container[Path] = ()
) -> list[Verdict]:
    """Turn DVC's status of some stages, given in running order, into verdicts.

    Args:
        restored: inputs that are missing and will be brought back.

    An input that is missing only because its own stage's output can be restored makes nothing stale.
    """
    found: list[Verdict] = []
    for stage in stages:
        makers = _makers(found)
        inputs: list[str] = []
        outputs: list[str] = []
        for entry in status.get(stage.target, []):
            if isinstance(entry, str):
                inputs.append(f"{entry.removeprefix('changed ')} changed")
                continue
            outputs += [
                f"{Path(path).name} {change}" for path, change in _changes(entry, "changed outs").items()
            ]
            for path, change in _changes(entry, "changed deps").items():
                maker = makers.get(Path(path))
                if Path(path) in restored:
                    continue
                if maker is None or maker.fresh:
                    inputs += reasons.of(stage, path, change)
        if reasons.NEVER_RUN in inputs:
            inputs = [reasons.NEVER_RUN]
        found.append(Verdict(stage, tuple(inputs), tuple(outputs), waits_for(stage, found)))
    return found


def waits_for(stage: Stage, earlier: Iterable[Verdict]) -> tuple[str, ...]:
    """Stages before it that will run and make what it needs."""
    makers = _makers(earlier)
    found = (maker for path in stage.needs if (maker := makers.get(path)))
    return tuple(dict.fromkeys(one.stage.name for one in found if not (one.fresh or one.restorable)))


def _makers(earlier: Iterable[Verdict]) -> dict[Path, Verdict]:
    return {path: verdict for verdict in earlier for path in verdict.stage.makes}


def _changes(entry: Any, key: str) -> dict[str, Any]:
    return entry.get(key, {}) if isinstance(entry, dict) else {}


def _status(workspace: Workspace, targets: list[str]) -> dict[str, list]:
    """DVC's status of explicit targets, keyed by absolute target."""
    if not targets:
        return {}
    with repository.calls(workspace) as repo:
        return _absolute(workspace, repo.status(targets=targets))


def _loaded(workspace: Workspace, files: list[Path]) -> tuple[list[Stage], dict[str, list]]:
    """The stages of some DVC files with DVC's status of them: read once, where a plan and its status read twice."""
    from dvc.repo import lock_repo

    stages, status = [], dict[str, list]()
    with repository.calls(workspace) as repo, lock_repo(repo):
        for file in files:
            for loaded in repo.stage.load_all(str(file)):
                if file.suffix == ".yaml":
                    stages.append(pipeline.resolved(file, loaded))
                status.update(loaded.status(check_updates=True))
    return stages, _absolute(workspace, status)


def _absolute(workspace: Workspace, found: Mapping[str, list]) -> dict[str, list]:
    """A status keyed by absolute targets and paths."""

    def absolute(path: str) -> str:
        return os.path.normpath(
            workspace.root / path
        )  # DVC shows paths relative to the working folder, the root

    def entry(raw: Any) -> Any:
        if not isinstance(raw, dict):
            return raw
        return {
            kind: {absolute(path): change for path, change in changes.items()}
            for kind, changes in raw.items()
        }

    return {absolute(target): [entry(raw) for raw in entries] for target, entries in found.items()}
