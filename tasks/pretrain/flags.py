"""Command-line flags for a `Params` class: one per field, described by the field itself."""

from __future__ import annotations

import argparse
from typing import TypeVar

from pydantic import BaseModel

from tasks.shared import params

Section = TypeVar("Section", bound=BaseModel)


def add(parser: argparse.ArgumentParser, model: type[BaseModel]) -> None:
    """One flag per field of `model`, with its default and description."""
    for name, field in model.model_fields.items():
        parser.add_argument(f"--{name}", help=f"{field.description} (default: {field.default})")


def read(arguments: argparse.Namespace, model: type[Section]) -> Section:
    """The fields that were given as flags, validated; defaults for the rest."""
    given = {
        name: getattr(arguments, name) for name in model.model_fields if getattr(arguments, name) is not None
    }
    return params.validate(model, given, "flags")
