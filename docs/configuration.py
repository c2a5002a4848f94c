"""Writes docs/configuration.md from the params' own schema: `python -m docs.configuration`."""

import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from tasks.shared import plugins, settings, subject

STAGES = ("ingest", "segment", "class_prior", "fine_tune", "sample", "evaluate", "report")
FAMILIES = ("methods", "tuners", "segmenters")
PAGE = Path(__file__).with_suffix(".md")

HEAD = """# Configuration

Made by `make docs` from the code; do not edit. Every value that changes a result stands in `params.yaml`; a subject
overrides any of them in the block of the same name in its own `subject.yaml`. Unknown keys are refused.
"""


def sections() -> Iterator[tuple[str, type[BaseModel]]]:
    """Every section a person can write, as (dotted name, its model)."""
    yield "base", settings.Base
    for stage in STAGES:
        yield stage, import_module(f"tasks.{stage}").Params
    for name in plugins.names("methods"):
        yield f"methods.{name}", plugins.load("methods", name).Params
    yield "machine", settings.Machine
    yield "nightly", import_module("flows.nightly").Params
    yield "retention", import_module("flows.retention").Params
    yield "inbox", import_module("flows.intake.options").Params
    yield "webhook", import_module("flows.intake.webhook").Params
    yield "serve", import_module("flows.serving.params").Params
    yield "sharing", import_module("flows.store.sharing").Params
    yield "workers", import_module("flows.pool").Params


def options() -> Iterator[tuple[str, type[BaseModel]]]:
    """The options that a section chooses by `{name: ..., ...}`."""
    for family in ("tuners", "segmenters"):
        for name in plugins.names(family):
            yield f"{family}: {name}", plugins.load(family, name).Params


def table(model: type[BaseModel]) -> str:
    """One row per key: name, type, default, range and meaning."""
    rows = ["| key | type | default | meaning |", "|---|---|---|---|"]
    for name, field in model.model_fields.items():
        default = (
            "required" if field.is_required() else f"`{_plain(field.get_default(call_default_factory=True))}`"
        )
        meaning = " ".join((field.description or "").split())
        rows.append(
            f"| `{field.alias or name}` | {_type(field)} | {default} | {meaning} |".replace("\n", " ")
        )
    return "\n".join(rows)


def _plain(value: object) -> object:
    return value.model_dump() if isinstance(value, BaseModel) else value


def _type(field: FieldInfo) -> str:
    text = getattr(field.annotation, "__name__", "") if isinstance(field.annotation, type) else ""
    text = text or re.sub(r"Annotated\[(\w+), [^\]]*\]", r"\1", str(field.annotation).replace("typing.", ""))
    limits = [
        f"{sign} {getattr(m, attr)}" for m in field.metadata for attr, sign in _LIMITS if hasattr(m, attr)
    ]
    return (text + (", " + ", ".join(limits) if limits else "")).replace("|", "or")


_LIMITS = (("ge", ">="), ("gt", ">"), ("le", "<="), ("lt", "<"))


def page() -> str:
    """The whole page as Markdown."""
    parts = [
        HEAD,
        "## subject.yaml",
        table(subject.Subject),
        "",
        f"Override blocks: {', '.join(subject.OVERRIDES)}.",
    ]
    for name, model in sections():
        parts += ["", f"## `{name}`", table(model)]
    parts += ["", "# Options chosen by name"]
    for name, model in options():
        parts += ["", f"## {name}", table(model) if model.model_fields else "No keys."]
    parts += [
        "",
        "## recipe",
        "An integer per stage, raised by hand when a change of code alters its results.",
    ]
    return "\n".join(parts) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
