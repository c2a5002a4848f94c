"""Takes due runs and executes them here, one after another: models stay warm, nothing is imported twice.

`python -m flows.serving.runner <project> [alone]`, as `dreamline serve` starts it. It may be killed at any moment: a stage is
finished or absent, and the next runner posts again what was begun.
"""

import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, cast
from uuid import UUID

from prefect import Flow
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import FlowRun, State
from prefect.exceptions import Abort
from prefect.flow_engine import run_flow
from prefect.settings import PREFECT_API_URL
from prefect.states import Cancelled, Crashed, Pending
from prefect.utilities.engine import propose_state_sync

from flows import deployments, personalize, prefect_api, turns
from flows.lock import held
from flows.serving import headway, lifeline, recovery
from flows.serving.params import Params, options
from flows.workspace import Workspace

log = logging.getLogger(__name__)

CANCELLED_WITHIN_S = 3.0
"""How soon a run that the user cancels is ended."""


class Runner:
    """Executes runs of some deployments, of the more urgent ones first.

    Args:
        offered: flows by the id of their deployment, the most urgent first.
        owner: name of this runner, put on what it claims.
        alone: nobody else executes these deployments, so all that was begun before is dead.
        end: what to do when a run stands still.
    """

    def __init__(
        self,
        offered: dict[UUID, Flow[..., Any]],
        options: Params,
        owner: str,
        alone: bool = True,
        end: Callable[[], None] = lifeline.end_at_once,
    ):
        self.offered, self.options, self.owner, self.alone, self.end = offered, options, owner, alone, end
        self.executing: list[FlowRun] = []  # the last one works, those before it have given way
        self._trouble: Exception | None = None

    def work(self, stop: threading.Event) -> None:
        """Execute what is due until `stop`; a server that is away is waited for."""
        died = True
        while not stop.is_set():
            try:
                with personalize.settings(PREFECT_API_URL.value()), get_client(sync_client=True) as client:
                    owner = None if self.alone else self.owner
                    recovery.sweep(client, self.offered, self.options.max_attempts, owner, died)
                    died = False
                    while not stop.is_set():
                        if not self.execute_next(client, list(self.offered)):
                            stop.wait(self.options.poll_s)
            except Exception as error:
                self._trouble = None
                log.warning("looking again in %g s: %s", self.options.poll_s, _words(error))
                stop.wait(self.options.poll_s)

    def execute_next(self, client: SyncPrefectClient, among: Sequence[UUID]) -> bool:
        """Execute the oldest due run of the most urgent deployment that has one; False if nothing is due."""
        flow_run = self._claim(client, among)
        if flow_run is None:
            return False
        assert flow_run.deployment_id is not None
        place = list(self.offered).index(flow_run.deployment_id)
        self.executing.append(flow_run)
        try:
            parameters = flow_run.parameters
            within_h = self.options.hung_after_h if headway.is_local(parameters) else None
            with (
                headway.required(partial(headway.mark, parameters), within_h, self.end),
                turns.offered(lambda: self._give_way(list(self.offered)[:place])),
            ):
                run_flow(self.offered[flow_run.deployment_id], flow_run=flow_run, return_type="state")
        except Abort as aborted:
            log.warning("%s: %s", flow_run.name, aborted)
        finally:
            self.executing.pop()
        if self._trouble:
            raise self._trouble
        return True

    def _claim(self, client: SyncPrefectClient, among: Sequence[UUID]) -> FlowRun | None:
        """Make a due run ours. The server lets only one runner move it from Scheduled to Pending."""
        for deployment in among:
            due = client.get_scheduled_flow_runs_for_deployments([deployment], datetime.now(UTC))
            for found in sorted(due, key=_when):
                flow_run = client.read_flow_run(found.id)
                if not (flow_run.state and flow_run.state.is_scheduled()):
                    continue  # somebody was faster
                try:
                    flow_run.state = propose_state_sync(client, Pending(), flow_run_id=flow_run.id)
                except Abort:
                    continue
                if flow_run.state.is_pending():
                    if not self.alone:
                        client.update_flow_run(flow_run.id, infrastructure_pid=self.owner)
                    return flow_run
        return None

    def _give_way(self, more_urgent: Sequence[UUID]) -> None:
        """Execute what is more urgent than the present run, in a thread of its own: it is no part of that run."""

        url = PREFECT_API_URL.value()

        def work() -> None:
            try:
                with personalize.settings(url), get_client(sync_client=True) as client:
                    while self.execute_next(client, more_urgent):
                        pass
            except Exception as error:
                self._trouble = error  # the sweep after the present run deals with it

        if more_urgent and not self._trouble:
            thread = threading.Thread(target=work, name="more urgent")
            thread.start()
            thread.join()

    def leave(self, client: SyncPrefectClient) -> None:
        """Hand back what is being executed, for the next runner; not an attempt that failed."""
        for flow_run in list(self.executing):
            recovery.post_again(client, flow_run, recovery.attempt_of(flow_run))
            state: State[Any] = Crashed(message="dreamline serve was ended; begun again at its next start")
            recovery.close(client, flow_run, state)

    def cancelled(self, client: SyncPrefectClient) -> bool:
        """Whether the user has cancelled what is being executed; then it is marked so, and this process must end."""
        now = self.executing[-1:]
        for flow_run in now:
            state = client.read_flow_run(flow_run.id).state
            if state and state.is_cancelling():
                recovery.close(client, flow_run, Cancelled(message="cancelled by its user"))
                return True
        return False


def main() -> None:
    """Work until standard input closes or SIGTERM."""
    lifeline.hold()
    workspace = Workspace(Path(sys.argv[1]))
    logging.basicConfig(level=logging.INFO, format="%(name)s: %(message)s")
    told = options(workspace)
    os.chdir(workspace.root)
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    with held(workspace.state / "runner.lock"):  # one machine, one set of models
        url = os.environ["PREFECT_API_URL"]
        while not prefect_api.healthy(url):
            if ended.wait(0.2):
                return
        offered = {cast(UUID, offer.apply()): flow for flow, offer in deployments.offered(workspace)}
        owner = f"{socket.gethostname()}:{workspace.root}"
        runner = Runner(offered, told, owner, alone="alone" in sys.argv[2:])
        threading.Thread(target=runner.work, args=(threading.Event(),), name="runs", daemon=True).start()
        with get_client(sync_client=True) as client:
            while not ended.wait(CANCELLED_WITHIN_S):
                try:
                    if runner.cancelled(client):
                        lifeline.end_at_once()
                except Exception as error:
                    log.debug("cannot ask whether it is cancelled: %s", error)
            try:
                runner.leave(client)
            finally:  # what could not be told is found by the next sweep
                lifeline.end_at_once()


def _when(flow_run: Any) -> datetime:
    """When a run was to begin; what was never scheduled comes first."""
    when = flow_run.next_scheduled_start_time or flow_run.expected_start_time
    return when or datetime.min.replace(tzinfo=UTC)


def _words(error: BaseException) -> str:
    return str(error) or type(error).__name__


if __name__ == "__main__":
    main()
