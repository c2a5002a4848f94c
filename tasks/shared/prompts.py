"""Prompt templates: `"a {subject} on the beach"` with words put in for the placeholders."""

import string
from collections.abc import Mapping
from typing import Any

from tasks.shared.errors import UserError


def filled(template: str, words: Mapping[str, str], where: str) -> str:
    """Put words into a template.

    Args:
        words: what each placeholder stands for, such as `{"subject": "sks dog", "class": "dog"}`.
        where: how a person finds the template, such as "sample.prompts".
    Raises:
        UserError: an unknown placeholder, a lone brace, or nothing but space; names the template.
    """
    known = ", ".join(f"{{{name}}}" for name in words)
    try:
        pieces = list(string.Formatter().parse(template))
    except ValueError as error:
        raise UserError(f"{where}: {template!r}: {error}; placeholders are {known}") from error
    if not template.strip():
        raise UserError(f"{where}: {template!r}: empty; write what the picture shows, with {known}")
    text = ""
    for literal, name, form, conversion in pieces:
        text += literal
        if name is None:
            continue
        if name not in words or form or conversion:
            raise UserError(f"{where}: {template!r}: unknown placeholder {{{name}}}; there are: {known}")
        text += words[name]
    return text


def spelled_out(tokenizer: Any, phrase: str) -> list[str]:
    """Words of the phrase that a tokenizer breaks into single letters: the base hardly knows them."""
    return [word for word in phrase.split() if len(word) > 2 and len(tokenizer.tokenize(word)) >= len(word)]
