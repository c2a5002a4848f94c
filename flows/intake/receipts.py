"""What was accepted last for a subject: `accepted.json` in its folder. It makes the same bytes again be nothing."""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from flows.workspace import SubjectFolder
from tasks.shared.folders import staged_file

FILE = "accepted.json"


@dataclass(frozen=True)
class Receipt:
    """One acceptance.

    Attributes:
        content: digest of the drop.
        photos: digest of photos.dvc as the drop left it.
        token: new with every content that is accepted.
        key: under which its run is posted; noted before it is, so that posting again is nothing.
        run: id of that run; None until the API has answered.
    """

    content: str
    photos: str | None
    token: str
    key: str
    run: str | None = None


def read(folder: Path) -> Receipt | None:
    """The receipt in a subject's folder; None if nothing was accepted or the file is damaged."""
    try:
        return Receipt(**json.loads((folder / FILE).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def write(folder: Path, receipt: Receipt) -> None:
    """Replace the receipt, all of it or nothing."""
    with staged_file(folder / FILE) as fresh:
        fresh.write_text(json.dumps(asdict(receipt), indent=1) + "\n", encoding="utf-8")


def photos_of(subject: SubjectFolder) -> str | None:
    """Digest of what is recorded as the subject's photos; None before anything is."""
    try:
        return hashlib.sha256(subject.photos_file.read_bytes()).hexdigest()[:32]
    except FileNotFoundError:
        return None
