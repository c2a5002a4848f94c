"""Captions say what may be said, in words the vocabulary knows."""

import re
from functools import cache

import numpy as np
import pytest

from tasks.toyworld.captions import CLASSES, COLOURS, SETTINGS, caption, full_vocabulary, setting_phrase
from tasks.toyworld.identity import DECALS, PATTERNS, split_identities
from tasks.toyworld.scene import Scene, sample_scene

POOL = split_identities("train")
SECRET = {*PATTERNS, *DECALS, "stripe", "striped", "spotted", "checked", "dots"} - {"plain"}


@cache
def scenes(style: str | None = None) -> list[Scene]:
    rng = np.random.default_rng(1)
    return [sample_scene(rng, POOL, style=style) for _ in range(120 if style is None else 20)]


def drawn(count: int, language: str, style: str | None = None, objects: int | None = None):
    rng = np.random.default_rng(2)
    pool = [scene for scene in scenes(style) if objects in (None, len(scene.objects))]
    for i in range(count):
        scene = pool[i % len(pool)]
        yield scene, caption(scene, rng, language)


def test_captions_never_speak_of_identity():
    for scene, text in drawn(400, "en"):
        words = re.sub("(the|a) red carpet", "", text).split()
        assert not SECRET & set(words), text
        named = [word for word in words if word in COLOURS]
        primaries = [o.identity.primary for o in scene.objects]
        assert all(colour in primaries for colour in named), (text, scene.objects)
        if len(scene.objects) == 1:
            assert scene.objects[0].identity.secondary not in words


@pytest.mark.parametrize("language", ["en", "de"])
def test_every_word_is_in_the_vocabulary(language):
    known = set(full_vocabulary())
    for _, text in drawn(400, language):
        assert set(text.lower().split()) <= known, text


def test_about_half_name_the_colour_and_a_tenth_only_the_class():
    texts = [(scene, text) for scene, text in drawn(1500, "en", objects=1)]
    texts = [(s, t) for s, t in texts if s.style != "sketch"]
    coloured = np.mean([s.objects[0].identity.primary in t.replace("red carpet", "") for s, t in texts])
    assert 0.43 < coloured < 0.57
    bare = np.mean([bool(re.fullmatch(r"(a \w+ of |an image of )?an? \w+", t)) for _, t in texts])
    assert 0.08 < bare < 0.25
    assert all(s.objects[0].identity.cls in t for s, t in texts)


def test_sketches_name_no_colour():
    for _, text in drawn(60, "en", style="sketch"):
        assert not set(COLOURS) & set(text.replace("red carpet", "").split()), text


def test_german_declines():
    texts = " | ".join(text for _, text in drawn(500, "de"))
    for wrong in ("ein Katze", "eine Hund", "einem Ente", "einer Auto", "Foto von ein ", "von eine "):
        assert wrong not in texts


def test_setting_phrases():
    assert setting_phrase("beach") == "on the beach"
    assert setting_phrase("snow", "de") == "im Schnee"
    assert len(CLASSES) == len(SETTINGS) == len(COLOURS) == 10
    assert len({setting_phrase(s) for s in SETTINGS}) == 10
