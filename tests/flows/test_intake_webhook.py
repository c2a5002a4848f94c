"""POST /subjects: a token, limits, plain words, and a drop that is whole or not there."""

import hashlib
import hmac
import io
import socket
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from starlette.testclient import TestClient

from flows.intake import webhook
from flows.intake.watching import Inbox
from flows.intake.webhook import TOKEN, Params, application
from flows.workspace import Workspace
from tasks.shared.errors import UserError
from tests.flows import intake_drops
from tests.flows.intake_drops import NOW, Runs, names, photos

box, runs = intake_drops.box, intake_drops.runs  # fixtures

SECRET = "0123456789abcdef-a-token"
AUTH = {"Authorization": f"Bearer {SECRET}"}


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A zip of two photos."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as package:
        for photo in sorted(photos(tmp_path_factory.mktemp("photos")).iterdir()):
            package.write(photo, photo.name)
    return packed.getvalue()


def client(workspace: Workspace, **options: float) -> TestClient:
    return TestClient(application(workspace, SECRET, Params(**options)))


def test_a_post_becomes_a_subject_with_one_run(workspace: Workspace, box: Path, runs: Runs, archive: bytes):
    app = client(workspace)
    fields = {"name": "rex", "class": "dog", "prompts": ["a {subject} on mars", "a {subject}: at 'sea'"]}
    for _ in range(2):  # an app that did not hear the answer posts again
        said = app.post("/subjects", headers=AUTH, data=fields, files={"photos": ("p.zip", archive)})
        assert (said.status_code, said.json()) == (202, {"name": "rex", "status": "/subjects/rex"})
    assert app.get("/subjects/rex", headers=AUTH).json() == {"name": "rex", "state": "waiting"}
    Inbox(workspace, NOW).look()
    assert workspace.subject("rex").identity.class_word == "dog"
    assert "a {subject} on mars" in workspace.subject("rex").subject_file.read_text()
    assert runs.posts == ["rex"]
    assert app.get("/subjects/rex", headers=AUTH).json()["state"] == "accepted"
    new = app.post("/subjects", headers=AUTH, data={"name": "rex"}, files={"photos": ("p.zip", archive[:-9])})
    assert new.status_code == 202  # the inbox looks into it
    Inbox(workspace, NOW).look()
    answer = app.get("/subjects/rex", headers=AUTH).json()
    assert answer["state"] == "rejected"
    assert "damaged zip" in answer["reason"]


def test_a_person_with_a_consent_record(workspace: Workspace, box: Path, runs: Runs, archive: bytes):
    record = b"given_by: Joe\ndate: 2020-01-01\npurposes: [ingest, train, sample]\nexpires: 2999-01-01\n"
    said = client(workspace).post(
        "/subjects",
        headers=AUTH,
        data={"name": "joe", "class": "man", "kind": "person"},
        files={"photos": ("p.zip", archive), "consent": ("c", record)},
    )
    assert said.status_code == 202
    Inbox(workspace, NOW).look()
    assert (workspace.subject("joe").folder / "consent.yaml").read_bytes() == record


@pytest.mark.parametrize(
    ("fields", "files", "status", "expected"),
    [
        ({"class": "dog"}, {"photos": b"zip"}, 400, "name: missing"),
        ({"name": "rex"}, {"photos": b"zip"}, 400, "class: missing"),
        ({"name": "rex", "class": "dog"}, {}, 415, "multipart"),
        ({"name": "rex", "class": "dog"}, {"consent": b"x"}, 400, "photos: missing"),
        ({"name": "rex", "class": "dog"}, {"photos": b"no archive"}, 400, "photos: no zip"),
        ({"name": "../x", "class": "dog"}, {"photos": b"zip"}, 400, "no slug"),
        ({"name": "/etc", "class": "dog"}, {"photos": b"zip"}, 400, "no slug"),
        ({"name": "rex", "clas": "dog"}, {"photos": b"zip"}, 400, "did you mean 'class'"),
        ({"name": "rex", "class": "dog", "consent": "../../etc/passwd"}, {"photos": b"zip"}, 400, "consent"),
        ({"name": "rex", "class": "dog", "method": "os"}, {"photos": b"zip"}, 400, "there are: dreambooth"),
        ({"name": "rex", "class": "dog", "prompts": ["x" * 600]}, {"photos": b"zip"}, 400, "500 letters"),
        ({"name": "rex", "class": "d" * 30_000}, {"photos": b"zip"}, 400, "exceeded"),
        ({"name": "rex", "class": "dog"}, {"photos": b"zip", "consent": b"x" * 30_000}, 413, "20 kB"),
    ],
)
def test_what_is_refused_at_once_with_a_plain_reason(
    workspace: Workspace, box: Path, archive: bytes, fields: dict, files: dict, status: int, expected: str
):
    sent = {key: (key, archive if data == b"zip" else data) for key, data in files.items()}
    said = client(workspace).post("/subjects", headers=AUTH, data=fields, files=sent)
    assert said.status_code == status
    assert expected.lower() in said.json()["error"].lower()
    assert [path for path in box.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize(
    "headers",
    [{}, {"Authorization": "Bearer wrong"}, {"Authorization": SECRET}, {"Authorization": b"Bearer \xff\xfe"}],
)
def test_without_the_token_nothing_is_told(workspace: Workspace, box: Path, archive: bytes, headers: dict):
    app = client(workspace)
    for said in (
        app.post("/subjects", headers=headers, data={"name": "rex"}, files={"photos": archive}),
        app.get("/subjects/rex", headers=headers),
    ):
        assert said.status_code == 401
    assert app.get("/docs").status_code == app.get("/openapi.json").status_code == 404
    assert names(box) == []


def test_tokens_are_compared_in_constant_time(workspace: Workspace, monkeypatch: pytest.MonkeyPatch):
    asked = []
    compare = hmac.compare_digest
    monkeypatch.setattr(hmac, "compare_digest", lambda a, b: asked.append((a, b)) or compare(a, b))
    assert client(workspace).get("/subjects/rex", headers=AUTH).status_code == 404
    assert asked == [(f"Bearer {SECRET}".encode(),) * 2]


def test_the_size_counts_while_it_is_read(workspace: Workspace, box: Path):
    """Chunked, so without a Content-Length to go by; the sender is not read to the end."""
    sent = []

    def body() -> Iterator[bytes]:
        yield b'--x\r\nContent-Disposition: form-data; name="photos"; filename="p.zip"\r\n\r\n'
        for _ in range(1000):
            sent.append(1)
            yield bytes(100_000)

    headers = AUTH | {"Content-Type": "multipart/form-data; boundary=x"}
    with listening(workspace, max_mb=1) as url:
        try:
            said = httpx.post(f"{url}/subjects", headers=headers, content=body(), timeout=60)
            assert said.status_code == 413
            assert "webhook.max_mb" in said.json()["error"]
        except (httpx.WriteError, httpx.ReadError):
            pass  # the connection was closed in the middle
    assert len(sent) < 1000
    assert [path for path in box.rglob("*") if path.is_file()] == []


def test_the_rate_counts_wrong_tokens_too(workspace: Workspace, monkeypatch: pytest.MonkeyPatch):
    clock = [1000.0]
    monkeypatch.setattr(webhook.time, "monotonic", lambda: clock[0])
    app = client(workspace, per_minute=3)
    assert [app.get("/subjects/rex", headers={}).status_code for _ in range(3)] == [401] * 3
    said = app.get("/subjects/rex", headers=AUTH)
    assert said.status_code == 429
    assert int(said.headers["Retry-After"]) >= 60
    clock[0] += 61
    assert app.get("/subjects/rex", headers=AUTH).status_code == 404


class listening:
    """The webhook as `serve` runs it, on a free port."""

    def __init__(self, workspace: Workspace, host: str = "127.0.0.1", **options: float):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        lines = "".join(f"\n  {key}: {value}" for key, value in options.items())
        with open(workspace.params_file, "a") as file:
            file.write(f"webhook:\n  host: {host}\n  port: {self.port}{lines}\n")
        self.stop, self.patch = threading.Event(), pytest.MonkeyPatch()
        self.thread = threading.Thread(target=webhook.run, args=(workspace, self.stop))

    def __enter__(self) -> str:
        self.patch.setenv(TOKEN, SECRET)
        self.thread.start()
        for _ in range(600):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    break
            time.sleep(0.1)
        return f"http://127.0.0.1:{self.port}"

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self.thread.join(60)
        self.patch.undo()
        assert not self.thread.is_alive()


def test_it_listens_on_this_machine_only(workspace: Workspace, box: Path, runs: Runs, archive: bytes):
    digest = hashlib.sha256(archive).hexdigest()
    with listening(workspace) as url:
        other = socket.gethostbyname(socket.gethostname())
        if not other.startswith("127."):
            with pytest.raises(httpx.ConnectError):
                httpx.get(url.replace("127.0.0.1", other))
        form = {"name": "rex", "class": "dog"}
        said = httpx.post(f"{url}/subjects", headers=AUTH, data=form, files={"photos": archive}, timeout=60)
        assert said.status_code == 202
    (zipped,) = box.glob(".taken/*/rex/photos.zip")
    assert hashlib.sha256(zipped.read_bytes()).hexdigest() == digest


def test_without_a_token_it_is_off_and_refuses_to_be_open(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.delenv(TOKEN, raising=False)
    caplog.set_level("INFO")
    webhook.run(workspace, threading.Event())
    assert "webhook: off" in caplog.text
    with open(workspace.params_file, "a") as file:
        file.write("webhook: {host: 0.0.0.0}\n")
    with pytest.raises(UserError, match="open to the network"):
        webhook.run(workspace, threading.Event())
    monkeypatch.setenv(TOKEN, "short")
    with pytest.raises(UserError, match="at least 16") as error:
        webhook.run(workspace, threading.Event())
    assert "short" not in str(error.value)


def test_the_token_may_lie_in_a_file(workspace: Workspace, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv(TOKEN, raising=False)
    (workspace.root / "token").write_text(SECRET + "\n")
    assert webhook.read_token(workspace, Params(token_file="token")) == SECRET
    with pytest.raises(UserError, match="cannot be read"):
        webhook.read_token(workspace, Params(token_file="none"))
