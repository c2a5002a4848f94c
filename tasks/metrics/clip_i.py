"""CLIP-I: likeness to the photos under CLIP's image tower.

Coarser than DINO: it sees kind, colours and scene, and much less the individual.

Source: Gal et al. 2023, arXiv:2208.01618; Ruiz et al. 2023, arXiv:2208.12242, 4.1. Floor and ceiling as for
DINO.
"""

from tasks.metrics import _fidelity, base


def measure(evidence: base.Evidence) -> dict[str, base.Score]:
    """`clip_i`, and `clip_i_subject` where there are masks."""
    return _fidelity.measure(evidence, "clip_i", evidence.judges.clip)
