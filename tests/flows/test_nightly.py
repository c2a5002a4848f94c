"""The night: priors first and once, failures apart, tried again only when that may help, one report, hooks that may be deaf."""

import json
import smtplib
import socketserver
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from flows import night_report, nightly, notices, priors, transient
from flows.night_report import Night
from flows.nightly import Failure
from flows.workspace import Workspace, write_subject
from tasks.shared.errors import Transient, UserError

from .conftest import Command, new_subject

Run = Callable[..., Night]


@pytest.fixture
def night(api: str, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A night without waiting."""
    from flows import personalize

    monkeypatch.setattr(personalize, "RETRY_DELAYS_S", [0])

    def run(workspace: Workspace, **more: Any) -> Night:
        with personalize.settings(api):
            return nightly.run(workspace, workspace.subjects(), **more)

    return run


def told(workspace: Workspace, **keys: Any) -> None:
    """Set keys of the section `nightly`."""
    lines = "".join(f"  {key}: {json.dumps(value)}\n" for key, value in ({"retry_wait_s": 0} | keys).items())
    with open(workspace.params_file, "a") as file:
        file.write(f"nightly:\n{lines}")


def states(night: Night) -> dict[str, str]:
    return {row.subject: row.state for row in night.rows}


def calls(workspace: Workspace, folder: str) -> list[str]:
    log = workspace.root / "data" / folder / ".work" / "calls.log"
    return log.read_text().split() if log.exists() else []


def stumble(workspace: Workspace, name: str, stage: str, times: int) -> None:
    work = workspace.subjects_folder / name / ".work"
    work.mkdir(exist_ok=True)
    (work / f"stumble_{stage}").write_text(str(times))


def test_priors_come_first_and_once_and_a_second_night_does_nothing(workspace: Workspace, night: Run):
    for name, word in (("ace", "dog"), ("bob", "dog"), ("tom", "cat")):
        new_subject(workspace, name, word)
    seen: list[str] = []

    def update(workspace, stale, tell):
        seen.extend(calls(workspace, "class_prior/dog") + calls(workspace, "class_prior/cat"))
        return nightly.one_by_one(workspace, stale, tell)

    first = night(workspace, update=update)
    assert states(first) == {"ace": "new", "bob": "new", "tom": "new"}
    assert seen == ["class_prior", "class_prior"]
    assert first.priors.made == ("cat", "dog")
    assert first.bytes == sum(
        path.stat().st_size
        for path in (workspace.root / "data").rglob("*")
        if path.is_file()
        and path.parent.name in ("images", "segment", "fine_tune", "sample", "evaluate", "report")
    )
    assert all(row.seconds for row in first.rows)
    second = night(workspace, update=update)
    assert set(states(second).values()) == {"unchanged"}
    assert (second.bytes, second.priors) == (0, priors.Priors())
    write_subject(workspace.subjects_folder / "ace" / "subject.yaml", {"report": {"seed": 9}})
    third = night(workspace)
    assert states(third) == {"ace": "changed", "bob": "unchanged", "tom": "unchanged"}
    assert third.priors.reused == ("dog",)
    assert 0 < third.bytes < first.bytes / 10
    assert len(calls(workspace, "class_prior/dog")) == 1


def test_only_what_may_pass_is_tried_again_and_not_for_ever(workspace: Workspace, night: Run):
    for name in ("ace", "bob", "cid"):
        new_subject(workspace, name)
    told(workspace, max_attempts=2)
    stumble(workspace, "ace", "sample", 3)  # two attempts at a stage, two at a subject: the last one works
    stumble(workspace, "bob", "sample", 99)
    (workspace.subjects_folder / "cid" / "photos" / "00.png").write_bytes(b"no picture")
    (workspace.subjects_folder / "cid" / "photos" / "manifest.json").unlink()
    found = night(workspace)
    assert states(found) == {"ace": "new", "bob": "failed", "cid": "failed"}
    reasons = {row.subject: row.reason for row in found.rows}
    assert reasons["bob"] == "the network is away for a moment (tried 2 times)"
    assert "tried" not in reasons["cid"]
    assert calls(workspace, "subjects/ace").count("sample") == 4
    assert calls(workspace, "subjects/bob").count("sample") == 4
    assert calls(workspace, "subjects/ace").count("fine_tune") == 1  # what is finished is kept


def test_a_failing_class_costs_its_own_subjects_only(workspace: Workspace, night: Run):
    for name, word in (("ace", "dog"), ("tom", "cat")):
        new_subject(workspace, name, word)
    (workspace.prior("dog") / ".work").mkdir(parents=True)
    (workspace.prior("dog") / ".work" / "poison_class_prior").write_text("mistake")
    found = night(workspace)
    assert states(found) == {"ace": "failed", "tom": "new"}
    assert "class pictures of dog" in found.of("failed")[0].reason


def test_a_lost_worker_is_tried_again_by_whoever_brings_subjects_up_to_date(workspace: Workspace, night: Run):
    for name in ("ace", "bob"):
        new_subject(workspace, name)
    told(workspace)
    asked: list[list[str]] = []

    def pool(workspace, stale, tell):
        asked.append([one.name for one in stale])
        if len(asked) == 1:
            return {
                "bob": Failure("its worker was lost", True),
                **nightly.one_by_one(workspace, stale[:1], tell),
            }
        return nightly.one_by_one(workspace, stale, tell)

    assert set(states(night(workspace, update=pool)).values()) == {"new"}
    assert asked == [["ace", "bob"], ["bob"]]


@pytest.mark.parametrize(
    ("error", "passing"),
    [
        (Transient("the disk of the remote is full"), True),
        (ConnectionResetError("reset by peer"), True),
        (TimeoutError(), True),
        (MemoryError(), True),
        (
            RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory"),
            True,
        ),
        (RuntimeError("CUDA error: out of memory"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (UserError("photos: none of its 3 files can be used"), False),
        (OSError(28, "No space left on device"), False),
        (ValueError("x"), False),
    ],
)
def test_what_may_pass_by_itself(error: Exception, passing: bool):
    assert (transient.reason(error) is not None) is passing
    assert transient.words(error)


def test_a_mistake_stays_one_whatever_caused_it():
    error = UserError("base.model: cannot be opened; check its name")
    error.__cause__ = ConnectionResetError("reset")
    assert transient.reason(error) is None


def test_the_reports_of_the_last_nights_are_kept_and_latest_is_the_last(workspace: Workspace, night: Run):
    import datetime

    new_subject(workspace, "ace")
    found = night(workspace)
    for day in range(1, 6):
        one = Night(datetime.datetime(2026, 1, day, 3), 60.0, found.rows, 5, found.priors)
        night_report.write(workspace, one, keep=3)
    folders = sorted(path.name for path in night_report.pages(workspace).iterdir())
    assert folders == ["2026-01-03_030000", "2026-01-04_030000", "2026-01-05_030000", "latest"]
    latest = night_report.pages(workspace) / "latest"
    assert json.loads((latest / "night.json").read_text())["new"] == ["ace"]
    page = (latest / "index.html").read_text()
    link = page.split('<a href="')[1].split('"')[0]
    assert (latest.resolve() / link).resolve() == workspace.subject("ace").report


def test_the_command_writes_the_report_and_prefect_has_it(workspace: Workspace, dreamline: Command, api: str):
    from prefect.client.orchestration import get_client

    from flows import personalize

    new_subject(workspace, "ace")
    new_subject(workspace, "bob").photos_file.write_text("outs: [")
    said = dreamline(workspace.root, "nightly")
    assert said.code == 2
    assert "1 of 2 subjects failed: bob:" in said.err
    assert Path(said.out.strip()).is_file()
    with personalize.settings(api), get_client(sync_client=True) as client:
        artifacts = {one.key: one for one in client.read_artifacts(limit=200)}
    assert "1 failed, 1 new" in artifacts["night"].data
    assert "bob" in artifacts["night-subjects"].data


class Hook(BaseHTTPRequestHandler):
    """Fails as often as it is told, then listens."""

    codes: list[int] = []
    heard: list[dict] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        code = self.codes.pop(0) if self.codes else 200
        if code == 200:
            self.heard.append(json.loads(body))
        self.send_response(code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Be quiet."""


@pytest.fixture
def hook(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, type[Hook]]]:
    monkeypatch.setattr(notices, "DELAYS_S", (0.0, 0.0))
    Hook.codes, Hook.heard = [], []
    server = HTTPServer(("127.0.0.1", 0), Hook)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/T0P/secret", Hook
    server.shutdown()
    server.server_close()


@pytest.fixture
def over(workspace: Workspace) -> Night:
    """A night in which one subject failed."""
    import datetime

    from tasks.reporting.fleet import FleetRow

    rows = (FleetRow("ace", "dog", "unchanged"), FleetRow("bob", "dog", "failed", "photos: none can be used"))
    return Night(datetime.datetime(2026, 1, 1, 3), 60.0, rows, 5, priors.Priors())


def test_a_webhook_hears_of_the_night_also_at_the_third_attempt(workspace: Workspace, over: Night, hook):
    url, server = hook
    server.codes = [503, 429]
    assert notices.send(over, workspace.root / "page.html", nightly.Params(webhook_url=url)) == []
    (heard,) = server.heard
    assert heard["text"] == "Dreamline: 1 failed, 1 unchanged"
    assert heard["night"]["failed"] == {"bob": "photos: none can be used"}


@pytest.mark.parametrize(("codes", "left"), [([500] * 9, 6), ([404] * 9, 8), ([302] * 9, 8)])
def test_a_deaf_webhook_fails_no_night_and_no_log_has_its_secret(
    workspace: Workspace,
    over: Night,
    hook,
    codes: list[int],
    left: int,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
):
    url, server = hook
    server.codes = list(codes)
    told(workspace, webhook_url=url)
    monkeypatch.setattr(night_report, "publish", lambda night, page: None)
    page = nightly.finish(workspace, over)
    assert page.exists()
    assert len(server.codes) == left  # what will be said again is not asked again
    assert "not told" in caplog.text
    assert "secret" not in caplog.text
    assert notices.send(over, page, nightly.Params(webhook_url="http://127.0.0.1:9/")) != []


class Post(socketserver.StreamRequestHandler):
    """As much of a mail server as smtplib needs."""

    heard: list[str] = []

    def handle(self) -> None:
        self.wfile.write(b"220 here\r\n")
        while line := self.rfile.readline().decode().strip():
            verb = line[:4].upper()
            if verb == "DATA":
                self.wfile.write(b"354 go on\r\n")
                lines = []
                while (text := self.rfile.readline().decode().rstrip("\r\n")) != ".":
                    lines.append(text)
                self.heard.append("\n".join(lines))
            self.wfile.write(b"221 bye\r\n" if verb == "QUIT" else b"250 ok\r\n")
            if verb == "QUIT":
                return


def test_a_mail_tells_of_the_night(workspace: Workspace, over: Night, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(notices, "DELAYS_S", ())
    Post.heard = []
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Post) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        options = nightly.Params(
            mail_to=("a@example.org",), smtp_host="127.0.0.1", smtp_port=server.server_address[1]
        )
        assert notices.send(over, workspace.root / "page.html", options) == []
        with_name = options.model_copy(update={"smtp_user": "me"})
        assert "DREAMLINE_SMTP_PASSWORD is not set" in notices.send(over, workspace.root / "p", with_name)[0]
        server.shutdown()
    (letter,) = Post.heard
    assert "Subject: Dreamline: 1 failed, 1 unchanged" in letter
    assert "bob failed: photos: none can be used" in letter


def test_a_password_is_not_sent_over_an_open_line(over: Night, monkeypatch: pytest.MonkeyPatch):
    class Open:
        def __init__(self, *_: Any, **__: Any) -> None: ...
        def __enter__(self) -> "Open":
            return self

        def __exit__(self, *_: Any) -> None: ...
        def ehlo(self) -> None: ...
        def has_extn(self, _: str) -> bool:
            return False

        def login(self, *_: Any) -> None:
            raise AssertionError("sent")

    monkeypatch.setattr(smtplib, "SMTP", Open)
    monkeypatch.setenv(notices.PASSWORD, "hidden")
    options = nightly.Params(mail_to=("a@example.org",), smtp_host="mail.example.org", smtp_user="me")
    assert "offers no TLS" in notices.send(over, Path("/page"), options)[0]
