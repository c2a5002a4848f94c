"""Bring one subject up to date: ask DVC stage by stage, restore or run, record. Knows nothing of Prefect."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from flows import consents, history, stages, timings
from flows.lock import held
from flows.store import pipeline, recording, staleness, versions
from flows.store.pipeline import Stage
from flows.store.staleness import Verdict
from flows.workspace import SubjectFolder, Workspace
from tasks.shared import params
from tasks.shared.errors import UserError

Perform = Callable[[Stage, Callable[[], None]], None]
"""Carries out a stage that must run: gets the stage and the work, such as wrapping it as a Prefect task."""


@dataclass(frozen=True)
class Outcome:
    """What became of one stage: "fresh", "restored" or "ran"."""

    stage: str
    action: str
    why: str = ""
    seconds: float = 0.0


def bring_up_to_date(
    subject: SubjectFolder,
    perform: Perform = lambda stage, work: work(),
    tell: Callable[[Outcome | Verdict], None] = lambda event: None,
    before: str | None = None,
    wait: bool = False,
) -> list[Outcome]:
    """Run what DVC calls stale, in order, the shared class prior first.

    Args:
        before: stop before this stage; what is done so far is not yet a version of the subject.
        tell: hears the verdict before a stage runs, and the outcome after every stage.
        wait: for another process that is at this subject.
    Raises:
        UserError: also when another process is at this subject and is not waited for.
    """
    workspace = subject.workspace
    busy = None if wait else f"{subject.name}: a run of this subject is going on"
    with held(subject.lock_file, busy=busy):
        params.read_yaml(workspace.params_file)
        if refused := consents.refusal(subject):
            raise UserError(refused)
        recording.heal_table(workspace)
        _heal(workspace, subject.folder)
        if recording.left(subject.prior):
            with held(subject.prior / ".work" / "lock"):  # if somebody is recording now, wait
                _heal(workspace, subject.prior)
        plan, foreseen = staleness.look(subject)
        if foreseen.photos:
            _bring_photos(subject)
        if foreseen.to_run:
            stages.check(workspace, plan)
        outcomes: list[Outcome] = []
        for stage, verdict in zip(plan, foreseen.verdicts):
            if stage.name == before:
                break
            if verdict.fresh:  # nothing before it that it needs is about to change
                outcomes.append(Outcome(stage.name, "fresh"))
                continue
            if stage.file.parent == subject.folder:
                # its own inputs have changed, and nobody else is at them: no need to ask DVC again
                known = verdict if verdict.inputs else None
                outcomes.append(_one(workspace, subject.name, stage, known, perform, tell))
            else:
                outcomes.append(shared(workspace, stage, perform, tell))
            tell(outcomes[-1])
        ran = {outcome.stage: outcome.seconds for outcome in outcomes if outcome.action == "ran"}
        # a process may have been killed between the two
        if before is None and (ran or history.behind(subject)):
            history.record(subject, ran)
        return outcomes


def shared(
    workspace: Workspace,
    stage: Stage,
    perform: Perform = lambda stage, work: work(),
    tell: Callable[[Outcome | Verdict], None] = lambda event: None,
) -> Outcome:
    """Bring a class prior up to date; another subject of the class may be making it: wait, then find it fresh."""
    with held(stage.file.parent / ".work" / "lock"):
        return _one(workspace, stage.file.parent.name, stage, None, perform, tell)


def _one(
    workspace: Workspace,
    subject: str,
    stage: Stage,
    known: Verdict | None,
    perform: Perform,
    tell: Callable[[Outcome | Verdict], None],
) -> Outcome:
    verdict = known or staleness.verdict(workspace, stage)
    if verdict.fresh:
        return Outcome(stage.name, "fresh")
    started = time.monotonic()
    if _found_again(workspace, stage, verdict):
        return Outcome(stage.name, "restored", verdict.why, time.monotonic() - started)
    tell(verdict)

    def work() -> None:
        recording.begin(stage)
        stages.call(workspace, stage)
        versions.commit(workspace, stage)

    perform(stage, work)
    seconds = time.monotonic() - started
    timings.record(workspace, subject, stage.name, seconds)
    return Outcome(stage.name, "ran", verdict.why, seconds)


def _found_again(workspace: Workspace, stage: Stage, verdict: Verdict) -> bool:
    """Whether the stage's result was there already and is in its place now: nothing to compute."""
    if verdict.restorable:
        return versions.bring_back(workspace, stage.target)
    return not verdict.first and versions.recall(workspace, stage)


def _heal(workspace: Workspace, folder: Path) -> None:
    """What a process left in a folder that was killed while it recorded a stage. For the holder of its lock."""
    if recording.left(folder):
        recording.heal(folder)
        versions.complete(workspace, pipeline.read(workspace, folder / "dvc.yaml"))


def _bring_photos(subject: SubjectFolder) -> None:
    """Make photos/ what was accepted; never at the cost of photos that lie there.

    Raises:
        UserError: nobody has them.
    """
    photos, target = subject.folder / "photos", str(subject.photos_file)
    if versions.record_again(subject.workspace, target):
        return
    again = f"add them again with `dreamline add FOLDER --name {subject.name}`"
    if photos.exists():
        raise UserError(f"{photos}: not what was accepted, which the cache has lost; {again}")
    if not versions.bring_back(subject.workspace, target):
        raise UserError(f"{photos}: missing, and neither cache nor remote holds them; {again}")
