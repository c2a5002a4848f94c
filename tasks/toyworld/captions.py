"""What may be said about a scene, in English and German.

A caption may name class, primary colour, setting, view, style and the second object. It never names the
second colour, the pattern, the decal or the proportions: that identity is for personalisation to learn.
"""

from __future__ import annotations

import re

import numpy as np

from tasks.toyworld.identity import CLASSES, Identity
from tasks.toyworld.palette import COLOURS
from tasks.toyworld.scene import Scene
from tasks.toyworld.settings import SETTINGS

__all__ = ["CLASSES", "COLOURS", "SETTINGS", "caption", "full_vocabulary", "setting_phrase"]

_SETTING = {
    "beach": (("on the beach", "at the beach", "on a beach"), ("am Strand",)),
    "snow": (("in the snow", "in snow"), ("im Schnee",)),
    "forest": (("in the forest", "in a forest", "in the woods"), ("im Wald",)),
    "desert": (("in the desert", "in a desert"), ("in der Wüste",)),
    "city": (
        ("in the city at night", "in a city at night", "on a street at night"),
        ("nachts in der Stadt",),
    ),
    "kitchen": (("in the kitchen", "in a kitchen"), ("in der Küche",)),
    "meadow": (("on a meadow", "in a meadow", "on the grass"), ("auf einer Wiese",)),
    "theatre": (("on the red carpet", "on a red carpet"), ("auf dem roten Teppich",)),
    "moon": (("on the moon",), ("auf dem Mond",)),
    "library": (("in the library", "in a library"), ("in einer Bibliothek",)),
}
_VIEW = {
    "front": ("seen from the front", "von vorn"),
    "side": ("seen from the side", "von der Seite"),
    "behind": ("seen from behind", "von hinten"),
    "above": ("seen from above", "von oben"),
}
_STYLE = {
    "photo": (("a photo of", "a picture of", "an image of"), ("ein Foto von", "ein Bild von")),
    "cartoon": (
        ("a cartoon of", "a cartoon drawing of"),
        ("eine Zeichentrickfigur von", "ein Comicbild von"),
    ),
    "sketch": (("a sketch of", "a pencil sketch of"), ("eine Skizze von", "eine Bleistiftskizze von")),
}
_NOUN_DE = {
    "dog": ("Hund", "m"), "cat": ("Katze", "f"), "duck": ("Ente", "f"), "car": ("Auto", "n"),
    "robot": ("Roboter", "m"), "teapot": ("Teekanne", "f"), "mushroom": ("Pilz", "m"),
    "rocket": ("Rakete", "f"), "house": ("Haus", "n"), "chair": ("Stuhl", "m"),
}  # fmt: skip
_COLOUR_DE = {
    "red": "rot", "orange": "orange", "yellow": "gelb", "green": "grün", "blue": "blau", "purple": "violett",
    "pink": "rosa", "brown": "braun", "white": "weiß", "black": "schwarz",
}  # fmt: skip
_PLURAL_TEMPLATES = ("{first} and {second}", "{first} next to {second}", "{first} beside {second}")
_PLURAL_TEMPLATES_DE = ("{first} und {second}", "{first} neben {second}")


def setting_phrase(setting: str, language: str = "en") -> str:
    """The usual way to say where, e.g. "on the beach"."""
    return _SETTING[setting][language == "de"][0]


def caption(scene: Scene, rng: np.random.Generator, language: str = "en") -> str:
    """Describe a scene as a user might; what is named differs from draw to draw.

    One in ten names nothing but the class(es); half name the colour. Sketches show no colour and name none.
    """
    german = language == "de"
    bare = rng.random() < 0.10
    spoken = [
        "" if scene.style == "sketch" or bare or rng.random() > 0.55 else o.identity.primary
        for o in scene.objects
    ]
    name_style = not bare and (scene.style != "photo" or rng.random() < 0.6)
    if bare:
        name_style = rng.random() < 0.4
    where = not bare and rng.random() < 0.82
    view = not bare and scene.view in _VIEW and rng.random() < 0.45
    both = len(scene.objects) == 2 and rng.random() < 0.92
    where_first = where and view and rng.random() < 0.3
    dative = german and name_style
    who = _noun(scene.objects[0].identity, spoken[0], german, dative)
    if both:
        templates = _PLURAL_TEMPLATES_DE if german else _PLURAL_TEMPLATES
        template = templates[int(rng.integers(len(templates)))]
        second_dative = dative or (german and "neben" in template)
        second = _noun(scene.objects[1].identity, spoken[1], german, second_dative)
        who = template.format(first=who, second=second)
    pieces = [who]
    if name_style:
        starts = _STYLE[scene.style][german]
        pieces.insert(0, starts[int(rng.integers(len(starts)))])
    places = _SETTING[scene.setting][german]
    place = places[0] if rng.random() < 0.6 else places[int(rng.integers(len(places)))]
    tail = ([place] if where else []) + ([_VIEW[scene.view][german]] if view else [])
    return " ".join(pieces + (tail if not where_first else tail[::-1]))


def full_vocabulary() -> list[str]:
    """Every word that any caption can contain, lower case, both languages, sorted."""
    words: set[str] = set()
    for table in (_SETTING, _STYLE):
        for english, german in table.values():
            words.update(" ".join(english + german).lower().split())
    for pair in _VIEW.values():
        words.update(" ".join(pair).lower().split())
    for template in _PLURAL_TEMPLATES + _PLURAL_TEMPLATES_DE:
        words.update(re.findall(r"[a-z]+", re.sub(r"\{.*?\}", " ", template)))
    words.update(["a", "an", *CLASSES, *COLOURS, "ein", "eine", "einem", "einer"])
    words.update(noun.lower() for noun, _ in _NOUN_DE.values())
    for colour in _COLOUR_DE.values():
        endings = ("",) if colour == "rosa" else ("er", "e", "es", "en")
        words.update(
            colour + ending if not colour.endswith("e") else colour[:-1] + ending for ending in endings
        )
    return sorted(words)


def _noun(who: Identity, colour: str, german: bool, dative: bool) -> str:
    """ "a red dog", "ein roter Hund", "einem roten Hund"."""
    if not german:
        word = f"{colour} {who.cls}".strip()
        return f"{'an' if word[0] in 'aeiou' else 'a'} {word}"
    noun, gender = _NOUN_DE[who.cls]
    if dative:
        article, ending = {"f": "einer"}.get(gender, "einem"), "en"
    else:
        article = {"f": "eine"}.get(gender, "ein")
        ending = {"m": "er", "f": "e", "n": "es"}[gender]
    if not colour:
        return f"{article} {noun}"
    stem = _COLOUR_DE[colour]
    word = stem if stem == "rosa" else stem.removesuffix("e") + ending
    return f"{article} {word} {noun}"
