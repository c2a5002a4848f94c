"""How well a small SAM finds what a renderer knows to be there: parts, objects, objects with their shadows."""

from collections.abc import Collection

import numpy as np
import torch
from scipy import ndimage
from segment_anything.modeling import Sam
from torch import Tensor

from tasks.pretrain.segmenter_pictures import LEVELS, OBJECT, Picture, Renders

SMALLEST_PX = 30  # objects of which less is seen are not measured
ALIKE = 0.9  # overlap from which two levels of an object are one


@torch.inference_mode()
def figures(
    sam: Sam, renders: Renders, indices: np.ndarray, unseen: Collection[str] = ()
) -> dict[str, float]:
    """Mean IoU over the objects of some renders, from one point and from a box, at the pictures' own size.

    The point is the object's innermost pixel and the mask the one of the object level. Also: the same for the
    mask that the model is surest of, and for scenes with two objects alone; output 1 against the part and output 3
    against the object with its shadow under that point, and, where these three differ, how often the outputs are those
    three things: no other output overlaps a level more than the level's own does (`segmenter_levels`).

    Args:
        unseen: objects of these classes are measured apart (`..._unseen`), the other figures are without them.
    """
    rows: list[dict[str, float]] = []
    for index in indices:
        picture = renders.picture(int(index))
        pixels = torch.from_numpy(picture.pixels).permute(2, 0, 1)[None].float()
        feature = sam.image_encoder(sam.preprocess(pixels))
        objects = renders.scenes[index]["objects"]
        for number, one in enumerate(objects, start=1):
            mask = picture.levels[OBJECT] == number
            if mask.sum() >= SMALLEST_PX:
                told = {"pair": len(objects) == 2, "unseen": one["class"] in unseen}
                rows.append(_found(sam, feature, picture, mask) | told)
    seen = [row for row in rows if not row["unseen"]]
    pairs, others = [row for row in seen if row["pair"]], [row for row in rows if row["unseen"]]
    means = {name: _mean(seen, name) for name in ("point", "point_surest", "box", "part", "whole")}
    if pairs:
        means |= {f"{name}_pairs": _mean(pairs, name) for name in ("point", "box")}
    if others:
        means |= {f"{name}_unseen": _mean(others, name) for name in ("point", "box")}
    named = {f"segmenter_miou_{name}": value for name, value in means.items()}
    if different := [row for row in seen if "levels" in row]:
        named["segmenter_levels"] = _mean(different, "levels")
    return {name: round(value, 4) for name, value in named.items()}


def quality(found: dict[str, float]) -> dict[str, float]:
    """The two of `figures` that the project names its quality by: from one point, on classes seen and unseen."""
    told = {"segmenter_miou": "point", "segmenter_miou_unseen_classes": "point_unseen"}
    return {name: found[key] for name, short in told.items() if (key := f"segmenter_miou_{short}") in found}


def _found(sam: Sam, feature: Tensor, picture: Picture, mask: np.ndarray) -> dict[str, float]:
    """How well one object is found from its innermost pixel and from its box; `levels` where its three levels differ."""
    y, x = np.unravel_index(ndimage.distance_transform_edt(mask).argmax(), mask.shape)
    columns, rows = np.flatnonzero(mask.any(0))[[0, -1]], np.flatnonzero(mask.any(1))[[0, -1]]
    box = torch.tensor([[columns[0], rows[0], columns[1] + 1, rows[1] + 1]]).float()
    point, quality = _full(sam, feature, (torch.tensor([[[x, y]]]).float(), torch.ones(1, 1)), None)
    boxed, _ = _full(sam, feature, None, box)
    truths = [picture.levels[level] == picture.levels[level, y, x] for level in LEVELS]
    overlaps = np.array([[_overlap(mine, truth) for truth in truths] for mine in point[1:]])
    found = {
        "point": overlaps[1, 1],
        "point_surest": overlaps[int(quality[1:].argmax()), 1],
        "box": _overlap(boxed[0], mask),
        "part": overlaps[0, 0],
        "whole": overlaps[2, 2],
    }
    if max(_overlap(truths[0], truths[1]), _overlap(truths[1], truths[2])) < ALIKE:
        found["levels"] = float((overlaps.diagonal() >= overlaps.max(0)).all())
    return found


def _mean(rows: list[dict[str, float]], name: str) -> float:
    return float(np.mean([row[name] for row in rows]))


def _full(
    sam: Sam, feature: Tensor, points: tuple[Tensor, Tensor] | None, box: Tensor | None
) -> tuple[np.ndarray, Tensor]:
    """All four masks at the encoder's size and their predicted IoU. bool [4 s s], [4]"""
    sparse, dense = sam.prompt_encoder(points, box, None)
    logits, quality = sam.mask_decoder.predict_masks(
        feature, sam.prompt_encoder.get_dense_pe(), sparse, dense
    )
    size = (sam.image_encoder.img_size,) * 2
    return (sam.postprocess_masks(logits, size, size)[0] > 0).numpy(), quality[0]


def _overlap(found: np.ndarray, mask: np.ndarray) -> float:
    return float((found & mask).sum() / max(1, (found | mask).sum()))
