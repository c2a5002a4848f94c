"""What a drop asks for: its subject.yaml, written by a stranger; every key is optional."""

from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from tasks.photos import archive, names
from tasks.photos.decode import Unreadable
from tasks.shared import params, plugins, prompts
from tasks.shared.errors import UserError
from tasks.shared.subject import Slug, Words

FILES = ("subject.yaml", "order.yaml")
MOST_BYTES = 20_000
"""Of a settings file in a drop: 100 long prompts. Larger ones cost a YAML parser seconds."""


class Rejected(Exception):
    """The drop cannot be used; the message tells its owner why and what to do."""


class Order(params.Params):
    """The keys that a drop's subject.yaml may have."""

    name: Slug | None = Field(default=None, description="of the subject; default: the drop's own name")
    class_word: Words | None = Field(default=None, alias="class", description="what it is: dog, vase")
    identifier: Words | None = Field(default=None, description="rare token that stands for the subject")
    method: Slug | None = Field(default=None, description="a file of tasks/methods/")
    kind: Literal["object", "animal", "style", "person"] | None = Field(
        default=None, description="a person needs a consent record"
    )
    prompts: tuple[str, ...] | None = Field(
        default=None, min_length=1, max_length=100, description="what is drawn; {subject} and {class}"
    )
    consent: str | None = Field(
        default=None,
        pattern=r"^\w[\w .\-]{0,99}\.ya?ml$",
        description="name of the consent record, a file beside subject.yaml",
    )


def checked(values: dict[str, Any], where: str) -> Order:
    """Validate what somebody wrote.

    Raises:
        Rejected: in one line.
    """
    try:
        order = params.validate(Order, values, where)
        for prompt in order.prompts or ():
            if len(prompt) > 500 or not prompt.isprintable():
                raise UserError(f"{where}: prompts: one line of 500 letters at most, got {prompt[:40]!r}...")
            prompts.filled(prompt, {"subject": "sks dog", "class": "dog"}, f"{where}: prompts")
    except UserError as error:
        raise Rejected(str(error)) from error
    if order.method is not None and order.method not in plugins.names("methods"):
        known = ", ".join(plugins.names("methods"))
        raise Rejected(f"{where}: method: {order.method!r} is none; there are: {known}")
    return order


def read(drop: Path, copy_to: Path) -> tuple[Order, Path | None]:
    """The order of a folder or zip and its consent record; without a subject.yaml all keys have their defaults.

    Args:
        copy_to: folder for a consent record that comes out of a zip.
    Raises:
        Rejected: it is not valid.
    """
    files = _in_folder(drop) if drop.is_dir() else _in_zip(drop)
    found = next((name for name in FILES if name in files), None)
    if found is None:
        return Order(), None
    try:
        order = checked(params.parse_yaml(files[found].decode("utf-8-sig"), found), found)
    except (UserError, UnicodeDecodeError) as error:
        raise Rejected(str(error) if isinstance(error, UserError) else f"{found}: not UTF-8 text") from error
    if order.consent is None:
        return order, None
    if order.consent not in files:
        raise Rejected(f"{found}: consent: there is no {order.consent!r} beside it, or it is over 20 kB")
    consent = copy_to / ".consent.yaml"
    consent.write_bytes(files[order.consent])
    return order, consent


def _in_folder(drop: Path) -> dict[str, bytes]:
    """The settings files at the top of a folder."""
    found = {}
    for path in drop.iterdir():
        if path.suffix.lower() in (".yaml", ".yml") and path.is_file() and not path.is_symlink():
            with open(path, "rb") as file:
                found[path.name] = _bounded(path.name, file.read(MOST_BYTES + 1))
    return {name: data for name, data in found.items() if data is not None}


def _in_zip(path: Path) -> dict[str, bytes]:
    """The settings files at the top of a zip, or in the one folder that was packed."""
    found: dict[str, bytes] = {}
    try:
        with archive.opened(path, MOST_BYTES, 50 * MOST_BYTES) as entries:
            for name, read_entry in sorted(entries, key=lambda entry: -len(names.parts(entry[0]))):
                parts = names.parts(name)
                if len(parts) > 2 or not name.lower().endswith((".yaml", ".yml")):
                    continue
                try:
                    found[parts[-1]] = read_entry()
                except Unreadable as error:
                    _bounded(parts[-1], None)
                    raise Rejected(f"{names.shown(name)}: {error}") from error
    except UserError as error:
        raise Rejected(str(error).replace(str(path), path.name)) from error
    return found


def _bounded(name: str, data: bytes | None) -> bytes | None:
    if data is None or len(data) > MOST_BYTES:
        if name in FILES:
            raise Rejected(f"{name}: larger than {MOST_BYTES // 1000} kB, or not readable; write it shorter")
        return None
    return data
