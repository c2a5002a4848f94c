"""200 drops, a watcher killed with -9 20 times, Prefect's server restarted 5 times: `python -m bench.fleet.exactly_once`.

Uploads are slow, come under temporary names, are renamed, packed, marked, sent twice, changed, or bad. A watcher and a
runner are processes of their own; stages are the stand-ins of tests/flows. In the end every accepted content has one
completed run, none has two, nothing is lost, and what was rejected has a reason.
"""

import argparse
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.fleet import aftermath
from bench.fleet.drops import BAD, SETTLE_S, Dropper, Plan, planned

REPO = Path(__file__).resolve().parent.parent.parent


class Process:
    """A process that is started again whenever it was killed."""

    def __init__(self, command: list[str], log: Path, ready: Callable[[], bool] = lambda: True):
        self.command, self.log, self.ready, self.kills = command, log, ready, 0
        self.start()

    def start(self) -> None:
        """Start, and wait until it is ready."""
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                self.command, cwd=REPO, stdout=log, stderr=log, start_new_session=True
            )
        while not self.ready():
            if self.process.poll() is not None:
                raise RuntimeError(f"{self.command[-1]} ended: {self.log.read_text()[-2000:]}")
            time.sleep(0.5)

    def kill(self, how: int = signal.SIGKILL, away_s: float = 0) -> None:
        """Kill it and what it started, and start it again after a while."""
        os.killpg(self.process.pid, how)
        self.process.wait()
        self.kills += 1
        time.sleep(away_s)
        self.start()

    def end(self) -> None:
        """For good."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


def watcher(root: Path) -> None:
    """The watcher's process."""
    import logging

    from flows import intake
    from flows.workspace import Workspace

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    intake.watch(Workspace(root), threading.Event())


def runner(root: Path) -> None:
    """The runner's process: posted runs one after the other, in this process with everything imported."""
    from prefect.client.orchestration import get_client
    from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

    with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
        while True:
            try:
                with get_client(sync_client=True) as client:
                    if not _run_next(client):
                        time.sleep(1)
            except Exception as error:
                print("runner:", type(error).__name__, error, flush=True)
                time.sleep(2)


def _run_next(client: Any) -> bool:
    """Run the oldest run that is not completed; False if there is none. What else is not final was ours and has died."""
    from prefect.client.schemas.sorting import FlowRunSort
    from prefect.flow_engine import run_flow
    from prefect.states import Pending, Scheduled

    from flows import personalize

    waiting = client.read_flow_runs(
        flow_run_filter=_unfinished(), sort=FlowRunSort.EXPECTED_START_TIME_ASC, limit=1
    )
    if not waiting:
        return False
    run = waiting[0]
    if not run.state.is_scheduled():
        print("runner: again:", run.name, run.state.name, run.state.message, flush=True)
        client.set_flow_run_state(run.id, Scheduled(), force=True)
    client.set_flow_run_state(run.id, Pending())
    run = client.read_flow_run(run.id)
    run_flow(personalize.personalize, flow_run=run, parameters=run.parameters, return_type="state")
    return True


def _unfinished() -> Any:
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState, FlowRunFilterStateType
    from prefect.client.schemas.objects import StateType

    others = [state for state in StateType if state is not StateType.COMPLETED]
    return FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=others)))


def deploy(root: Path) -> None:
    """Offer the deployment that runs are posted to."""
    from flows import personalize

    deployment: Any = personalize.personalize.to_deployment("personalize", parameters={"project": str(root)})
    deployment.apply()


def complaints(workspace: Any, plan: Plan, runs: list[Any]) -> list[str]:
    """Everything that is not as it must be."""
    from flows.store import staleness

    found = []
    completed = Counter(run.parameters["name"] for run in runs if run.state.is_completed())
    for name in sorted({*plan.contents, *completed}):
        if completed[name] != plan.contents[name]:
            found.append(f"{name}: {completed[name]} completed runs for {plan.contents[name]} contents")
    found += [f"{run.name}: {run.state.name}" for run in runs if not run.state.is_completed()]
    keys = Counter(run.idempotency_key for run in runs)
    found += [f"{key}: {times} runs" for key, times in keys.items() if times > 1]
    if set(workspace.subjects()) != set(plan.contents):
        found.append(f"subjects: {set(workspace.subjects()) ^ set(plan.contents)}")
    found += [f"{f.name}: stale" for f in staleness.forecasts(workspace, workspace.subjects()) if not f.fresh]
    for name in workspace.subjects():
        if len(list((workspace.subjects_folder / name / "photos").glob("*.png"))) != 3:
            found.append(f"{name}: half an upload")
    box = workspace.root / "data" / "inbox"
    done = len(list((box / "done").glob("*/*")))
    if done != len(plan.uploads) - plan.rejected:
        found.append(f"{done} drops in done/, {len(plan.uploads) - plan.rejected} expected")
    reasons = {place.name: (place / "reason.txt").read_text() for place in (box / "rejected").glob("*")}
    for upload in plan.uploads:
        if upload.bad and BAD[upload.bad][1] not in reasons.get(f"{upload.name}-1", ""):
            found.append(f"{upload.name}: rejected without its reason")
    if len(reasons) != plan.rejected:
        found.append(f"{len(reasons)} rejected, {plan.rejected} expected")
    left = [
        path.name for path in box.iterdir() if path.name not in (".taken", ".staging", "done", "rejected")
    ]
    found += [
        f"left in the inbox: {name}" for name in [*left, *(path.name for path in (box / ".taken").iterdir())]
    ]
    return found


def bench(count: int, kills: int, restarts: int, seed: int, keep: Path | None) -> None:
    """Drop, kill, restart, wait, and look at what is there."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory() as place:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        api = f"http://127.0.0.1:{port}/api"
        os.environ |= {
            "PYTHONPATH": os.pathsep.join([str(REPO / "tests" / "flows"), str(REPO), *sys.path[1:2]]),
            "PREFECT_API_URL": api,
            "PREFECT_HOME": f"{place}/prefect",
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_LOGGING_LEVEL": "WARNING",
            "DO_NOT_TRACK": "1",
            "DVC_NO_ANALYTICS": "1",
        }
        sys.path[:0] = [str(REPO)]
        from flows import prefect_api
        from tests.flows.conftest import new_workspace

        workspace = new_workspace(Path(place) / "project")
        with open(workspace.params_file, "a", encoding="utf-8") as file:
            file.write(f"inbox: {{poll_s: 1, settle_s: {SETTLE_S}}}\n")
        plan, started = planned(count, chance), time.monotonic()
        logs = Path(place)
        us = [sys.executable, "-m", "bench.fleet.exactly_once", str(workspace.root), "--role"]
        server = [
            sys.executable,
            "-m",
            "prefect",
            "server",
            "start",
            "--host",
            "127.0.0.1",
            "--port",
            str(port),
        ]
        processes = [Process(server, logs / "server.log", lambda: prefect_api.healthy(api))]
        try:
            deploy(workspace.root)
            processes += [Process([*us, role], logs / f"{role}.log") for role in ("watcher", "runner")]
            box = workspace.root / "data" / "inbox"
            box.mkdir(parents=True, exist_ok=True)
            drops = threading.Thread(target=Dropper(box, plan, chance).run, args=(2.0,), daemon=True)
            drops.start()
            _disturb(processes[0], processes[1], kills, restarts, chance)
            drops.join()
            _wait(box, len(plan.uploads))
            seconds = time.monotonic() - started
            runs = aftermath.all_runs()
            wrong = complaints(workspace, plan, runs)
        finally:
            for process in processes:
                process.end()
            if keep:
                for log in logs.glob("*.log"):
                    shutil.copy(log, keep)
        again = (logs / "runner.log").read_text().count("runner: again")
    _record(plan, processes, wrong, runs, seconds, again)


def _disturb(server: Process, watcher: Process, kills: int, restarts: int, chance: random.Random) -> None:
    """Kill the watcher and restart the server at random moments."""
    turns = ["watcher"] * kills + ["server"] * restarts
    chance.shuffle(turns)
    for turn in turns:
        time.sleep(chance.uniform(4, 18))
        if turn == "watcher":
            watcher.kill()
        else:
            server.kill(chance.choice((signal.SIGKILL, signal.SIGTERM)), away_s=chance.uniform(0, 8))
        print(f"{turn} killed", flush=True)


def _wait(box: Path, count: int) -> None:
    """Until every drop is at its end and every run completed."""
    from prefect.client.orchestration import get_client

    told = 0.0
    while True:
        ended = len(list((box / "done").glob("*/*"))) + len(list((box / "rejected").glob("*")))
        with get_client(sync_client=True) as client:
            left = len(client.read_flow_runs(flow_run_filter=_unfinished(), limit=200))
        if ended >= count and not left:
            return
        if time.monotonic() - told > 30:
            told = time.monotonic()
            print(f"{ended} of {count} drops at their end, {left} runs to go", flush=True)
        time.sleep(3)


def _record(
    plan: Plan, processes: list[Process], wrong: list[str], runs: list[Any], seconds: float, again: int
) -> None:
    from bench.fleet.record import record

    for complaint in wrong:
        print(complaint)
    record(
        "exactly once",
        len(wrong),
        "0 of the accepted contents without one completed run, with two, half, lost or unexplained",
        not wrong,
        drops=len(plan.uploads),
        subjects=len(plan.contents),
        contents=sum(plan.contents.values()),
        rejected=plan.rejected,
        runs=len(runs),
        watcher_killed=processes[1].kills,
        server_restarted=processes[0].kills,
        runs_begun_again=again,
        minutes=round(seconds / 60, 1),
    )


def main() -> None:
    """Measure and record; the roles are for the bench's own processes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=200, help="drops")
    parser.add_argument("--kills", type=int, default=20, help="of the watcher")
    parser.add_argument("--restarts", type=int, default=5, help="of Prefect's server")
    parser.add_argument("--seed", type=int, default=0, help="of everything that chance decides")
    parser.add_argument("--logs", type=Path, help="folder to keep the logs of the three processes in")
    parser.add_argument("--role", choices=("watcher", "runner"), help=argparse.SUPPRESS)
    parser.add_argument("root", type=Path, nargs="?", help=argparse.SUPPRESS)
    told = parser.parse_args()
    if told.role:
        {"watcher": watcher, "runner": runner}[told.role](told.root)
    else:
        bench(told.count, told.kills, told.restarts, told.seed, told.logs)


if __name__ == "__main__":
    main()
