"""What a stage costs beside its own work on a warm runner: `python -m bench.fleet.overhead`.

The same stand-in stages, for one fresh subject after another: called as plain functions; with DVC alone; and as runs
that a warm runner takes from a running Prefect server. The three in turns, medians over the rounds, in wall seconds and
in CPU seconds of this process and of the server: on a busy machine wall seconds count what others do.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from typing import cast
from uuid import UUID

from flows.store.pipeline import Stage
from flows.workspace import Workspace

REPO = Path(__file__).resolve().parent.parent.parent
BAR_S = 0.150
PORT = 4471


@contextmanager
def server(home: Path, port: int, **environment: str) -> Iterator[tuple[str, int]]:
    """A Prefect server as `dreamline serve` has it; its URL and process."""
    from flows import prefect_api

    url = f"http://127.0.0.1:{port}/api"
    settings = {"PREFECT_HOME": str(home), "PREFECT_API_URL": url}
    process = subprocess.Popen(
        [sys.executable, "-m", "flows.prefect_server", str(port)],
        env=os.environ | settings | environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
    )
    try:
        assert prefect_api.wait_until_healthy(url, lambda: process.poll() is None, 240), "no server"
        yield url, process.pid
    finally:
        process.kill()
        process.wait()


def main() -> None:
    """Measure, print, record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=12, help="fresh subjects for each of the three ways")
    parser.add_argument("--profile", type=Path, help="write a cProfile of the runner's part to this file")
    arguments = parser.parse_args()
    os.environ["PYTHONPATH"] = os.pathsep.join([str(REPO / "tests" / "flows"), str(REPO)])
    sys.path[:0] = [str(REPO / "tests" / "flows"), str(REPO)]
    with (
        tempfile.TemporaryDirectory() as folder,
        server(Path(folder) / "prefect", PORT) as (url, process),
    ):
        os.environ |= {
            "PREFECT_HOME": str(Path(folder) / "prefect"),
            "PREFECT_API_URL": url,
            "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "ERROR",
        }
        measure(Path(folder), arguments.rounds, process, arguments.profile)


def measure(folder: Path, rounds: int, server_process: int, profile: Path | None) -> None:
    """The three ways in turns."""
    from flows import execution
    from tests.flows.conftest import new_subject, new_workspace

    workspace = new_workspace(folder / "project")
    execution.bring_up_to_date(new_subject(workspace, "first"))  # the class prior, imports
    with runs(workspace) as execute:
        post(workspace, "second")
        execute()
        in_turns(workspace, rounds, server_process, profile, execute)


def in_turns(
    workspace: Workspace, rounds: int, server_process: int, profile: Path | None, execute: Callable[[], None]
) -> None:
    """Measure, print, record."""
    from bench.fleet.record import record
    from flows import execution
    from flows.store import staleness
    from tests.flows.conftest import PLAN, STAGES, new_subject

    taken: dict[str, list[float]] = {"plain": [], "dvc": [], "runner": []}
    cpu: dict[str, list[float]] = {way: [] for way in taken}

    def timed(way: str, work: Callable[[], object]) -> None:
        started, before = time.monotonic(), time.process_time() + cpu_of(server_process)
        work()
        taken[way].append((time.monotonic() - started) / len(STAGES))
        cpu[way].append((time.process_time() + cpu_of(server_process) - before) / len(STAGES))

    import cProfile

    profiler = cProfile.Profile(time.thread_time)
    for number in range(rounds):
        plain, dvc = (new_subject(workspace, f"{way}{number:03d}") for way in ("plain", "dvc"))
        post(workspace, f"runner{number:03d}")
        plan = [stage for stage in staleness.look(plain)[0] if stage.name in STAGES]
        timed("plain", partial(plainly, workspace, plan))
        timed("dvc", partial(execution.bring_up_to_date, dvc))
        if profile:
            profiler.enable()
        timed("runner", execute)
        profiler.disable()
        print(
            *(f"{way} {1000 * taken[way][-1]:.0f} ms ({1000 * cpu[way][-1]:.0f} CPU)," for way in taken),
            "a stage; load",
            os.getloadavg()[0],
            flush=True,
        )
    if profile:
        profiler.dump_stats(profile)
    medians = {way: median(found) for way, found in taken.items()}
    cpu_s = {way: median(found) for way, found in cpu.items()}
    overhead = medians["runner"] - medians["plain"]
    record(
        "orchestration overhead",
        round(overhead, 3),
        "<= 0.150 s a stage on a warm worker, beside plain function calls",
        overhead <= BAR_S,
        plain_s=round(medians["plain"], 4),
        dvc_alone_s=round(medians["dvc"], 3),
        runner_s=round(medians["runner"], 3),
        least_s=round(min(taken["runner"]) - min(taken["plain"]), 3),
        cpu_s=round(cpu_s["runner"] - cpu_s["plain"], 3),
        dvc_alone_cpu_s=round(cpu_s["dvc"] - cpu_s["plain"], 3),
        rounds=rounds,
        stages=len(PLAN) - 1,
        load=round(os.getloadavg()[0], 1),
        command="python -m bench.fleet.overhead",
    )


def plainly(workspace: Workspace, plan: list[Stage]) -> None:
    """The stages as function calls, and nothing else."""
    from flows import stages

    for stage in plan:
        stages.call(workspace, stage)


def post(workspace: Workspace, name: str) -> None:
    """A new subject, and a run of it that is due."""
    from flows import posting
    from flows.store import versions
    from tests.flows.conftest import new_subject

    subject = new_subject(workspace, name)
    subject.prepare()
    versions.add_photos(subject)
    posting.post(workspace, name)


def cpu_of(process: int) -> float:
    """CPU seconds of a process."""
    fields = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def runs(workspace: Workspace) -> Iterator[Callable[[], None]]:
    """Execute a posted run, as the runner of `dreamline serve` does."""
    from prefect.client.orchestration import get_client

    from flows import deployments, personalize
    from flows.serving.params import Params
    from flows.serving.runner import Runner

    os.chdir(workspace.root)
    offered = {cast(UUID, offer.apply()): flow for flow, offer in deployments.offered(workspace)}
    runner = Runner(offered, Params(), "bench")
    with personalize.settings(os.environ["PREFECT_API_URL"]), get_client(sync_client=True) as client:

        def execute() -> None:
            assert runner.execute_next(client, list(offered))

        yield execute


if __name__ == "__main__":
    main()
