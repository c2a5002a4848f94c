"""Batches of subjects for the workers of a Prefect pool: cut, posted, looked after until every subject has an end.

One loop that asks for states, and no automation: events as triggers lost or doubled runs, a question that is asked again
does neither. A run whose sign of life stands still is called crashed, and what git says it has not finished is posted
again, a few times at most.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING, Any
from uuid import UUID

import httpx
from pydantic import Field

from flows.store import sharing, staleness
from flows.store.staleness import Forecast
from flows.workspace import Workspace
from tasks.shared import params
from tasks.shared.errors import Transient, UserError

if TYPE_CHECKING:
    from flows.pool_api import Board

log = logging.getLogger(__name__)

ARTIFACT = "batch"
_TROUBLES = (httpx.HTTPError, RuntimeError, OSError)  # what a call raises while the API is away

Finished = Callable[[str, dict[str, Any]], None]
"""Hears name and fields of `batches.Result` of a subject that has an end."""


class Params(params.Params):
    """Whether the nightly run hands its subjects to a pool of workers, and how it looks after them."""

    pool: str | None = Field(
        default=None,
        description="Prefect work pool that runs the nightly's subjects; null: this machine does",
    )
    queue: str = Field(
        default="nightly", description="its work queue; give the queue `interactive` the higher priority"
    )
    batch_size: int = Field(default=4, ge=1, le=1000, description="subjects that one worker takes at a time")
    attempts: int = Field(
        default=3, ge=1, le=20, description="times that a subject is tried when workers are lost"
    )
    poll_s: float = Field(default=5, ge=0.1, le=600, description="seconds between two looks at the batches")
    silent_s: float = Field(
        default=90,
        ge=1,
        description="seconds without a heartbeat after which a batch is taken for dead; three beats of its flow",
    )
    start_s: float = Field(
        default=600, ge=1, description="seconds that a worker may take to start a batch, its image included"
    )
    patience_s: float = Field(
        default=3600, ge=1, description="seconds without any worker or API after which the night gives up"
    )


def options(workspace: Workspace) -> Params:
    """The section `workers` of params.yaml."""
    return params.validate(Params, workspace.section("workers"), "params.yaml: workers")


@dataclass(frozen=True)
class Seen:
    """A batch run as Prefect's API shows it; `sign` changes as long as it lives."""

    id: UUID
    names: tuple[str, ...]
    state: str
    running: bool
    starting: bool
    final: bool
    sign: tuple[Any, ...]


@dataclass(frozen=True)
class Batch:
    """Subjects for one worker.

    Attributes:
        makes, needs: class whose prior the batch makes; whose prior it waits for, since another batch makes it.
    """

    names: tuple[str, ...]
    makes: frozenset[str] = frozenset()
    needs: str | None = None


def split(workspace: Workspace, stale: Sequence[Forecast], size: int) -> list[Batch]:
    """Cut stale subjects into batches, those of a method and class side by side.

    A class prior that must be made is made by one batch; where the class fills more than one, the others wait for it.
    """
    found: list[Batch] = []
    open_names: list[str] = []
    open_makes: set[str] = set()
    led: set[str] = set()

    def close() -> None:
        if open_names:
            found.append(Batch(tuple(open_names), frozenset(open_makes)))
        open_names.clear()
        open_makes.clear()

    def key(forecast: Forecast) -> tuple[str, str]:
        identity = workspace.subject(forecast.name).identity
        return identity.method, identity.class_folder

    for (_, class_folder), group in groupby(sorted(stale, key=lambda one: (key(one), one.name)), key):
        members = list(group)
        names = [forecast.name for forecast in members]
        if any(_wants_prior(forecast) for forecast in members):
            if class_folder not in led:
                if len(open_names) + min(len(names), size) > size:
                    close()
                open_names += names[:size]
                open_makes.add(class_folder)
                led.add(class_folder)
                names = names[size:]
            found += [
                Batch(tuple(names[at : at + size]), needs=class_folder) for at in range(0, len(names), size)
            ]
            continue
        for name in names:
            if len(open_names) == size:
                close()
            open_names.append(name)
    close()
    return found


def _wants_prior(forecast: Forecast) -> bool:
    return any(verdict.stage.subject_file is None for verdict in forecast.to_run)


def title(names: Sequence[str]) -> str:
    """What a batch is called in the UI."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


@dataclass
class _Flight:
    """A batch that is posted; `since` is when its sign of life was last seen to change."""

    batch: Batch
    sign: Any = None
    since: float = field(default_factory=time.monotonic)


def look_after(
    workspace: Workspace,
    told: Params,
    batches: Sequence[Batch],
    finished: Finished,
    board: Board | None = None,
) -> None:
    """Post batches and stay until every subject has an end.

    Batches that an earlier night left running are waited for, not posted again.

    Raises:
        UserError: there is no deployment `batch/batch`.
        Transient: no worker, or no API, for `patience_s`.
    """
    if not batches:
        return
    if board is None:
        from flows.pool_api import Board  # imports Prefect

        board = Board(str(told.pool), told.queue)
    _Night(workspace, told, board, finished).run(batches)


class _Night:
    def __init__(self, workspace: Workspace, told: Params, board: Board, finished: Finished):
        self.workspace, self.told, self.board, self.finished = workspace, told, board, finished
        self.key = uuid.uuid4().hex
        self.waiting: list[Batch] = []
        self.flights: dict[UUID, _Flight] = {}
        self.attempts: dict[str, int] = {}
        self.reasons: dict[str, str] = {}

    def run(self, batches: Sequence[Batch]) -> None:
        self.board.require()
        asked = {name for batch in batches for name in batch.names}
        running: set[str] = set()
        for seen in self.board.unfinished():
            if names := tuple(name for name in seen.names if name in asked):
                log.info("%s: an earlier night's batch is at it", title(names))
                self.flights[seen.id] = _Flight(Batch(names))
                running.update(names)
        for batch in batches:
            if names := tuple(name for name in batch.names if name not in running):
                self.waiting.append(Batch(names, batch.makes, batch.needs))
        heard = time.monotonic()
        while self.waiting or self.flights:
            try:
                self._post()
                heard = self._look(heard)
            except (UserError, *_TROUBLES) as error:
                log.warning("%s; looking again in %s s", error, self.told.poll_s)
                for flight in self.flights.values():
                    flight.since = time.monotonic()  # nobody could hear them
            if time.monotonic() - heard > self.told.patience_s:
                self._give_up()
            if self.waiting or self.flights:
                time.sleep(self.told.poll_s)

    def _post(self) -> None:
        making: dict[str, bool] = {}  # asked once per class and look
        for batch in list(self.waiting):
            if batch.needs:
                if batch.needs not in making:
                    making[batch.needs] = self._prior_in_the_making(batch)
                if making[batch.needs]:
                    continue
                making[batch.needs] = _wants_prior(staleness.forecasts(self.workspace, batch.names[:1])[0])
            names = list(batch.names)
            words = json.dumps([self.key, names, [self.attempts.get(name, 0) for name in names]])
            posted = self.board.post(names, title(names), hashlib.sha256(words.encode()).hexdigest())
            self.waiting.remove(batch)
            made = batch.makes | ({batch.needs} if batch.needs else set())
            self.flights[posted] = _Flight(Batch(batch.names, frozenset(made)))
            for name in names:
                self.attempts[name] = self.attempts.get(name, 0) + 1
            log.info("%s: posted to %s", title(names), self.told.pool)

    def _prior_in_the_making(self, batch: Batch) -> bool:
        """Another batch makes it, and it is not there yet."""
        makers = [*(flight.batch for flight in self.flights.values()), *self.waiting]
        if not any(batch.needs in maker.makes for maker in makers):
            return False
        return _wants_prior(staleness.forecasts(self.workspace, batch.names[:1])[0])

    def _look(self, heard: float) -> float:
        """One look at all that was posted; returns when a worker was last known to live."""
        now = time.monotonic()
        found = {seen.id: seen for seen in self.board.look(self.flights)}
        for posted in list(self.flights):
            seen = found.get(posted) or Seen(posted, (), "deleted", False, False, True, ())
            flight = self.flights[seen.id]
            if seen.sign != flight.sign:
                flight.sign, flight.since = seen.sign, now
            if seen.final:
                self._settle(seen, "")
            elif why := self._lost(seen, now - flight.since):
                log.warning("%s: %s", title(flight.batch.names), why)
                self.board.bury(seen.id, why)
                self._settle(seen, why)
        self._take()
        return now if self.board.workers_live() else heard

    def _lost(self, seen: Seen, silent_s: float) -> str | None:
        if seen.running and silent_s > self.told.silent_s:
            return f"no heartbeat for {silent_s:.0f} s: its machine is lost"
        if seen.starting and silent_s > self.told.start_s:
            return f"not started within {silent_s:.0f} s: its machine is lost"
        return None

    def _settle(self, seen: Seen, why: str) -> None:
        """A batch has ended: what git has is done, what can be tried again is posted again."""
        self._take()
        said = {} if why else self.board.results(seen.id, ARTIFACT)
        batch = self.flights[seen.id].batch
        again = []
        for forecast in staleness.forecasts(self.workspace, batch.names):
            name, told = forecast.name, said.get(forecast.name, {})
            lost = told.get("reason") or why or f"its batch ended as {seen.state}"
            if told.get("state") == "failed" and not told.get("passing"):
                self.finished(name, told)
            elif forecast.error:
                self.finished(name, {"state": "failed", "reason": forecast.error})
            elif not forecast.to_run:
                self.finished(name, {"ran": ("?",)} | told | {"state": "done", "reason": ""})
            elif self.attempts.get(name, 1) >= self.told.attempts:
                reason = f"{lost}; tried {self.told.attempts} times"
                self.finished(name, told | {"state": "failed", "reason": reason})
            else:
                log.info("%s: %s; posted again", name, lost)
                again.append(name)
        del self.flights[seen.id]  # not before: an error on the way is met by another look
        self.waiting += [Batch(names, makes=batch.makes) for names in _parts(again, self.told.batch_size)]

    def _take(self) -> None:
        try:
            sharing.take(self.workspace)
        except (UserError, Transient) as error:
            log.warning("%s", error)

    def _give_up(self) -> None:
        with contextlib.suppress(*_TROUBLES):
            for posted in self.flights:
                self.board.bury(posted, "no worker took it", cancelled=True)
        raise Transient(
            f"no worker of the pool {self.told.pool!r} for {self.told.patience_s:g} s; start one: "
            f"prefect worker start --pool {self.told.pool} --type process --limit 1"
        )


def _parts(names: Sequence[str], size: int) -> Iterator[tuple[str, ...]]:
    for at in range(0, len(names), size):
        yield tuple(names[at : at + size])
