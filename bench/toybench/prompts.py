"""What is asked of every subject: 25 prompts in the kinds of DreamBench, each with the scene that would be right.

Source of the kinds: Ruiz et al. 2023, arXiv:2208.12242, section 4.1 (recontextualisation, property change, view,
accessories). Differs: a second object stands for accessories, which the toy world lacks. No prompt asks for a setting
that the subject's photos show.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from bench.toybench.toys import TWIN, toy
from tasks.toyworld.captions import setting_phrase
from tasks.toyworld.identity import CLASSES, Identity, split_identities
from tasks.toyworld.palette import COLOURS, contrasting
from tasks.toyworld.scene import Scene, sample_scene
from tasks.toyworld.settings import SETTINGS

KINDS = {"setting": 10, "view": 4, "style": 2, "second": 5, "property": 4}
"""How many prompts of each kind a subject gets."""

_VIEWS = {
    "front": "seen from the front",
    "side": "seen from the side",
    "behind": "seen from behind",
    "above": "seen from above",
}
_STYLES = {"cartoon": "a cartoon of", "sketch": "a sketch of"}


@dataclass(frozen=True)
class Asked:
    """One prompt and what a right picture shows."""

    text: str  # with {subject}, as `params.yaml: sample.prompts` has it
    kind: str
    setting: str
    view: str | None = None
    style: str = "photo"
    second: str | None = None  # class of another object
    colour: str | None = None  # what the subject's first colour is to become


def asked_of(name: str) -> list[Asked]:
    """The prompts of a subject, always the same; a twin's are those of its original."""
    one = toy(name)
    identity, rng = one.identity, np.random.default_rng([zlib.crc32(name.removesuffix(TWIN).encode()), 25])
    shown = {scene.setting for scene in one.scenes}
    unseen = [setting for setting in SETTINGS if setting not in shown]
    places = _endless(unseen, rng)
    made: list[Asked] = []
    for number in range(KINDS["setting"]):
        setting = unseen[number % len(unseen)]
        opening = ("a", "a photo of a", "a picture of a", "an image of a")[number // len(unseen)]
        made.append(Asked(f"{opening} {{subject}} {setting_phrase(setting)}", "setting", setting))
    for view, words in _VIEWS.items():
        setting = next(places)
        made.append(Asked(f"a {{subject}} {setting_phrase(setting)} {words}", "view", setting, view=view))
    for style, words in _STYLES.items():
        setting = next(places)
        made.append(Asked(f"{words} a {{subject}} {setting_phrase(setting)}", "style", setting, style=style))
    others = rng.permutation([cls for cls in CLASSES if cls != identity.cls])[: KINDS["second"]]
    for second in map(str, others):
        setting = next(places)
        text = f"a {{subject}} next to a {second} {setting_phrase(setting)}"
        made.append(Asked(text, "second", setting, second=second))
    clear = [str(c) for c in rng.permutation(contrasting(identity.primary)) if c != identity.secondary]
    near = [c for c in COLOURS if c not in (identity.primary, identity.secondary, *clear)]
    for colour in [*clear, *near][: KINDS["property"]]:
        setting = next(places)
        article = "an" if colour[0] in "aeiou" else "a"
        text = f"{article} {colour} {{subject}} {setting_phrase(setting)}"
        made.append(Asked(text, "property", setting, colour=colour))
    return made


def true_scene(identity: Identity, asked: Asked, draw: int) -> Scene:
    """One of the many scenes that would be right, with the subject as object 0.

    Args:
        draw: which of them; pose, light, camera and the second object differ.
    """
    rng = np.random.default_rng([zlib.crc32(asked.text.encode()), identity.seed, draw])
    who = replace(identity, primary=asked.colour) if asked.colour else identity
    pool = [one for one in split_identities("judge") if one.cls == asked.second]
    return sample_scene(
        rng,
        pool,
        identity=who,
        setting=asked.setting,
        style=asked.style,
        view=asked.view,
        objects=2 if asked.second else 1,
    )


def _endless(items: list[str], rng: np.random.Generator) -> Iterator[str]:
    while True:
        yield from map(str, rng.permutation(items))
