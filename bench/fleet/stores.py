"""What a fleet shares, for benches that break it: a bare git repository and an S3 server."""

from __future__ import annotations

import subprocess
from pathlib import Path

from ruamel.yaml import YAML

from flows.workspace import Workspace
from tests.flows.s3_server import S3Server, use


def share(workspace: Workspace, s3: S3Server, hub: Path) -> None:
    """Let a project with accepted subjects hand on to a repository of its own and to S3."""
    from flows.store import remote
    from tests.flows.clones import run_git

    yaml = YAML()
    tree = yaml.load(workspace.params_file)
    tree["sharing"] = {"git_remote": "origin"}
    yaml.dump(tree, workspace.params_file)
    use(workspace.root, s3.url)
    ignored = workspace.root / ".git" / "info" / "exclude"
    ignored.write_text("serve.log\n/data/miniature\n/data/judges\n/data/segmenters\n")
    remote.transfer(workspace, "push", remote.targets(workspace, workspace.subjects()), deadline_s=600)
    run_git(workspace.root, "add", "-A")
    run_git(workspace.root, "commit", "-qm", "a fleet")
    run_git(workspace.root, "clone", "-q", "--bare", ".", str(hub))
    run_git(workspace.root, "remote", "add", "origin", str(hub))


def fetched(hub: Path, s3: S3Server, root: Path) -> Workspace:
    """What another machine gets: a clone, and all the bytes that it names."""
    from flows.store import remote
    from tests.flows.clones import run_git

    run_git(hub.parent, "clone", "-q", str(hub), str(root))
    workspace = Workspace(root)
    use(workspace.root, s3.url)
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
