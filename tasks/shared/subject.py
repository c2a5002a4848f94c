"""Who is personalised: the identity part of a subject's `subject.yaml`."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from tasks.shared import params
from tasks.shared.errors import UserError

OVERRIDES = ("ingest", "segment", "fine_tune", "methods", "sample", "evaluate", "report")
"""Blocks of subject.yaml that override the section of params.yaml with the same name."""

_SLUG = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_WORDS = re.compile(r"[^\W_][\w '\-]{0,62}")


def is_slug(name: str) -> bool:
    """Whether `name` is a safe folder name, as `checked_slug` wants it."""
    return bool(_SLUG.fullmatch(name))


def checked_slug(name: str) -> str:
    """Return `name` if it is a safe folder name everywhere: a-z, 0-9, `_`, `-`, 63 at most, no dash first."""
    if not is_slug(name):
        raise ValueError(
            f"{name!r} is no slug: use a-z, 0-9, '_' and '-', begin with a letter or digit, 63 at most"
        )
    return name


def _checked_words(text: str) -> str:
    if not _WORDS.fullmatch(text):
        raise ValueError(f"{text!r} must be a short word or phrase of letters, digits, spaces and dashes")
    return text


Slug = Annotated[str, AfterValidator(checked_slug)]
Words = Annotated[str, AfterValidator(_checked_words)]


def slug_of(text: str) -> str:
    """Make a slug from free text such as a class word: "Stuffed Animal" -> "stuffed_animal".

    Raises:
        UserError: nothing usable is left.
    """
    slug = re.sub(r"[^a-z0-9_-]+", "_", text.lower()).strip("_-")[:63]
    if not slug:
        raise UserError(f"{text!r}: no letter or digit to make a folder name from; give a name with --name")
    return slug


class Subject(params.Params):
    """Identity of a subject; what else stands in subject.yaml are override blocks."""

    name: Slug = Field(description="folder name of the subject")
    class_word: Words = Field(
        alias="class", description="what the subject is, as the base model knows it: dog, vase"
    )
    class_folder: Slug = Field(description="slug of the class word: the folder of the shared class prior")
    identifier: Words = Field(default="sks", description="rare token that stands for the subject in prompts")
    method: Slug = Field(default="dreambooth", description="file name in tasks/methods/")
    kind: Literal["object", "animal", "style", "person"] = Field(
        default="object", description="a person needs a consent record at ingest, training and sampling"
    )
    consent: str | None = Field(
        default=None, description="path of the consent record beside subject.yaml, for persons"
    )

    @property
    def phrase(self) -> str:
        """How prompts call the subject: identifier and class word (DreamBooth, section 3.2)."""
        return f"{self.identifier} {self.class_word}"


def read(path: Path) -> tuple[Subject, dict[str, Any]]:
    """Read subject.yaml into its identity and its override blocks.

    Raises:
        UserError: the file or a key is wrong.
    """
    values = params.read_yaml(path)
    overrides = {key: values.pop(key) or {} for key in OVERRIDES if key in values}
    for key, block in overrides.items():
        if not isinstance(block, dict):
            raise UserError(f"{path}: {key}: expected `key: value` lines to lay over params.yaml")
    return params.validate(Subject, values, str(path)), overrides
