"""New folders in data/inbox/: photos plus an order.yaml that says at least `class: dog`."""

import hashlib
import time
from pathlib import Path

from flows import adding
from flows.workspace import SubjectFolder, Workspace
from tasks.shared import params
from tasks.shared.errors import UserError
from tasks.shared.subject import slug_of

ORDER = "order.yaml"
KEYS = ("class", "name", "identifier", "method", "kind", "consent")


def settled(workspace: Workspace, settle_s: float) -> list[tuple[str, str]]:
    """Folders that have an order and have not changed for a while, each with a digest of its content."""
    found = []
    for order in sorted((workspace.root / "data" / "inbox").glob(f"*/{ORDER}")):
        files = sorted(path for path in order.parent.rglob("*") if path.is_file())
        changed = max(path.stat().st_mtime for path in [order.parent, *files])
        if time.time() - changed >= settle_s:
            found.append((order.parent.name, digest(order.parent, files)))
    return found


def digest(folder: Path, files: list[Path]) -> str:
    """Digest of names and bytes: the same photos sent again are the same order."""
    total = hashlib.sha256()
    for path in files:
        total.update(
            f"{path.relative_to(folder).as_posix()}\0{path.stat().st_size}\0".encode() + path.read_bytes()
        )
    return total.hexdigest()[:32]


def accept(workspace: Workspace, folder_name: str) -> SubjectFolder:
    """Make the subject that an inbox folder orders.

    Raises:
        UserError: the order or the photos cannot be used.
    """
    folder = workspace.root / "data" / "inbox" / folder_name
    if folder.parent != workspace.root / "data" / "inbox":
        raise UserError(f"{folder_name}: no folder of the inbox")
    order = params.read_yaml(folder / ORDER)
    if unknown := set(order) - set(KEYS):
        raise UserError(
            f"{folder / ORDER}: unknown key {sorted(unknown)[0]!r}; known keys: {', '.join(KEYS)}"
        )
    consent = folder / str(order.pop("consent")) if order.get("consent") else None
    name = str(order.pop("name", None) or slug_of(folder_name))
    photos = [
        path for path in sorted(folder.iterdir()) if path.is_file() and path.name != ORDER and path != consent
    ]
    return adding.add(workspace, photos, name=name, consent=consent, **order).subject
