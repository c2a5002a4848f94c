"""kill -9 of every process of `dreamline serve`, in turn, while it works: `python -m bench.fleet.kills`.

A fleet is made undisturbed, stage by stage in this process. A second one is made by `dreamline serve`, whose runner,
server, watcher and supervisor are killed at random moments of a seeded generator (a killed supervisor is started again,
as systemd would). Afterwards every subject must have one finished run, its files must be those of the first fleet byte
for byte, and nothing half-made, locked or "Running" may be left. With `--s3` every run hands its subject on to git and to
an S3 server that is killed too and is away for some seconds; a clone must then get all bytes of the first fleet.
"""

import argparse
import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from bench.fleet import aftermath, stores
from flows.workspace import Workspace
from tests.flows.s3_server import KEYS, S3Server

REPO = Path(__file__).resolve().parent.parent.parent
ROLES = {
    "runner": "flows.serving.runner",
    "server": "flows.prefect_server",
    "watcher": "flows.serving.watcher",
    "supervisor": "from flows.cli import main",
}
SERVE = [sys.executable, "-c", "from flows.cli import main; main()", "serve", "--port"]
CLASSES = ("dog", "cat", "duck")
PATIENCE_S = 3600.0
S3_AWAY_S = 8.0
SMALL = {
    "class_prior": {"num_class_images": 4, "num_inference_steps": 4, "judge": None},
    "fine_tune": {"max_train_steps": 40, "validation_steps": 0},
    "machine": {"checkpoint_steps": 10},
    "sample": {"num_inference_steps": 4, "num_class_images": 2, "prompts": ["a {subject} on the grass"]},
    "evaluate": {"resamples": 100, "segmenter": None},
}


class Served:
    """`dreamline serve` of a project, in whatever state."""

    def __init__(self, workspace: Workspace, port: int, seconds: float, s3: S3Server | None = None):
        self.workspace, self.port, self.s3 = workspace, port, s3
        self.url = f"http://127.0.0.1:{port}/api"
        self.environment = os.environ | {
            "STANDIN_SECONDS": str(seconds),
            "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "ERROR",
            "PREFECT_HOME": str(workspace.state / "prefect"),
        }
        self.environment.pop("PREFECT_API_URL", None)
        self.log = open(workspace.root / "serve.log", "ab")  # noqa: SIM115
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """As a person, or systemd, would."""
        self.process = subprocess.Popen(
            [*SERVE, str(self.port)],
            cwd=self.workspace.root,
            env=self.environment,
            stdout=self.log,
            stderr=self.log,
        )

    def number(self, role: str) -> int | None:
        """Process number of one of its processes; None while there is none."""
        assert self.process is not None
        if role == "s3":
            return self.s3.number if self.s3 else None
        if role == "supervisor":
            return self.process.pid if self.process.poll() is None else None
        for entry in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                words = entry.read_bytes().decode(errors="replace").split("\0")
                if ROLES[role] in words and ({str(self.port), str(self.workspace.root)} & set(words)):
                    return int(entry.parent.name)
        return None

    def kill(self, role: str) -> bool:
        """kill -9; False if it was not there."""
        number = self.number(role)
        if number is None:
            return False
        os.kill(number, signal.SIGKILL)
        if role == "supervisor":
            assert self.process is not None
            self.process.wait()
            self.start()
        if self.s3 and role == "s3":
            self.s3.kill()
            time.sleep(S3_AWAY_S)
            self.s3.start()
        return True

    def end(self) -> None:
        """SIGTERM, and wait."""
        assert self.process is not None
        self.process.terminate()
        self.process.wait(120)


def main() -> None:
    """Kill, wait, compare, record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=60)
    parser.add_argument("--subjects", type=int, default=24)
    parser.add_argument("--seconds", type=float, default=1.0, help="that a stand-in stage takes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--every", type=float, default=6.0, help="seconds between two kills, on average")
    parser.add_argument("--real", action="store_true", help="the real stages on data/miniature, few steps")
    parser.add_argument("--s3", action="store_true", help="share by git and an S3 server, and kill that too")
    parser.add_argument(
        "--database", help="postgresql+asyncpg://... for Prefect's server, instead of its SQLite file"
    )
    arguments = parser.parse_args()
    os.environ["PYTHONPATH"] = os.pathsep.join([str(REPO / "tests" / "flows"), str(REPO)])
    sys.path[:0] = [str(REPO / "tests" / "flows"), str(REPO)]
    if arguments.database:
        os.environ["PREFECT_API_DATABASE_CONNECTION_URL"] = arguments.database
    with tempfile.TemporaryDirectory() as folder:
        measure(Path(folder), arguments)


def measure(folder: Path, arguments: argparse.Namespace) -> None:
    """Both fleets, and what is different."""
    from bench.fleet.record import record
    from flows import execution

    names = [f"s{number:03d}" for number in range(arguments.subjects)]
    calm, stormy = (fleet(folder / which, names, arguments.real) for which in ("calm", "stormy"))
    for name in names:
        execution.bring_up_to_date(calm.subject(name))
    print(f"{len(names)} subjects made undisturbed", flush=True)
    s3, hub = None, folder / "hub.git"
    if arguments.s3:
        os.environ |= KEYS
        s3 = S3Server(folder / "s3")
        stores.share(stormy, s3, hub)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    served = Served(stormy, port, 0.0 if arguments.real else arguments.seconds, s3)
    os.environ |= {"PREFECT_API_URL": served.url, "PREFECT_HOME": served.environment["PREFECT_HOME"]}
    served.start()
    started = time.monotonic()
    try:
        post(stormy, names)
        landed = storm(served, names, arguments)
        wait_until_done(names)
        took_s = time.monotonic() - started
        faults = aftermath.compare(calm, stormy) + aftermath.left_behind(stormy) + aftermath.unfinished(names)
        if s3:
            faults += stores.faults_of(hub) + aftermath.compare(
                calm, stores.fetched(hub, s3, folder / "other")
            )
    finally:
        served.end()
        if s3:
            s3.kill()
    faults += aftermath.left_running(stormy, port)
    repeated = Counter(call for name in names for call in aftermath.repeats(stormy, name))
    for fault in faults:
        print("FAULT", fault)
    record(
        f"kill -9 of any process, {'real stages' if arguments.real else 'stand-ins'}"
        + (", PostgreSQL" if arguments.database else "")
        + (", shared by S3" if s3 else ""),
        f"{sum(landed.values())} kills, {len(names)} subjects finished, {len(faults)} faults",
        "60 random moments: all finish by themselves, bytes equal, nothing left behind",
        not faults and sum(landed.values()) >= 60,
        killed=dict(landed),
        stages_begun_again=dict(repeated),
        faults=faults[:5],
        took_s=round(took_s),
        seed=arguments.seed,
        load=round(os.getloadavg()[0], 1),
        command=" ".join(["python -m bench.fleet.kills", *sys.argv[1:]]),
    )
    sys.exit(bool(faults))


def fleet(root: Path, names: list[str], real: bool) -> Workspace:
    """A project whose subjects have been accepted and not run."""
    from ruamel.yaml import YAML

    from flows import adding
    from flows.store import versions
    from tests.flows.conftest import new_subject, new_workspace

    workspace = new_workspace(root, "tasks" if real else "standin")
    if real:
        for part in ("miniature", "judges", "segmenters"):
            (root / "data" / part).symlink_to(REPO / "data" / part)
        yaml = YAML()
        tree = yaml.load(REPO / "params.yaml")
        for section, values in SMALL.items():
            tree[section].update(values)
        yaml.dump(tree, workspace.params_file)
    for number, name in enumerate(names):
        if real:
            photos = sorted((REPO / "data" / "demo").rglob("*.*"))[:5]
            adding.add(workspace, photos, name, None, None, **{"class": "cat"})
        else:
            subject = new_subject(workspace, name, CLASSES[number % len(CLASSES)])
            subject.prepare()
            versions.add_photos(subject)
    return workspace


def post(workspace: Workspace, names: list[str]) -> None:
    """Ask for every subject; again and again while the server is not there."""
    from flows import posting

    for name in names:
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                posting.post(workspace, name)
                break
            except Exception:
                if time.monotonic() > deadline:
                    raise
                time.sleep(1)
    print(f"{len(names)} runs posted", flush=True)


def storm(served: Served, names: list[str], arguments: argparse.Namespace) -> Counter[str]:
    """Kill in turn, at random moments, until the count is reached or nothing is left to disturb."""
    chance, landed = random.Random(arguments.seed), Counter[str]()
    roles = [*ROLES, *(["s3"] if served.s3 else [])]
    while sum(landed.values()) < arguments.kills:
        role = roles[sum(landed.values()) % len(roles)]
        time.sleep(chance.uniform(0.1, 2 * arguments.every))
        moment = at_work(served.workspace, names)
        while not served.kill(role):
            time.sleep(0.2)
        landed[role] += 1
        print(f"{sum(landed.values()):3d} killed {role}: {moment}", flush=True)
    return landed


def at_work(workspace: Workspace, names: list[str]) -> str:
    """What was being made: half-made folders, and what stages keep to go on from."""
    folders = [workspace.subjects_folder / name for name in names]
    folders += (workspace.root / "data" / "class_prior").glob("*")
    half = [f"{folder.name}{path.name}" for folder in folders for path in folder.glob(".*.new")]
    half += [f"{folder.name}.{path.name}" for folder in folders for path in folder.glob(".work/*/")]
    return ", ".join(half) or "between stages"


def wait_until_done(names: list[str]) -> None:
    """Until every subject has a finished run and nothing is under way."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        with contextlib.suppress(Exception):
            if not aftermath.unfinished(names):
                return
        if time.monotonic() > deadline:
            return
        time.sleep(3)


if __name__ == "__main__":
    main()
