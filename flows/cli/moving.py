"""push and pull."""

from rich.console import Console

from flows import workspace as workspaces
from flows.store import remote

notes = Console(stderr=True, highlight=False, soft_wrap=True)


def transfer(verb: str, names: list[str], deadline_s: float, remote_name: str | None) -> None:
    """Move what is recorded of some or all subjects."""
    workspace = workspaces.find()
    names = names or workspace.subjects()
    wanted = remote.targets(workspace, names)
    with notes.status(f"{verb}: {', '.join(names[:5])}{' ...' if len(names) > 5 else ''}"):
        summary = remote.transfer(workspace, verb, wanted, deadline_s, remote_name)
    print(f"{verb}: {len(names)} subjects: {summary}")
