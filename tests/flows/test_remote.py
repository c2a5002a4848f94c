"""Push and pull against a real S3 server, and against one that only ever says 503."""

import shutil
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from flows import execution
from flows.store import remote, staleness
from flows.workspace import SubjectFolder, Workspace
from tasks.shared.errors import UserError
from tests.flows import s3_server

from .conftest import STAGES, Command, new_subject


def outputs(workspace: Workspace) -> dict[str, bytes]:
    files = [
        path for path in (workspace.root / "data").rglob("*") if path.is_file() and ".work" not in path.parts
    ]
    return {str(path.relative_to(workspace.root)): path.read_bytes() for path in files}


def test_a_fresh_clone_plus_pull_has_the_same_bytes_and_nothing_to_do(
    rex: SubjectFolder, s3: str, tmp_path: Path, dreamline: Command
):
    bob = new_subject(rex.workspace, "bob", "cat")
    root = rex.workspace.root
    for subject in (rex, bob):
        execution.bring_up_to_date(subject)
    subprocess.run(["git", "add", "-A"], cwd=root, check=True)
    subprocess.run(["git", "commit", "-qm", "subjects"], cwd=root, check=True)
    s3_server.use(root, s3)
    pushed = dreamline(root, "push")
    assert pushed.code == 0, pushed.err
    assert "2 subjects" in pushed.out
    assert subprocess.run(["git", "status", "--short"], cwd=root, capture_output=True, text=True).stdout == ""

    clone = Workspace(tmp_path / "clone")
    subprocess.run(["git", "clone", "-q", str(root), str(clone.root)], check=True)
    s3_server.use(clone.root, s3)
    assert not any((clone.subjects_folder / "rex" / stage).exists() for stage in STAGES)
    assert dreamline(clone.root, "pull", "rex").code == 0
    assert not (clone.subjects_folder / "bob" / "sample").exists()  # one subject, not the fleet
    assert dreamline(clone.root, "pull").code == 0
    assert outputs(clone) == outputs(rex.workspace)
    assert len(outputs(clone)) > 20
    assert all(forecast.fresh for forecast in staleness.forecasts(clone, ["bob", "rex"]))
    assert "secret" not in (clone.root / ".dvc" / "config").read_text()


def test_a_run_in_a_fresh_clone_takes_results_from_the_remote(done: SubjectFolder, s3: str):
    rex = done
    s3_server.use(rex.workspace.root, s3)
    remote.transfer(rex.workspace, "push", remote.targets(rex.workspace, ["rex"]), deadline_s=120)
    expected = outputs(rex.workspace)
    shutil.rmtree(rex.workspace.root / ".dvc" / "cache")
    shutil.rmtree(rex.folder / "sample")
    shutil.rmtree(rex.folder / "photos")
    actions = {outcome.stage: outcome.action for outcome in execution.bring_up_to_date(rex)}
    assert actions["sample"] == "restored"
    assert "ran" not in actions.values()
    assert outputs(rex.workspace) == expected


def test_wrong_credentials_are_a_mistake_in_one_line(
    done: SubjectFolder, s3: str, dreamline: Command, monkeypatch
):
    rex = done
    s3_server.use(rex.workspace.root, s3)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    said = dreamline(rex.workspace.root, "push", "rex")
    assert said.code == 2
    assert len(said.err.strip().splitlines()) == 1
    with pytest.raises(UserError, match="remote: "):
        remote.probe(rex.workspace, deadline_s=60)


def test_the_probe_names_a_remote_that_answers(rex: SubjectFolder, s3: str):
    s3_server.use(rex.workspace.root, s3)
    assert remote.probe(rex.workspace, deadline_s=60) == "s3://dreamline/store"


class Unavailable(BaseHTTPRequestHandler):
    """An S3 server on a bad day."""

    def do_GET(self) -> None:
        self.send_response(503)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_HEAD = do_PUT = do_POST = do_GET

    def log_message(self, *_: object) -> None:
        """Be quiet."""


def test_a_remote_that_only_says_503_is_given_up_at_the_deadline(
    done: SubjectFolder, s3: str, dreamline: Command
):
    rex = done
    server = ThreadingHTTPServer(("127.0.0.1", 0), Unavailable)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    s3_server.use(rex.workspace.root, f"http://127.0.0.1:{server.server_port}")
    started = time.monotonic()
    said = dreamline(rex.workspace.root, "push", "rex", "--deadline", "6")
    server.shutdown()
    assert said.code == 2
    assert "push" in said.err
    assert time.monotonic() - started < 30
    assert staleness.forecasts(rex.workspace, ["rex"])[0].fresh  # and the lock is free again


def test_the_default_remote_is_a_folder_of_this_checkout(done: SubjectFolder, dreamline: Command):
    rex = done
    assert dreamline(rex.workspace.root, "push", "rex").code == 0
    assert (rex.workspace.state / "remote" / "files").is_dir()
    said = dreamline(rex.workspace.root, "pull", "rex")
    assert said.code == 0, said.err
