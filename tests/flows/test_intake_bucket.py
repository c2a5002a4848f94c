"""Objects under s3://bucket/inbox/<subject>/, on a real S3 server; tricks in keys on a listing of our own."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from flows.intake.bucket import Bucket
from flows.intake.options import Params
from flows.intake.watching import Inbox
from flows.workspace import Workspace
from tests.flows import intake_drops
from tests.flows.intake_drops import NOW, Runs, names, photos, reasons

box, runs = intake_drops.box, intake_drops.runs  # fixtures

OPTIONS = Params(settle_s=0, bucket="s3://dreamline/inbox")


@pytest.fixture
def store(s3: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A client of the server, whose address the code under test takes from the usual environment."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3)
    client = boto3.session.Session().client("s3")  # the default one keeps the keys of another test
    yield client
    for item in client.list_objects_v2(Bucket="dreamline", Prefix="inbox/").get("Contents", []):
        client.delete_object(Bucket="dreamline", Key=item["Key"])


def put(store: Any, key: str, data: bytes = b"") -> None:
    store.put_object(Bucket="dreamline", Key=f"inbox/{key}", Body=data)


def put_drop(store: Any, tmp_path: Path, name: str, seed: int = 0, order: str = "class: dog\n") -> None:
    for photo in photos(tmp_path / f"{name}{seed}", seed).iterdir():
        put(store, f"{name}/{photo.name}", photo.read_bytes())
    put(store, f"{name}/subject.yaml", order.encode())


def test_objects_become_subjects_once_and_stay_where_they_are(
    workspace: Workspace, box: Path, runs: Runs, store: Any, tmp_path: Path
):
    put_drop(store, tmp_path, "rex")
    put(store, "loose.png", b"not in a folder")
    looks, inbox = Bucket(workspace, OPTIONS), Inbox(workspace, NOW)
    for _ in range(2):
        looks.look()
        inbox.look()
    assert workspace.subjects() == ["rex"]
    assert runs.posts == ["rex"]
    assert len(names(box / "done" / "rex")) == 1, "copied once"
    (workspace.state / "bucket.json").unlink()  # another look, another checkout: the same bytes
    Bucket(workspace, OPTIONS).look()
    inbox.look()
    assert runs.posts == ["rex"]
    assert len(names(box / "done" / "rex")) == 2
    store.delete_object(Bucket="dreamline", Key="inbox/rex/0.png")  # cleaning up is no new version
    looks.look()
    inbox.look()
    assert runs.posts == ["rex"]
    put_drop(store, tmp_path, "rex", seed=1)
    looks.look()
    inbox.look()
    assert runs.posts == ["rex", "rex"]
    assert names(box / ".staging") == []


def test_an_upload_that_goes_on_is_waited_for(
    workspace: Workspace, box: Path, runs: Runs, store: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    clock = [0.0]
    monkeypatch.setattr("flows.intake.settling.time.monotonic", lambda: clock[0])
    looks = Bucket(workspace, Params(settle_s=30, bucket="s3://dreamline/inbox"))
    files = sorted(photos(tmp_path / "p", count=3).iterdir())
    for photo in files:
        put(store, f"rex/{photo.name}", photo.read_bytes())
        looks.look()
        clock[0] += 29
        looks.look()
        assert names(box / ".taken") == []
    put(store, "rex/3.png.part", b"half of it")
    clock[0] += 100
    looks.look()
    looks.look()
    assert names(box / ".taken") == []
    store.delete_object(Bucket="dreamline", Key="inbox/rex/3.png.part")
    looks.look()
    clock[0] += 30
    looks.look()
    (taken,) = (box / ".taken").iterdir()
    assert names(taken / "rex") == [photo.name for photo in files]


class Listing:
    """A bucket whose listing says whatever a hostile one might."""

    def __init__(self, objects: dict[str, bytes], says: dict[str, Any] | None = None):
        self.objects, self.says, self.read = objects, says or {}, list[str]()
        self.modified = datetime(2026, 1, 1, tzinfo=UTC)

    def get_paginator(self, name: str) -> "Listing":
        return self

    def paginate(self, Bucket: str, Prefix: str) -> Iterator[dict[str, Any]]:
        for key, data in self.objects.items():
            item = {"Key": key, "Size": len(data), "ETag": f'"{hash(data)}"', "LastModified": self.modified}
            if key.endswith(".ready"):
                item["LastModified"] += timedelta(seconds=1)
            yield {"Contents": [item | self.says]}

    def get_object(self, Bucket: str, Key: str, IfMatch: str) -> dict[str, Any]:
        self.read.append(Key)
        if IfMatch == '"gone"':
            raise ClientError({"Error": {"Code": "PreconditionFailed"}}, "GetObject")
        return {"Body": self, "Key": Key}

    def iter_chunks(self, size: int) -> Iterator[bytes]:
        yield self.objects[self.read[-1]]


@pytest.mark.parametrize(
    "key",
    [
        "rex/../../../../evil.png",
        "rex//evil.png",
        "../evil/evil.png",
        "/etc/evil.png",
        "rex/a\\..\\evil.png",
        "rex/evil\n.png",
        "rex/" + "e" * 300 + ".png",
        "rex/" + "/".join("abcdefghij") + "/evil.png",
        "rex/./evil.png",
        "rex/evil\x00.png",
    ],
)
def test_keys_with_tricks_are_refused_before_a_byte_is_read(workspace: Workspace, box: Path, key: str):
    bucket = Listing({f"inbox/{key}": b"x", "inbox/good/0.png": b"x"})
    looks = Bucket(workspace, OPTIONS, bucket)
    looks.look()
    looks.look()
    assert bucket.read == ["inbox/good/0.png"]
    (reason,) = reasons(box).values()
    assert "no plain file name" in reason
    assert not list(workspace.root.parent.rglob("evil*"))
    assert len(names(box / ".taken")) == 1


def test_too_much_is_refused_by_the_listing(workspace: Workspace, box: Path):
    many = Listing({f"inbox/rex/{number}.png": b"x" for number in range(5)})
    Bucket(workspace, Params(settle_s=0, bucket="s3://dreamline/inbox", max_files=4), many).look()
    assert many.read == []
    assert "inbox.max_files" in reasons(box)["rex-1"]
    huge = Listing({"inbox/tom/0.png": b"x"}, {"Size": 3_000_000_000})
    Bucket(workspace, OPTIONS, huge).look()
    assert huge.read == []
    assert "inbox.max_mb" in reasons(box)["tom-1"]


def test_keys_that_were_replaced_are_taken_at_the_next_look(
    workspace: Workspace, box: Path, store: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    put_drop(store, tmp_path, "rex")
    looks = Bucket(workspace, OPTIONS)
    with monkeypatch.context() as old:
        old.setenv("AWS_ACCESS_KEY_ID", "a-key-that-was-taken-back")
        with pytest.raises(ClientError):
            looks.look()
    looks.look()
    looks.look()
    assert len(names(box / ".taken")) == 1


@pytest.mark.parametrize("says", [{"Size": 3}, {"Size": 30}, {"ETag": '"gone"'}])
def test_an_object_that_is_not_what_the_listing_said_waits(workspace: Workspace, box: Path, says: dict):
    bucket = Listing({"inbox/rex/0.png": b"twelve bytes"}, says)
    looks = Bucket(workspace, OPTIONS, bucket)
    looks.look()
    assert names(box / ".taken") == []
    bucket.says = {}
    looks.look()
    assert len(names(box / ".taken")) == 1


def test_a_marker_object_says_complete(workspace: Workspace, box: Path):
    patient = Params(settle_s=10_000, bucket="s3://dreamline/inbox")
    bucket = Listing({"inbox/rex/0.png": b"x"})
    Bucket(workspace, patient, bucket).look()
    assert names(box / ".taken") == []
    bucket.objects["inbox/rex.ready"] = b""
    Bucket(workspace, patient, bucket).look()
    assert len(names(box / ".taken")) == 1


def test_a_storage_that_is_away_is_an_error_of_this_look(
    workspace: Workspace, box: Path, monkeypatch: pytest.MonkeyPatch
):
    for key, value in {
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
        "AWS_ACCESS_KEY_ID": "user",
        "AWS_SECRET_ACCESS_KEY": "a-secret-that-nobody-repeats",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(key, value)
    monkeypatch.setattr("flows.intake.bucket.ATTEMPTS", 1)
    with pytest.raises(EndpointConnectionError) as error:
        Bucket(workspace, OPTIONS).look()
    assert "a-secret-that" not in str(error.value)
