"""What stands between a sampler and the disk: guards object to pictures, mark them, say whence they come.

An option is a module with a class `Guard`. The gate (`output.release`) asks every file of this folder, in the
order of `Guard.order`, so a new guard is a new file: a watermark fills in `mark`, a signed C2PA manifest
`seal`, and no sampler changes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from tasks.shared.subject import Subject

Word = Literal["released", "flagged", "refused"]


@dataclass(frozen=True)
class Picture:
    """A drawn picture that wants to become a file."""

    pixels: np.ndarray  # [h w 3] uint8 sRGB, or floating in [0, 1] as a decoder gives it
    prompt: str
    seed: int | None  # None: a sheet of pictures with several seeds
    path: Path  # the PNG to write


@dataclass(frozen=True)
class Context:
    """For whom and by what the pictures were drawn; the same for all pictures of a call."""

    subject: Subject | None = None  # None: nobody's, such as class pictures
    folder: Path | None = None  # the subject's folder, where its consent record lies
    purpose: str = "sample"  # what a consent record must allow: ingest, train, sample
    facts: Mapping[str, Any] = field(default_factory=dict)  # for the provenance: base, method, sampler

    @property
    def kind(self) -> str | None:
        """The subject's kind, or None."""
        return self.subject.kind if self.subject else None


@dataclass(frozen=True)
class Objection:
    """What is wrong with a picture or its prompt."""

    reason: str
    refuse: bool  # True: the picture is not written; False: it is, and its verdict says why


@dataclass(frozen=True)
class Verdict:
    """The gate's answer for one picture."""

    objections: tuple[Objection, ...] = ()

    @property
    def word(self) -> Word:
        """`refused`: no file; `flagged`: written, with reservations; `released`: all well."""
        if any(objection.refuse for objection in self.objections):
            return "refused"
        return "flagged" if self.objections else "released"

    @property
    def reasons(self) -> list[str]:
        """Why not plainly released; empty if it was."""
        return [objection.reason for objection in self.objections]


class Guard:
    """Contract with empty defaults; an option fills in what it is for. Guards hold no state between calls."""

    order: ClassVar[int] = 50  # low ones first; a mark before the record of it, a seal last

    def admit(self, context: Context) -> None:
        """Look at the whole call before any picture.

        Raises:
            UserError: nothing may be released for this subject.
        """

    def review(self, picture: Picture, context: Context) -> list[Objection]:
        """Object to a picture or to its prompt."""
        return []

    def mark(self, pixels: np.ndarray, picture: Picture, context: Context) -> np.ndarray:
        """Change the pixels that will be written, such as by a watermark. [h w 3] uint8 in and out"""
        return pixels

    def record(self, picture: Picture, context: Context) -> dict[str, Any]:
        """Facts for the provenance in the file; keys of a later guard replace those of an earlier one."""
        return {}

    def seal(self, path: Path, picture: Picture, context: Context) -> None:
        """Finish the written file, such as by a signed manifest."""
