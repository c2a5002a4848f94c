"""Validated parameters: frozen, unknown keys refused with the nearest known one."""

import copy
import functools
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from tasks.shared.errors import UserError

MOST_NESTED = 50
"""Brackets within brackets in a settings file; the deepest that anybody needs is four."""


class Params(BaseModel):
    """Base of every section of params.yaml. Fields carry unit and meaning in `Field(description=...)`."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, strict=False)


Section = TypeVar("Section", bound=BaseModel)


def validate(model: type[Section], values: Any, where: str) -> Section:
    """Build `model` from plain values.

    Args:
        values: a mapping as read from YAML; None counts as empty.
        where: how a person finds the values, such as "params.yaml: sample".
    Raises:
        UserError: one line that names each wrong key and what is wrong; for an unknown key the nearest one.
    """
    try:
        return model.model_validate({} if values is None else values)
    except ValidationError as error:
        complaints = [_complaint(model, item) for item in error.errors()]
        raise UserError(f"{where}: " + "; ".join(complaints)) from error


def _complaint(model: type[BaseModel], item: Any) -> str:
    key = ".".join(str(part) for part in item["loc"]) or "(whole section)"
    if item["type"] != "extra_forbidden":
        got = f" (got {_shown(item['input'])})" if not isinstance(item["input"], Mapping) else ""
        return f"{key}: {item['msg'][:1].lower()}{item['msg'][1:]}{got}"
    known = _fields_at(model, item["loc"][:-1])
    nearest = get_close_matches(str(item["loc"][-1]), known, n=1, cutoff=0.5)
    others = f"known keys: {', '.join(sorted(known))}; if a later Dreamline wrote it, update this one"
    hint = f"did you mean {nearest[0]!r}?" if nearest else others
    return f"unknown key {key!r}, {hint}"


def _shown(value: Any) -> str:
    try:
        text = repr(value)
    except ValueError:  # Python writes out no number of more than 4300 digits
        return "a huge number"
    return text if len(text) <= 200 else f"{text[:197]}..."


def _fields_at(model: type[BaseModel], path: tuple) -> list[str]:
    """Names of the fields of the (possibly nested) section that `path` leads to."""
    for part in path:
        field = model.model_fields.get(str(part))
        nested = field.annotation if field else None
        if not (isinstance(nested, type) and issubclass(nested, BaseModel)):
            break
        model = nested
    return [field.alias or name for name, field in model.model_fields.items()]


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML mapping with the safe loader.

    Raises:
        UserError: missing, larger than 1 MB, not YAML, no mapping, or with aliases (a bomb needs them).
    """
    try:
        size_bytes = path.stat().st_size
        text = path.read_text(encoding="utf-8") if size_bytes <= 1_000_000 else ""
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file") from error
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read as UTF-8 text ({error})") from error
    if size_bytes > 1_000_000:
        raise UserError(f"{path}: larger than 1 MB; this is no settings file")
    return parse_yaml(text, str(path))


def parse_yaml(text: str, where: str) -> dict[str, Any]:
    """Parse a YAML mapping; see `read_yaml` for what is refused."""
    if _nesting(text) > MOST_NESTED:
        raise UserError(
            f"{where}: brackets within brackets, more than {MOST_NESTED} deep; these are no settings"
        )
    try:
        values = copy.deepcopy(_parsed(text))
    except _Anchored as error:
        raise UserError(
            f"{where}: anchors and aliases are not accepted in settings; write the values out"
        ) from error
    except (
        YAMLError,
        RecursionError,
        ValueError,
        ArithmeticError,
    ) as error:  # also dates and numbers of no sense
        line = getattr(getattr(error, "problem_mark", None), "line", None)
        place = f" in line {line + 1}" if line is not None else ""
        what = " ".join(str(getattr(error, "problem", error)).split())
        raise UserError(f"{where}: not valid YAML{place} ({what})") from error
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise UserError(f"{where}: expected `key: value` lines, found a {type(values).__name__}")
    return values


def _nesting(text: str) -> int:
    """How deep brackets are opened at most; a few thousand of them cost the parser minutes."""
    depth = deepest = 0
    for letter in text:
        if letter in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif letter in "]}":
            depth = max(0, depth - 1)
    return deepest


class _Anchored(Exception):
    """The text has an anchor or an alias."""


@functools.lru_cache(maxsize=64)
def _parsed(text: str) -> Any:
    """Parse once what every stage asks for again; keyed by the text itself, so never out of date."""
    if any(getattr(event, "anchor", None) for event in YAML(typ="safe", pure=True).parse(text)):
        raise _Anchored
    return YAML(typ="safe", pure=True).load(text)


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """`below` with the keys of `above` laid over it; mappings merge, everything else is replaced.

    A choice (`segmenter: {name: sam, ...}`) with another name is replaced whole: its options are not the old one's.
    """
    result = dict(below)
    for key, value in above.items():
        nested = isinstance(value, Mapping) and isinstance(result.get(key), Mapping)
        result[key] = (
            merged(result[key], value) if nested and not _other_choice(result[key], value) else value
        )
    return result


def _other_choice(below: Mapping[str, Any], above: Mapping[str, Any]) -> bool:
    return "name" in below and "name" in above and below["name"] != above["name"]
