"""Individuals of one class that differ in one small thing: what a likeness score must not confuse.

Source: after Finer-Personalization Rank, arXiv:2512.19026: similarity scores miss a drifting identity, so a picture is
asked for its owner in a gallery of look-alikes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from tasks.toyworld.identity import DECALS, PATTERNS, Identity, split_identities
from tasks.toyworld.palette import contrasting

STRANGERS = 3
"""Unrelated individuals of the class that join the look-alikes in a gallery."""


def twins(identity: Identity) -> dict[str, Identity]:
    """The same individual with one thing changed, by the name of that thing; the smallest changes first."""
    free = [c for c in contrasting(identity.primary) if c in contrasting(identity.secondary)]
    decal = next(decal for decal in DECALS if decal != identity.decal)
    pattern = next(p for p in PATTERNS if p not in (identity.pattern, "plain"))
    made = {
        "decal": replace(identity, decal=decal, decal_colour=(free or ["white"])[0]),
        "limbs": replace(identity, limb_tone=1 - identity.limb_tone),
        "head": replace(identity, head_tone=1 - identity.head_tone),
        "shape": replace(identity, shape=tuple(round(1.0 - value, 3) for value in identity.shape)),
        "pattern": replace(identity, pattern=pattern),
        "swapped colours": replace(identity, primary=identity.secondary, secondary=identity.primary),
    }
    if free:
        made["second colour"] = replace(identity, secondary=free[-1])
    return made


def gallery(identity: Identity) -> list[Identity]:
    """The subject first, then its twins, then strangers of its class."""
    return [identity, *twins(identity).values(), *_strangers(identity)]


def _strangers(identity: Identity) -> Iterator[Identity]:
    others = [one for one in split_identities("judge") if one.cls == identity.cls]
    yield from others[:STRANGERS]
