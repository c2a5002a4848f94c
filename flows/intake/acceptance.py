"""From a complete drop to a version of a subject and a posted run; every step may be repeated."""

import errno
import hashlib
import logging
import secrets
from dataclasses import dataclass, replace
from pathlib import Path

from flows import adding, posting
from flows.intake import drops, order, receipts, settling
from flows.intake.drops import Taken
from flows.intake.options import Params
from flows.intake.order import Order, Rejected
from flows.intake.receipts import Receipt
from flows.lock import Busy
from flows.workspace import Workspace
from tasks.photos import archive, names
from tasks.shared import params
from tasks.shared.errors import UserError
from tasks.shared.subject import slug_of

log = logging.getLogger(__name__)

MOST_TRIES = 10
"""After which a drop that ends its process every time is moved aside."""
DEEPEST = 8  # folders below a drop


class Later(Exception):
    """Not the drop's fault: it stays where it is and the next look tries again. The message says what is missing."""


class Unposted(Later):
    """The subject's version is there, the API that should run it is not."""


@dataclass(frozen=True)
class Offer:
    """A drop that was looked through."""

    name: str
    order: Order
    sources: list[Path]
    consent: Path | None
    content: str  # digest of the bytes and of the order


def accept(workspace: Workspace, taken: Taken, options: Params, api_is_there: bool = True) -> str:
    """Bring a drop to its end: a version of its subject, one posted run, and the drop in done/.

    Args:
        api_is_there: False after a post that failed a moment ago; waiting for each would take long.
    Returns:
        Name of the subject.
    Raises:
        Rejected: the drop cannot be used; nothing has changed.
        Later: it can, but not now.
        UserError: something is wrong with the project, not with the drop.
    """
    if taken.tries >= MOST_TRIES:
        raise Rejected(
            f"reading it ended the program {MOST_TRIES} times; pack the photos anew, as JPEG or PNG"
        )
    taken.begin()
    offer = look_through(taken, options)
    receipt = _receipt(workspace, offer, taken, options)
    if receipt.run is None:
        if not api_is_there:
            raise Unposted(f"{offer.name}: no run could be asked for, the API is away")
        receipt = _post(workspace, offer.name, receipt)
    drops.finish(workspace, taken, offer.name)
    return offer.name


def subject_of(taken: Taken) -> str:
    """Name of the subject that a drop is for; "" where it cannot be told."""
    try:
        asked, _ = order.read(taken.drop, taken.folder)
        return asked.name or slug_of(_stem(taken.drop))
    except (Rejected, UserError, OSError):
        return ""


def look_through(taken: Taken, options: Params) -> Offer:
    """Read what a drop holds and asks for.

    Raises:
        Rejected: it holds what no drop may hold, or asks for what there is not.
    """
    drop = taken.drop
    seen = settling.scan(drop, options.max_files)
    _check_limits(seen, options)
    if drop.is_file() and not archive.is_archive(drop):
        raise Rejected(
            f"{names.shown(drop.name)}: neither a folder nor a zip; put photos into a folder named after the subject"
        )
    asked, consent = order.read(drop, taken.folder)
    try:
        name = asked.name or slug_of(_stem(drop))
    except UserError as error:
        raise Rejected(
            f"{names.shown(drop.name)}: no letter or digit to name the subject after; rename it, or write `name:` "
            "into its subject.yaml"
        ) from error
    sources = [drop]
    if drop.is_dir():
        photos = settling.photos_in(seen.files)
        if not photos:
            raise Rejected("no photos in it; put 3 to 10 JPEG or PNG photos there")
        if len(photos) == 1 and archive.is_archive(drop / photos[0]):
            sources = [drop / photos[0]]
    return Offer(name, asked, sources, consent, _digest(drop, seen, asked))


def _check_limits(seen: settling.Scan, options: Params) -> None:
    if seen.odd:
        name, what = next(iter(seen.odd.items()))
        raise Rejected(f"{names.shown(name)}: {what}; put the photos themselves into the drop")
    if len(seen.files) > options.max_files:
        raise Rejected(f"more than {options.max_files} files (inbox.max_files); give one subject's photos")
    if seen.size_bytes > options.max_mb * 1e6:
        raise Rejected(f"{seen.size_bytes / 1e6:,.0f} MB are more than inbox.max_mb, {options.max_mb:g}")
    if any(name.count("/") > DEEPEST for name in seen.files):
        raise Rejected(f"folders within folders, more than {DEEPEST} deep; put the photos into one")


def _stem(drop: Path) -> str:
    return drop.name if drop.is_dir() else drop.stem


def _digest(drop: Path, seen: settling.Scan, asked: Order) -> str:
    """Digest of a drop's bytes and of what its settings mean; a comment in them changes nothing."""
    told = hashlib.sha256(asked.model_dump_json().encode())
    for name in sorted(seen.files):
        if drop.is_dir() and name in order.FILES:
            continue
        try:
            with open(drop / name if drop.is_dir() else drop, "rb") as file:
                inner = hashlib.file_digest(file, "sha256").digest()
        except OSError as error:
            raise Rejected(f"{names.shown(name)}: cannot be read ({error.strerror})") from error
        told.update((name if drop.is_dir() else "").encode("utf-8", "surrogateescape") + b"\0" + inner)
    return told.hexdigest()[:32]


def _receipt(workspace: Workspace, offer: Offer, taken: Taken, options: Params) -> Receipt:
    """Make the drop a version of its subject, unless it is the present one; the receipt is on the disk then."""
    folder = workspace.subjects_folder / offer.name
    known = offer.name in workspace.subjects()
    before = receipts.read(folder) if known else None
    state = _state(workspace, offer.name) if known else None
    if before and before.content == offer.content and state and before.photos == state[0]:
        return before
    if known:
        _ = workspace.subject(offer.name).identity  # what is wrong with the subject is not the drop's fault
    asked = offer.order
    class_word = asked.class_word or (None if known else options.default_class)
    if class_word is None and not known:
        raise Rejected(
            f"data/subjects/{offer.name}: no such subject yet, and the drop does not say what it is; write "
            "`class: dog`, or what it is in one word, into a file subject.yaml beside the photos"
        )
    _check_class(workspace, class_word)
    try:
        added = adding.add(
            workspace,
            offer.sources,
            name=offer.name,
            consent=offer.consent,
            prompts=asked.prompts,
            **{
                "class": class_word,
                "identifier": asked.identifier,
                "method": asked.method,
                "kind": asked.kind,
            },
        )
    except Busy as error:
        raise Later(str(error)) from error
    except UserError as error:
        if _is_the_machines(error):
            raise Later(str(error)) from error
        raise Rejected(str(error).replace(f"{taken.folder}/", "")) from error
    now = _state(workspace, offer.name)
    if before and state == now and before.photos == now[0]:
        receipt = replace(before, content=offer.content)  # packed in another way, the same to every stage
    else:
        token = secrets.token_hex(8)
        receipt = Receipt(offer.content, now[0], token, posting.key(added.subject, token=token))
    receipts.write(folder, receipt)
    return receipt


def _post(workspace: Workspace, name: str, receipt: Receipt) -> Receipt:
    try:
        run = str(posting.post(workspace, name, under=receipt.key))
    except Exception as error:
        raise Unposted(f"{name}: no run could be asked for ({type(error).__name__}: {error})") from error
    receipt = replace(receipt, run=run)
    receipts.write(workspace.subjects_folder / name, receipt)
    return receipt


def _state(workspace: Workspace, name: str) -> tuple[str | None, bytes]:
    """What decides whether a run would find anything to do."""
    subject = workspace.subject(name)
    return receipts.photos_of(subject), subject.subject_file.read_bytes()


def _check_class(workspace: Workspace, class_word: str | None) -> None:
    """Refuse "Dog" where the fleet knows a "dog", before a subject is made of it."""
    if class_word is None:
        return
    file = workspace.prior(slug_of(class_word)) / "class.yaml"
    if file.exists() and (known := params.read_yaml(file).get("class")) != class_word:
        raise Rejected(f"subject.yaml: class: {class_word!r} is called {known!r} here; write it alike")


_MACHINE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM)


def _is_the_machines(error: BaseException) -> bool:
    """A full disk or a DVC that is busy is no reason to reject anybody's photos."""
    from dvc.exceptions import DvcException

    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, DvcException) or (isinstance(cause, OSError) and cause.errno in _MACHINE):
            return True
        if isinstance(cause, PermissionError):
            return True
        cause = cause.__cause__
    return False
