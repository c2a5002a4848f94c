"""Did the model learn the subject or copy the photos? The nearest training crop of every sample.

Two measures, both with the crop and its mirror image: cosine of DINO features, and PSNR at 64 px, which is
high only where the picture is the photo nearly pixel by pixel. A sample counts as a copy when it is nearer
to a photo than any two photos are to one another *and* than any picture of the base is to a photo, by both
measures at once: neither can have been copied.
Source of the idea: Carlini et al. 2023, arXiv:2301.13188. Differs: the threshold comes from the subject's
own photos.
"""

import numpy as np

from tasks.metrics import base
from tasks.shared import images

SIDE_PX = 64


def measure(evidence: base.Evidence) -> dict[str, base.Score]:
    """`memorisation`: mean cosine with the nearest photo; `max`, greatest `psnr`, number of `copies`."""
    base.need(
        len(evidence.photos), 1, "memorisation", "photos", "see segment/segment.json for why none was left"
    )
    base.need(len(evidence.samples), 2, "memorisation", "samples", "raise sample.prompts or sample.seeds")
    photos = [photo.pixels for photo in evidence.photos]
    samples = [sample.pixels for sample in evidence.samples]
    cosine, psnr = _nearest(evidence, samples, photos)
    innocent = [_nearest(evidence, [photo], photos[:i] + photos[i + 1 :]) for i, photo in enumerate(photos)]
    innocent.append(_nearest(evidence, [picture.pixels for picture in evidence.base], photos))
    known_cosine, known_psnr = (np.concatenate([pair[axis] for pair in innocent]) for axis in (0, 1))
    marks = {"max": float(cosine.max()), "psnr": float(psnr.max())}
    if len(known_cosine):
        copies = (cosine > known_cosine.max()) & (psnr > known_psnr.max())
        marks |= {"copies": float(copies.sum()), "psnr_innocent": float(known_psnr.max())}
    interval = evidence.bootstrap.mean(cosine, *base.clusters(evidence.samples))
    return {
        "memorisation": base.Score(float(cosine.mean()), interval, marks=marks, per_picture=cosine.tolist())
    }


def _nearest(
    evidence: base.Evidence, pictures: list[np.ndarray], photos: list[np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Greatest cosine and PSNR in dB of each picture over the photos and their mirror images. [n], [n]"""
    if not pictures or not photos:
        return np.zeros(0), np.zeros(0)
    both_ways = photos + [np.ascontiguousarray(photo[:, ::-1]) for photo in photos]
    dino = evidence.judges.dino
    cosine = base.cosines(dino.embed(pictures), dino.embed(both_ways)).max(1)
    small, targets = _small(pictures), _small(both_ways)
    error = np.array([((picture - targets) ** 2).mean((1, 2, 3)).min() for picture in small])
    return cosine, 10 * np.log10(255**2 / np.maximum(error, 1e-2))


def _small(pictures: list[np.ndarray]) -> np.ndarray:  # [n 64 64 3] float64
    return np.stack([images.resize(picture, SIDE_PX).astype(np.float64) for picture in pictures])
