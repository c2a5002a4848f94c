"""DINO: does the picture show *this* subject?

Mean cosine of every sample with every photo in self-supervised image features.

Source: Ruiz et al. 2023, arXiv:2208.12242, 4.1 (ViT-S/16 DINO, CLS token). The features were never taught
to ignore what sets two members of a class apart, so they tell subjects apart better than CLIP's. Floor: the
base model's pictures of the same prompts; ceiling: each photo against the other photos. `dino_subject`
compares the masked subjects only, as far as masks exist.
"""

from tasks.metrics import _fidelity, base


def measure(evidence: base.Evidence) -> dict[str, base.Score]:
    """`dino`, and `dino_subject` where there are masks."""
    return _fidelity.measure(evidence, "dino", evidence.judges.dino)
