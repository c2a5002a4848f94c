"""Two workers on two hosts that share nothing but git and S3: `python -m bench.fleet.two_hosts` (root, Linux).

The hosts are network namespaces with a link each to this machine, which is the server: Prefect, an S3 server, a bare
git repository behind `git daemon`, and the night that hands out. Each host has its own clone, DVC cache and process
worker. Twice a fleet of stand-in subjects is stale: once nothing is disturbed, once one host is cut off in the middle,
link and processes.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from bench.fleet.record import record
from tests.flows import s3_server

REPO = Path(__file__).resolve().parent.parent.parent
STANDINS = REPO / "tests" / "flows"
SERVER, HOSTS = "10.77.0.1", {"host-a": "10.77.0.2", "host-b": "10.77.0.3"}
POOL = "dreamline"
CLASSES = ("dog", "cat")
STAGES = ("segment", "fine_tune", "sample", "evaluate", "report")
ENVIRONMENT = {
    "PREFECT_API_URL": f"http://{SERVER}:4277/api",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_LOGGING_EXTRA_LOGGERS": "flows",
    "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
    "DO_NOT_TRACK": "1",
    "DVC_NO_ANALYTICS": "1",
    **s3_server.KEYS,
    "GIT_CONFIG_GLOBAL": os.devnull,
    "PYTHONPATH": os.pathsep.join([str(STANDINS), str(REPO)]),
    "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
}


def sh(*command: str, cwd: Path | None = None, check: bool = True) -> str:
    """Run a command; returns what it printed."""
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    if check and done.returncode:
        raise SystemExit(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout.strip()


@contextlib.contextmanager
def network() -> Iterator[None]:
    """A bridge on this machine and a namespace with a link to it for every host."""
    if os.geteuid():
        raise SystemExit("needs root: the hosts are network namespaces")
    _unlink()
    try:
        sh("ip", "link", "add", "dreamline", "type", "bridge")
        sh("ip", "addr", "add", f"{SERVER}/24", "dev", "dreamline")
        sh("ip", "link", "set", "dreamline", "up")
        for host, address in HOSTS.items():
            sh("ip", "netns", "add", host)
            sh("ip", "link", "add", host, "type", "veth", "peer", "name", "eth0", "netns", host)
            sh("ip", "link", "set", host, "master", "dreamline", "up")
            sh("ip", "-n", host, "addr", "add", f"{address}/24", "dev", "eth0")
            sh("ip", "-n", host, "link", "set", "eth0", "up")
            sh("ip", "-n", host, "link", "set", "lo", "up")
        yield
    finally:
        for host in HOSTS:
            kill(host)
        _unlink()


def _unlink() -> None:
    for host in HOSTS:
        sh("ip", "link", "del", host, check=False)
        sh("ip", "netns", "del", host, check=False)
    sh("ip", "link", "del", "dreamline", check=False)


def kill(host: str) -> None:
    """Everything that runs on a host, at once and without a word."""
    for process in sh("ip", "netns", "pids", host, check=False).split():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(process), signal.SIGKILL)


@contextlib.contextmanager
def background(command: list[str], log: Path, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """A server, ended with its children."""
    with open(log, "wb") as file:
        process = subprocess.Popen(
            command,
            stdout=file,
            stderr=file,
            stdin=subprocess.DEVNULL,
            env=os.environ | environment,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


@contextlib.contextmanager
def servers(folder: Path) -> Iterator[None]:
    """S3, git and Prefect on the server's address."""
    (folder / "s3" / "dreamline").mkdir(parents=True)
    daemon = [
        "git", "daemon", "--reuseaddr", "--export-all", "--enable=receive-pack", f"--listen={SERVER}",
        f"--base-path={folder}", str(folder),
    ]  # fmt: skip
    prefect = [sys.executable, "-m", "prefect", "server", "start", "--host", SERVER, "--port", "4277"]
    home = {"PREFECT_HOME": str(folder / "prefect-server")}
    with (
        background(
            s3_server.command(folder / "s3", f"{SERVER}:9277"),
            folder / "s3.log",
            RCLONE_CONFIG=str(folder / "rclone.conf"),
        ),
        background(daemon, folder / "git.log"),
        background(prefect, folder / "prefect.log", **home),
    ):
        from flows import prefect_api

        if not prefect_api.wait_until_healthy(ENVIRONMENT["PREFECT_API_URL"], lambda: True, 600):
            raise SystemExit("Prefect's server did not start")
        yield


def project(folder: Path, size: int, silent_s: float) -> Path:
    """A fleet's repository at the server and the clone that the night works in."""
    from tests.flows.conftest import PARAMS, new_workspace

    first = new_workspace(folder / "night")
    for path in (REPO / "flows").rglob("*.py"):
        target = first.root / path.relative_to(REPO)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    shutil.copy(REPO / "prefect.yaml", first.root)
    (first.root / "data" / "README.md").write_text("Subjects come here.\n")  # git keeps no empty folder
    first.params_file.write_text(
        PARAMS + "sharing: {git_remote: origin}\n"
        f"workers: {{pool: {POOL}, batch_size: {size}, poll_s: 2, silent_s: {silent_s}}}\n"
    )
    (first.root / ".dvc" / "config").write_text(
        "[core]\n    analytics = false\n    check_update = false\n    remote = store\n"
        f"['remote \"store\"']\n    url = s3://dreamline/store\n    endpointurl = http://{SERVER}:9277\n"
    )
    sh("git", "add", "-A", cwd=first.root)
    sh("git", "commit", "-qm", "fleet", cwd=first.root)
    sh("git", "clone", "-q", "--bare", str(first.root), str(folder / "fleet.git"))
    sh("git", "remote", "add", "origin", f"git://{SERVER}/fleet.git", cwd=first.root)
    return first.root


@contextlib.contextmanager
def worker(folder: Path, host: str, seconds: float) -> Iterator[Path]:
    """A host: its clone, its cache, one process worker with one place; yields the clone."""
    clone = folder / host
    if not clone.exists():
        sh("git", "clone", "-q", f"git://{SERVER}/fleet.git", str(clone))
    start = (
        f"hostname {host}; exec prefect worker start --pool {POOL} --type process --limit 1 --name {host}"
        " --work-queue interactive --work-queue nightly"
    )
    command = ["ip", "netns", "exec", host, "unshare", "--uts", "sh", "-c", start]
    with background(
        command,
        folder / f"{host}.log",
        DREAMLINE_PROJECT=str(clone),
        PREFECT_HOME=str(folder / f"prefect-{host}"),
        STANDIN_SECONDS=str(seconds),
    ):
        yield clone


def night(root: Path, names: list[str], said: list[tuple[float, str]]) -> Sequence[Any]:
    """What `dreamline nightly` does on the server's machine; returns a row for each subject."""
    from flows import nightly
    from flows.workspace import Workspace

    began = time.monotonic()
    done = nightly.run(
        Workspace(root), names, lambda name, event: said.append((time.monotonic() - began, name))
    )
    return done.rows


def add(root: Path, prefix: str, count: int) -> list[str]:
    """New subjects, as `dreamline add` leaves them."""
    from flows.workspace import Workspace
    from tests.flows.conftest import new_subject

    names = [f"{prefix}{number:02d}" for number in range(count)]
    for number, name in enumerate(names):
        new_subject(Workspace(root), name, f"{CLASSES[number % len(CLASSES)]}{prefix}")
    return names


def calls(clones: list[Path], names: list[str], prefix: str) -> tuple[Counter[str], Counter[str]]:
    """How often each stage of each subject and each class prior ran, over all hosts."""
    stages: Counter[str] = Counter()
    priors: Counter[str] = Counter()
    for clone in clones:
        for name in names:
            log = clone / "data" / "subjects" / name / ".work" / "calls.log"
            stages.update(f"{name}:{stage}" for stage in (log.read_text().split() if log.exists() else []))
        for word in CLASSES:
            log = clone / "data" / "class_prior" / f"{word}{prefix}" / ".work" / "calls.log"
            priors.update([word] * len(log.read_text().split()) if log.exists() else [])
    return stages, priors


def by_host(bare: Path, names: list[str]) -> Counter[str]:
    """Subjects that each host has finished, by the authors of the commits."""
    said = sh("git", "log", "--format=%an%x09%s", "main", cwd=bare).splitlines()
    rows = [line.split("\t") for line in said]
    return Counter(
        author.removeprefix("dreamline on ")
        for author, subject in rows
        if subject.partition(":")[0] in names and subject.endswith("report")
    )


def sound(bare: Path) -> bool:
    """The history is a line and every object whole."""
    checked = subprocess.run(["git", "fsck", "--strict"], cwd=bare, capture_output=True)
    return checked.returncode == 0 and not sh("git", "log", "--merges", "--oneline", "main", cwd=bare)


def equal_bytes(root: Path, names: list[str]) -> bool:
    """What came home equals what one undisturbed machine makes of the same photos and params."""
    from flows import execution
    from flows.workspace import Workspace

    with tempfile.TemporaryDirectory() as folder:
        alone = Path(folder) / "alone"
        shutil.copytree(root, alone, ignore=shutil.ignore_patterns(".dreamline", *STAGES, "images", "cache"))
        (alone / ".dvc" / "config").write_text("[core]\n    analytics = false\n")  # no remote to take it from
        (alone / ".dvc" / "config.local").unlink(missing_ok=True)
        for lock in [*alone.rglob("data/**/dvc.lock"), *alone.rglob("data/**/history.jsonl")]:
            lock.unlink()
        for name in names:
            execution.bring_up_to_date(Workspace(alone).subject(name))
            for path in ("report/result.json", "evaluate/result.json"):
                ours, theirs = (r / "data" / "subjects" / name / path for r in (alone, root))
                if ours.read_bytes() != theirs.read_bytes():
                    print(f"{theirs}: differs from an undisturbed run")
                    return False
    return True


def main() -> None:
    """Measure and record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--subjects", type=int, default=12, help="subjects of each of the two nights")
    parser.add_argument("--batch-size", type=int, default=2, help="subjects of a batch")
    parser.add_argument("--seconds", type=float, default=2.0, help="what each stand-in stage takes")
    parser.add_argument("--silent", type=float, default=90.0, help="workers.silent_s of the fleet")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ended half-way, the network goes too
    os.environ |= ENVIRONMENT
    sys.path[:0] = [str(STANDINS), str(REPO)]
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logging.getLogger("flows.pool").setLevel(logging.INFO)
    with tempfile.TemporaryDirectory(prefix="two-hosts-") as name, network(), contextlib.ExitStack() as hosts:
        folder = Path(name)
        os.environ["PREFECT_HOME"] = str(folder / "prefect-night")
        root = project(folder, options.batch_size, options.silent)
        hosts.enter_context(servers(folder))
        for queue, priority in (("interactive", "1"), ("nightly", "2"), ("coordinator", "3")):
            if queue == "interactive":
                sh("prefect", "work-pool", "create", POOL, "--type", "process")
            sh("prefect", "work-queue", "create", queue, "--pool", POOL, "--priority", priority)
        print(sh("prefect", "--no-prompt", "deploy", "--all", cwd=root).splitlines()[-1], flush=True)
        clones = [hosts.enter_context(worker(folder, host, options.seconds)) for host in HOSTS]
        try:
            undisturbed(folder, root, clones, options.subjects)
            one_cut_off(folder, root, clones, options.subjects, options.silent)
        except BaseException:
            for log in sorted(folder.glob("*.log")):
                print(f"--- {log.name}\n{log.read_text(errors='replace')[-3000:]}", file=sys.stderr)
            raise


def undisturbed(folder: Path, root: Path, clones: list[Path], count: int) -> None:
    """Both hosts share a night."""
    names, bare = add(root, "a", count), folder / "fleet.git"
    started = time.monotonic()
    rows = night(root, names, [])
    seconds = time.monotonic() - started
    done = [row for row in rows if row.state == "new"]
    stages, priors = calls(clones, names, "a")
    shares = by_host(bare, names)
    once = set(stages.values()) == {1} and len(stages) == count * len(STAGES) and set(priors.values()) == {1}
    balanced = min(shares.get(host, 0) for host in HOSTS) >= count / 3
    holds = len(done) == count and once and balanced and sound(bare) and equal_bytes(root, names)
    record(
        "two hosts: shared",
        f"{len(done)} of {count} done, {dict(shares)}",
        "all done, no stage twice, each host a third or more, history a line, bytes of an undisturbed machine",
        holds,
        seconds=round(seconds, 1),
        stage_runs=sum(stages.values()),
        prior_runs=sum(priors.values()),
        load=round(os.getloadavg()[0], 1),
        linear_and_whole=sound(bare),
    )
    for row in rows:
        if row.state == "failed":
            print(f"{row.subject}: {row.reason}")


def one_cut_off(folder: Path, root: Path, clones: list[Path], count: int, silent_s: float) -> None:
    """A host loses its link and its processes in the middle; the other finishes."""
    names, bare, lost = add(root, "b", count), folder / "fleet.git", list(HOSTS)[1]
    cut: list[float] = []

    def cut_off() -> None:
        while not (
            at_work := [n for n in names if (clones[1] / "data/subjects" / n / ".work/calls.log").exists()]
        ):
            time.sleep(0.5)
        sh("ip", "link", "set", lost, "down")
        kill(lost)
        cut.append(time.monotonic())
        print(f"{lost} is cut off while at {at_work}", flush=True)

    began = time.monotonic()
    knife = threading.Thread(target=cut_off, daemon=True)
    knife.start()
    rows = night(root, names, [])
    ended = time.monotonic()
    knife.join(5)
    done = [row for row in rows if row.state == "new"]
    stages, _ = calls([clones[0]], names, "b")
    shares = by_host(bare, names)
    holds = bool(cut) and len(done) == count and set(stages.values()) == {1} and sound(bare)
    record(
        "two hosts: one cut off",
        f"{len(done)} of {count} done, {dict(shares)}",
        "the other host finishes all, none of its stages twice, history a line, bytes of an undisturbed machine",
        holds and equal_bytes(root, names),
        seconds=round(ended - began, 1),
        seconds_after_the_cut=round(ended - cut[0], 1) if cut else None,
        silent_s=silent_s,
        load=round(os.getloadavg()[0], 1),
        injected="link down and kill -9 of worker and batch, in the first stage of its first subject",
        linear_and_whole=sound(bare),
    )
    for row in rows:
        if row.state == "failed":
            print(f"{row.subject}: {row.reason}")


if __name__ == "__main__":
    main()
