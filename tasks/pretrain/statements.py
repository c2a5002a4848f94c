"""What a text says and what a picture shows, as sets of facts, so that a judge is never punished for a text
that happens to be true.

"a dog" and "a red dog on the beach" are both true of a red dog on a beach. In a batch of pictures and
captions many pairs are true beside the diagonal; the contrastive loss takes these out of the denominator.
"""

import re
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tasks.toyworld.captions import CLASSES, COLOURS, setting_phrase

Scene = dict[str, Any]  # a line of scenes.jsonl
_NAMED = re.compile(rf"(?:({'|'.join(COLOURS)}) )?({'|'.join(CLASSES)})\b")


def shown(scene: Scene) -> frozenset[str]:
    """Everything a text may say about a scene."""
    things = scene["objects"]
    facts = {f"is {one['class']}" for one in things} | {
        f"is {one['colour']} {one['class']}" for one in things
    }
    return frozenset(facts | {f"in {scene['setting']}", f"from {scene['view']}", f"as {scene['style']}"})


def said(caption: str, scene: Scene) -> frozenset[str]:
    """What a caption of this scene claims.

    A caption never lies about its own scene, so it is enough to find what it speaks of.
    """
    facts = {f"is {colour} {cls}" if colour else f"is {cls}" for colour, cls in _NAMED.findall(caption)}
    if re.search(r"\b(on|in|at) ", caption):
        facts.add(f"in {scene['setting']}")
    if "seen from" in caption:
        facts.add(f"from {scene['view']}")
    if caption.split(" of ")[0] != caption:
        facts.add(f"as {scene['style']}")
    return frozenset(facts)


def short_text(scene: Scene, rng: np.random.Generator) -> tuple[str, frozenset[str]]:
    """A question-like text, such as "a red dog" or "on the beach", that is true of the scene, and its
    facts.
    """
    one = scene["objects"][int(rng.integers(len(scene["objects"])))]
    cls, colour = one["class"], one["colour"]
    where = setting_phrase(scene["setting"])
    texts = [
        (where, {f"in {scene['setting']}"}),
        (f"a {cls}", {f"is {cls}"}),
        (f"a {cls} {where}", {f"is {cls}", f"in {scene['setting']}"}),
    ]
    if scene["style"] != "sketch":
        coloured = coloured_thing(colour, cls)
        texts += 3 * [
            (coloured, {f"is {colour} {cls}"}),
            (f"{coloured} {where}", {f"is {colour} {cls}", f"in {scene['setting']}"}),
        ]
    text, facts = texts[int(rng.integers(len(texts)))]
    if scene["style"] == "photo" and text != where and rng.random() < 0.5:
        text, facts = f"a photo of {text}", facts | {"as photo"}
    return text, frozenset(facts)


def coloured_thing(colour: str, cls: str) -> str:
    """ "a red dog", "an orange dog"."""
    return f"{'an' if colour[0] in 'aeiou' else 'a'} {colour} {cls}"


def truth(texts: list[frozenset[str]], pictures: list[frozenset[str]]) -> Tensor:
    """Which text is true of which picture. bool [texts pictures]"""
    return torch.tensor([[text <= picture for picture in pictures] for text in texts])
