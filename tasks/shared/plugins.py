"""In a family folder the file name is the option: `load("methods", "rpo")` imports tasks/methods/rpo.py."""

from collections.abc import Mapping
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from tasks.shared import params
from tasks.shared.errors import UserError

TASKS = Path(__file__).resolve().parent.parent


def names(family: str) -> list[str]:
    """Options of a family, read from the folder, nothing imported; base.py is the contract, not an option."""
    return sorted(path.stem for path in (TASKS / family).glob("[a-z]*.py") if path.stem != "base")


def load(family: str, name: str) -> ModuleType:
    """Import one option.

    Raises:
        UserError: the family has no such file; names the nearest one.
    """
    known = names(family)
    if name not in known:
        nearest = get_close_matches(name, known, n=1)
        hint = f"did you mean {nearest[0]!r}?" if nearest else f"there are: {', '.join(known)}"
        raise UserError(f"{family}: no option {name!r}; {hint}")
    return import_module(f"tasks.{family}.{name}")


def configure(family: str, choice: Mapping[str, Any], where: str) -> tuple[ModuleType, Any]:
    """Load the option that `choice["name"]` names and validate the other keys with its `Params`.

    Args:
        choice: such as `{"name": "lora", "rank": 16}`.
        where: how a person finds the choice, for the error message.
    """
    module = load(family, str(choice.get("name", "")))
    options = {key: value for key, value in choice.items() if key != "name"}
    return module, params.validate(module.Params, options, where)
