"""Names that strangers gave their files: never paths, shown only when cleaned, sorted as people count."""

import re
import unicodedata

LONGEST = 80  # letters shown of a name
_JUNK = {"thumbs.db", "desktop.ini", "ehthumbs.db", "__macosx"}


def parts(name: str) -> list[str]:
    """Folders and file of a name in a folder or an archive, with the separators of all systems."""
    return [part for part in re.split(r"[/\\]", name) if part]


def is_hidden(name: str) -> bool:
    """Hidden files and folders, and what macOS and Windows leave beside photos. `..` is no hidden folder."""
    return any((part.startswith(".") and part.strip(".")) or part.lower() in _JUNK for part in parts(name))


def shown(name: str) -> str:
    """The name for a person to read: no `..`, control or direction marks, no leading dash, not too long."""
    kept = [part for part in parts(name) if part.strip(". ")]
    text = unicodedata.normalize("NFC", "/".join(kept).encode("utf-8", "replace").decode("utf-8"))
    text = "".join("?" if unicodedata.category(letter)[0] == "C" else letter for letter in text).strip()
    if text.startswith("-"):
        text = "_" + text[1:]
    if len(text) > LONGEST:
        text = f"{text[: LONGEST // 2 - 1]}…{text[-LONGEST // 2 :]}"
    return text or "(no name)"


def natural(name: str) -> tuple:
    """Sort key: photo2 before photo10, letters without regard to case."""
    pieces = re.split(r"([0-9]+)", name.casefold())
    numbers = [piece.lstrip("0") for piece in pieces]
    keys = [
        (1, "", len(number), number) if at % 2 else (0, pieces[at], 0, "")
        for at, number in enumerate(numbers)
    ]
    return tuple(keys), name
