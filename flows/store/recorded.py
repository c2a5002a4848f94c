"""What the texts of dvc.lock and .dvc files name."""

import re
from collections.abc import Iterator
from typing import Any

from ruamel.yaml import YAML, YAMLError

_OBJECT = re.compile(r"md5: ([0-9a-f]{32}(?:\.dir)?)$", re.MULTILINE)


def mentioned(text: str) -> list[str]:
    """Every object that a text names, as an output or as an input; without the cost of a YAML parser."""
    return list(dict.fromkeys(_OBJECT.findall(text)))


def outputs(content: dict[str, Any]) -> Iterator[str]:
    """Names of the outputs alone, of a parsed dvc.lock or .dvc file."""
    stages = content.get("stages")
    for entry in stages.values() if isinstance(stages, dict) else [content]:
        for out in entry.get("outs") or []:
            if out.get("md5"):
                yield str(out["md5"])


def stages(text: str) -> dict[str, Any]:
    """What a dvc.lock holds of each stage, as DVC wrote it; nothing where it is damaged. A tenth of the strict parser's time."""
    try:
        content = YAML(typ="safe").load(text)
    except YAMLError:
        return {}
    found = content.get("stages") if isinstance(content, dict) else None
    return found if isinstance(found, dict) else {}
