"""One run per key at a real API, and no secret in anything that a drop leaves behind."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows import personalize, posting
from flows.intake.watching import Inbox
from flows.workspace import SubjectFolder, Workspace
from tests.flows import intake_drops
from tests.flows.intake_drops import NOW, drop, reasons

box = intake_drops.box

SECRETS = {
    "AWS_SECRET_ACCESS_KEY": "aws-secret-3f9a51",
    "AWS_SESSION_TOKEN": "aws-session-77b1",
    "DREAMLINE_WEBHOOK_TOKEN": "webhook-token-5e2c0d91",
}


@pytest.fixture
def deployed(api: str) -> Iterator[None]:
    """The deployment that `serve` offers."""
    with personalize.settings(api):
        personalize.personalize.to_deployment("personalize").apply()
        yield


def test_repetitions_are_one_run_and_another_attempt_is_another(rex: SubjectFolder, deployed: None):
    rex.photos_file.write_text(f"# {uuid.uuid4()}\n")  # the API lives longer than the test
    first = posting.post(rex.workspace, "rex")
    assert posting.post(rex.workspace, "rex") == first
    second = posting.post(rex.workspace, "rex", attempt=1)
    assert second != first
    rex.subject_file.write_text(rex.subject_file.read_text() + "# changed\n")
    assert posting.post(rex.workspace, "rex") not in (first, second)


def test_secrets_are_in_nothing_that_a_drop_leaves_behind(
    workspace: Workspace,
    box: Path,
    deployed: None,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
):
    from prefect.client.orchestration import get_client

    for key, value in SECRETS.items():
        monkeypatch.setenv(key, value)
    caplog.set_level("DEBUG")
    drop(box, "rex")
    drop(box, "bad", order="clas: dog\n")
    Inbox(workspace, NOW).look()
    personalize.run(workspace, "rex")
    assert (workspace.subject("rex").folder / "report" / "index.html").exists()
    assert "bad-1" in reasons(box)
    said = capfd.readouterr()
    written = {
        str(path): path.read_bytes()
        for path in workspace.root.rglob("*")
        if path.is_file() and ".git" not in path.parts
    }
    assert any(path.endswith("rex/dvc.lock") for path in written)
    assert any(path.endswith("manifest.json") for path in written)
    with get_client(sync_client=True) as client:
        runs = "".join(run.model_dump_json() for run in client.read_flow_runs(limit=200))
    written |= {"logs": (caplog.text + said.out + said.err).encode(), "Prefect": runs.encode()}
    for where, data in written.items():
        for key, value in SECRETS.items():
            assert value.encode() not in data, f"{key} in {where}"
