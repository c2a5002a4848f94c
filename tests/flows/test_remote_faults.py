"""A real S3 server behind a proxy that misbehaves: refused or retried in time, nothing lost, the next push completes."""

import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows import execution
from flows.store import remote, staleness
from flows.workspace import SubjectFolder, Workspace
from tasks.shared.errors import UserError
from tests.flows import s3_proxy, s3_server
from tests.flows.s3_proxy import Fault, Proxy

from .conftest import new_subject, new_workspace


@pytest.fixture(scope="module")
def rex(tmp_path_factory: pytest.TempPathFactory) -> SubjectFolder:
    """A finished subject; what a test does to the remote must not change it."""
    subject = new_subject(new_workspace(tmp_path_factory.mktemp("faults") / "project"), "rex")
    execution.bring_up_to_date(subject)
    return subject


@pytest.fixture
def bad(s3: str) -> Iterator[Proxy]:
    with s3_proxy.proxy(s3) as proxy:
        yield proxy


def local(workspace: Workspace) -> dict[str, bytes]:
    """All that is ours: data, and the cache."""
    roots = [workspace.root / "data", workspace.root / ".dvc" / "cache" / "files"]
    return {
        str(path.relative_to(workspace.root)): path.read_bytes()
        for root in roots
        for path in root.rglob("*")
        if path.is_file() and ".work" not in path.parts
    }


def at_server(bucket: Path) -> dict[str, str]:
    """Objects at the server by name, with the digest of their bytes."""
    files = [path for path in bucket.rglob("*") if path.is_file() and "md5" in path.parts]
    return {path.parent.name + path.name: hashlib.md5(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.parametrize(
    ("fault", "words", "deadline_s"),
    [
        (s3_proxy.sometimes_503, "", 240),
        (s3_proxy.sometimes_reset, "", 240),
        (s3_proxy.sometimes_flips_what_is_put, "", 240),
        (s3_proxy.slow, "", 240),
        (s3_proxy.hangs, "did not finish within", 7),
        (s3_proxy.full, "failed to transfer.*InsufficientStorage", 240),
        (s3_proxy.expired, "Forbidden|ExpiredToken", 240),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_push_is_done_or_refused_and_the_next_one_completes(
    rex: SubjectFolder,
    bad: Proxy,
    fault: Fault,
    words: str,
    deadline_s: float,
    tmp_path_factory: pytest.TempPathFactory,
):
    workspace, name = rex.workspace, fault.__name__
    s3_server.use(workspace.root, bad.url, name)
    before, targets = local(workspace), remote.targets(workspace, ["rex"])
    bad.fault = fault
    if not words:
        remote.transfer(workspace, "push", targets, deadline_s)
    else:
        with pytest.raises(UserError, match=words):
            remote.transfer(workspace, "push", targets, deadline_s)
        assert local(workspace) == before
        bad.fault = s3_proxy.none
        remote.transfer(workspace, "push", targets, deadline_s=240)
    (bucket,) = tmp_path_factory.getbasetemp().glob(f"s3[0-9]*/dreamline/{name}")
    there = at_server(bucket)
    assert {name.removesuffix(".dir"): digest for name, digest in there.items()} == {
        digest: digest for digest in there.values()
    }
    ours = {path for path in before if path.startswith(".dvc")}
    assert set(there) == {"".join(Path(path).parts[-2:]) for path in ours}
    assert local(workspace) == before


def test_what_comes_back_wrong_is_refused_and_taken_again(rex: SubjectFolder, bad: Proxy):
    workspace = rex.workspace
    s3_server.use(workspace.root, bad.url, "got")
    before, targets = local(workspace), remote.targets(workspace, ["rex"])
    remote.transfer(workspace, "push", targets, deadline_s=240)
    shutil.rmtree(workspace.root / ".dvc" / "cache" / "files")
    shutil.rmtree(rex.folder / "sample")
    bad.fault = s3_proxy.flips_what_is_got
    with pytest.raises(UserError, match="pull: "):
        remote.transfer(workspace, "pull", targets, deadline_s=60, force=True)
    kept = [path for path in (workspace.root / ".dvc" / "cache" / "files").rglob("*") if path.is_file()]
    wrong = [
        path for path in kept if hashlib.md5(path.read_bytes()).hexdigest() != (path.parent.name + path.stem)
    ]
    assert wrong == []
    bad.fault = s3_proxy.none
    remote.transfer(workspace, "pull", targets, deadline_s=240, force=True)
    assert local(workspace) == before
    assert staleness.forecasts(workspace, ["rex"])[0].fresh
