"""What a fleet shares, for benches that break it: a bare git repository, and an S3 server that is killed and started again."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

from ruamel.yaml import YAML

from flows.workspace import Workspace

KEYS = {
    "AWS_ACCESS_KEY_ID": "user",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}


class S3:
    """rclone's S3 server over a folder; always at the same port."""

    def __init__(self, folder: Path):
        (folder / "dreamline").mkdir(parents=True)
        self.folder = folder
        self.process: subprocess.Popen[bytes] | None = None
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        os.environ |= KEYS
        self.start()

    @property
    def number(self) -> int | None:
        """Process number; None while it is dead."""
        return self.process.pid if self.process and self.process.poll() is None else None

    def start(self) -> None:
        """And wait until it answers."""
        rclone = Path(sys.executable).parent / "rclone"
        self.process = subprocess.Popen(
            [
                rclone,
                "serve",
                "s3",
                self.folder,
                "--addr",
                f"127.0.0.1:{self.port}",
                "--auth-key",
                "user,secret",
            ],
            stderr=subprocess.DEVNULL,
            env=os.environ | {"RCLONE_CONFIG": str(self.folder / "rclone.conf")},
        )
        while self.process.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            time.sleep(0.05)
        raise SystemExit("the S3 server did not start")

    def kill(self) -> None:
        """kill -9."""
        if self.process:
            self.process.kill()
            self.process.wait()


def share(workspace: Workspace, s3: S3, hub: Path) -> None:
    """Let a project with accepted subjects hand on to a repository of its own and to S3."""
    from flows.store import remote
    from tests.flows.clones import run_git

    yaml = YAML()
    tree = yaml.load(workspace.params_file)
    tree["sharing"] = {"git_remote": "origin"}
    yaml.dump(tree, workspace.params_file)
    use(workspace, s3)
    ignored = workspace.root / ".git" / "info" / "exclude"
    ignored.write_text("serve.log\n/data/miniature\n/data/judges\n/data/segmenters\n")
    remote.transfer(workspace, "push", remote.targets(workspace, workspace.subjects()), deadline_s=600)
    run_git(workspace.root, "add", "-A")
    run_git(workspace.root, "commit", "-qm", "a fleet")
    run_git(workspace.root, "clone", "-q", "--bare", ".", str(hub))
    run_git(workspace.root, "remote", "add", "origin", str(hub))


def use(workspace: Workspace, s3: S3) -> None:
    """Make the server the project's remote, on this machine."""
    (workspace.root / ".dvc" / "config.local").write_text(
        "[core]\n    remote = s3\n['remote \"s3\"']\n    url = s3://dreamline/store\n"
        f"    endpointurl = http://127.0.0.1:{s3.port}\n"
    )


def fetched(hub: Path, s3: S3, root: Path) -> Workspace:
    """What another machine gets: a clone, and all the bytes that it names."""
    from flows.store import remote
    from tests.flows.clones import run_git

    run_git(hub.parent, "clone", "-q", str(hub), str(root))
    workspace = Workspace(root)
    use(workspace, s3)
    remote.transfer(workspace, "pull", remote.targets(workspace, workspace.subjects()), deadline_s=600)
    return workspace


def faults_of(hub: Path) -> list[str]:
    """What is wrong with the repository: damage, or a history that is no line."""
    from tests.flows.clones import run_git

    found = []
    if subprocess.run(["git", "fsck", "--strict"], cwd=hub, capture_output=True).returncode:
        found.append("git fsck complains")
    if run_git(hub, "log", "--merges", "--oneline", "main"):
        found.append("the history has merges")
    return found
