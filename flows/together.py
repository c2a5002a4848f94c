"""Stale subjects whose fine-tunings fit together share every step of them; all else stays each one's own run.

What is left undone here, whatever the reason, is found stale by the subject's own run, which does it and says what is wrong.
"""

import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from functools import partial

from flows import execution, stages, timings, turns
from flows.execution import Outcome
from flows.lock import held
from flows.store import recording, staleness, versions
from flows.store.staleness import Forecast, Verdict
from flows.workspace import Workspace
from tasks.shared import memory, params
from tasks.shared.errors import Transient, UserError
from tasks.shared.settings import Machine

log = logging.getLogger(__name__)

SHARED = "fine_tune"
Tell = Callable[[str, Outcome | Verdict], None]


def train(
    workspace: Workspace, forecasts: Iterable[Forecast], tell: Tell = lambda name, event: None
) -> list[str]:
    """Train stale subjects several at a time, after their earlier stages, and record each result with DVC.

    Args:
        forecasts: what a run of each subject would do; fresh and broken ones are passed over.
        tell: hears the outcome of every stage, as of a run.
    Returns:
        Names of the subjects whose fine-tuning is now fresh; their own runs go on with the next stage.
    """
    done: list[str] = []
    try:
        machine = params.validate(Machine, workspace.section("machine"), "params.yaml: machine")
    except UserError as failure:
        _left("everybody", failure)
        return done
    waiting = deque(groups(workspace, forecasts, machine.subjects_at_once))
    while waiting:
        turns.give_way()
        group = waiting.popleft()
        log.info("training together: %s", ", ".join(group))
        try:
            done += _train(workspace, _prepared(workspace, group, tell), tell)
        except Exception as failure:  # each subject's own run comes later
            if not memory.ended(failure):
                _left(", ".join(group), failure)
                continue
            failure.__traceback__ = None  # its frames hold what memory is full of
            memory.free()
            half = len(group) // 2
            log.warning(
                "%d subjects at once take too much memory; lower machine.subjects_at_once", len(group)
            )
            waiting.extendleft(part for part in (group[half:], group[:half]) if len(part) > 1)
    return done


def groups(workspace: Workspace, forecasts: Iterable[Forecast], at_once: int) -> list[list[str]]:
    """Names of subjects that will be fine-tuned and fit together, at least two and at most `at_once` each."""
    found: dict[str, list[str]] = {}
    for forecast in forecasts:
        verdict = next((verdict for verdict in forecast.to_run if verdict.stage.name == SHARED), None)
        if forecast.error or verdict is None:
            continue
        try:
            key = stages.group_key(workspace, verdict.stage)
        except UserError as failure:
            _left(forecast.name, failure)
            continue
        if key is not None:
            found.setdefault(key, []).append(forecast.name)
    parts = (names[i : i + at_once] for names in found.values() for i in range(0, len(names), at_once))
    return [part for part in parts if len(part) > 1]


def _prepared(workspace: Workspace, names: Sequence[str], tell: Tell) -> list[str]:
    """Those of the group whose earlier stages are up to date, now."""
    ready = []
    for name in names:
        try:
            subject = workspace.subject(name)
            execution.bring_up_to_date(subject, tell=partial(tell, name), before=SHARED)
            ready.append(name)
        except Exception as failure:
            _left(name, failure)
    return ready


def _train(workspace: Workspace, names: Sequence[str], tell: Tell) -> list[str]:
    """Train those that nobody else is at and that still need it, under all their locks."""
    with ExitStack() as locks:
        verdicts: dict[str, Verdict] = {}
        for name in names:
            subject = workspace.subject(name)
            try:
                locks.enter_context(
                    held(subject.lock_file, busy=f"{name}: a run of this subject is going on")
                )
                _, foreseen = staleness.look(subject)
            except UserError as failure:
                _left(name, failure)
                continue
            verdict = next(verdict for verdict in foreseen.verdicts if verdict.stage.name == SHARED)
            if verdict.fresh or verdict.restorable or verdict.after:
                continue
            if verdict.first or not versions.recall(workspace, verdict.stage):
                verdicts[name] = verdict
        if len(verdicts) < 2:
            return []
        for name, verdict in verdicts.items():
            tell(name, verdict)
        for verdict in verdicts.values():
            recording.begin(verdict.stage)
        began = time.monotonic()
        failures = stages.call_together(workspace, [verdict.stage for verdict in verdicts.values()])
        seconds = (time.monotonic() - began) / len(verdicts)
        done = []
        for number, (name, verdict) in enumerate(verdicts.items()):
            if number in failures:
                _left(name, failures[number])
                continue
            versions.commit(workspace, verdict.stage)
            timings.record(workspace, name, SHARED, seconds)
            tell(name, Outcome(SHARED, "ran", verdict.why, seconds))
            done.append(name)
        return done


def _left(who: str, failure: Exception) -> None:
    expected = isinstance(failure, UserError | Transient)
    log.warning("%s: not trained together, but by itself later: %s", who, failure, exc_info=not expected)
