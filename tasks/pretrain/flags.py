"""Command-line flags for a `Params` class: one per field, described by the field itself."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_origin

import torch
from pydantic import BaseModel

from tasks.shared import params

Section = TypeVar("Section", bound=BaseModel)


def add(parser: argparse.ArgumentParser, model: type[BaseModel]) -> None:
    """One flag per field of `model`, with its default and description."""
    for name, field in model.model_fields.items():
        parser.add_argument(f"--{name}", help=f"{field.description} (default: {field.default})")


def read(arguments: argparse.Namespace, model: type[Section]) -> Section:
    """The fields that were given as flags, validated; defaults for the rest. `--channels 32,64` gives (32, 64)."""
    given: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        value = getattr(arguments, name)
        if value is not None:
            given[name] = value.split(",") if get_origin(field.annotation) is tuple else value
    return params.validate(model, given, "flags")


def run(
    train: Callable[..., None],
    model: type[BaseModel],
    about: str | None,
    paths: Sequence[str] = ("data", "out", "work"),
) -> None:
    """The command line of a training on one thread: `train(*paths, options)`, a flag for each path."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in paths:
        parser.add_argument(f"--{name}", type=Path, required=True)
    add(parser, model)
    given = parser.parse_args()
    torch.set_num_threads(1)
    train(*(getattr(given, name) for name in paths), read(given, model))
