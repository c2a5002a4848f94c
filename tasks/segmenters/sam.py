"""Segment Anything: masks from points or a box, or, without prompts, the one object that a photo is most
likely about.

Source: Kirillov et al. 2023, arXiv:2304.02643; the segment-anything package. Cost: one pass of the image
encoder a photo and a few dozen of the light mask decoder. Differs: `auto` is ours. SAM names every object in
a photo and has no notion of a subject; here a grid of points, denser at the centre, asks for masks, and the
mask is taken that the model is sure of, that does not change with the threshold, that many points agree on,
and that lies in the middle without running along the frame.

`python -m tasks.segmenters.sam convert in.pth out.safetensors` turns an official checkpoint into one that
this file opens.
"""

import argparse
import sys
from pathlib import Path
from typing import Literal, Self

import numpy as np
import torch
from pydantic import Field, model_validator
from scipy import ndimage
from segment_anything import SamPredictor
from torch import Tensor

from tasks.segmenters import _sam_checkpoint, base
from tasks.shared import manifest, params
from tasks.shared.errors import UserError

Point = tuple[float, float]


class Params(params.Params):
    """Which SAM, and where it should look."""

    checkpoint: str = Field(
        default="data/segmenters/sam",
        description="folder with config.json and model.safetensors, or an official SAM's .safetensors",
    )
    revision: str = Field(
        default="main",
        description="SHA-256 of the weights, which is checked, so that other weights make masks stale; main: any",
    )
    prompts: Literal["auto", "points", "box"] = Field(
        default="auto", description="where the subject's place comes from"
    )
    points: tuple[Point, ...] = Field(default=(), description="x y in px, on the subject")
    points_off: tuple[Point, ...] = Field(default=(), description="x y in px, beside the subject")
    box: tuple[float, float, float, float] | None = Field(
        default=None, description="x0 y0 x1 y1 in px, around it"
    )
    grid: int = Field(default=6, ge=2, le=32, description="auto: points along a side")
    device: str = Field(default="cpu", description="where the model runs: cpu or cuda")

    @model_validator(mode="after")
    def _prompts_are_there(self) -> Self:
        if self.prompts == "points" and not self.points:
            raise ValueError('prompts is "points" but points is empty')
        if self.prompts == "box" and self.box is None:
            raise ValueError('prompts is "box" but box is not given')
        return self


class Segmenter(base.Segmenter):
    """A loaded SAM."""

    params: Params

    def __init__(self, params: Params, project: Path = Path()):
        super().__init__(params, project)
        checkpoint = project / params.checkpoint
        self.predictor = SamPredictor(_sam_checkpoint.open(checkpoint).to(params.device))
        found = manifest.digest(_sam_checkpoint.weights_file(checkpoint))
        if params.revision not in ("main", found):
            raise UserError(
                f"segmenter {params.checkpoint!r}: its digest is {found}, but `revision` beside it asks for "
                f"{params.revision}; restore the weights, or write `revision: {found}`"
            )
        self.identity = {"checkpoint": found}

    @torch.inference_mode()
    def find(self, image: np.ndarray) -> base.Mask:
        """The subject of one photo, by the prompts that the params give."""
        self.predictor.set_image(image)
        if self.params.prompts == "auto":
            return self._auto()
        on, off = self.params.points, self.params.points_off
        return self._prompted(
            np.array([*on, *off], float).reshape(-1, 2), [1] * len(on) + [0] * len(off), self.params.box
        )

    def _prompted(self, points: np.ndarray, labels: list[int], box: tuple[float, ...] | None) -> base.Mask:
        """The mask that SAM is surest of, of its three for a lone point, else its single one. points [n 2]
        px
        """
        masks, quality, _ = self.predictor.predict(
            point_coords=points if len(points) else None,
            point_labels=np.array(labels) if len(points) else None,
            box=None if box is None else np.array(box),
            multimask_output=box is None and len(points) == 1,
        )
        best = int(quality.argmax())
        return base.Mask(_solid(masks[best]), float(quality[best].clip(0, 1)))

    def _auto(self) -> base.Mask:
        """The mask among those of a grid of points that is most like a subject, asked for once more with its
        own box.
        """
        height, width = self.predictor.input_size  # of the resized photo, without its padding
        grid = torch.from_numpy(_grid(self.params.grid) * [width, height]).float()
        logits, quality = self._decode(grid[:, None], torch.ones(len(grid), 1))
        logits, quality = logits.flatten(0, 1), quality.flatten()  # [3 n s s], [3 n]
        scores = subject_scores(self._inside(logits), quality)
        best = int(scores.argmax())
        if scores[best] <= 0:
            return base.Mask(np.zeros(self.predictor.original_size, bool), 0.0)
        chosen = self._refined(logits[best])
        full = self.predictor.model.postprocess_masks(
            chosen[None, None], self.predictor.input_size, self.predictor.original_size
        )
        return base.Mask(_solid((full[0, 0] > 0).cpu().numpy()), float(scores[best]))

    def _refined(self, logits: Tensor) -> Tensor:
        """Ask again with the mask, its box and its innermost point; keep the first answer if the second is
        another thing.
        """
        side = logits.shape[-1]
        pixel = self.predictor.model.image_encoder.img_size / side
        mask = logits > 0
        rows, columns = torch.where(mask)
        inner = ndimage.distance_transform_edt(np.pad(mask.cpu().numpy(), 1))[1:-1, 1:-1]
        row, column = np.unravel_index(inner.argmax(), inner.shape)
        box = torch.tensor([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]).float() * pixel
        point = torch.tensor([[[column + 0.5, row + 0.5]]]).float() * pixel
        again, quality = self._decode(point, torch.ones(1, 1), box[None], logits[None, None])
        again = again[0, int(quality[0].argmax())]
        overlap = ((again > 0) & mask).sum() / ((again > 0) | mask).sum()
        return again if overlap > 0.7 else logits

    def _decode(
        self, points: Tensor, labels: Tensor, boxes: Tensor | None = None, masks: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Three masks for each prompt, at the decoder's own size.

        Args:
            points: px of the resized photo. [n k 2]
            masks: logits of an earlier answer. [n 1 s s]
        Returns:
            logits [n 3 s s] and predicted IoU [n 3]
        """
        sam, device = self.predictor.model, self.predictor.device
        boxes = None if boxes is None else boxes.to(device)
        sparse, dense = sam.prompt_encoder((points.to(device), labels.to(device)), boxes, masks)
        return sam.mask_decoder(
            image_embeddings=self.predictor.features,
            image_pe=sam.prompt_encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=True,
        )

    def _inside(self, logits: Tensor) -> Tensor:
        """The part of the logits that shows the photo and not its padding."""
        side, full = logits.shape[-1], self.predictor.model.image_encoder.img_size
        height, width = (max(1, round(length * side / full)) for length in self.predictor.input_size)
        return logits[..., :height, :width]


def subject_scores(logits: Tensor, quality: Tensor) -> Tensor:
    """How much each mask is like the subject of its photo, 0 to 1.

    The product of: predicted IoU; stability (IoU of the mask at thresholds +1 and -1, as in SAM's automatic
    generator); agreement (mean IoU with the half of the other masks most like it: a part is named by few
    points, the whole object by many); nearness of the centroid to the centre; a size that is neither a speck
    nor the scene; little of the frame's edge covered.

    Args:
        logits: [n h w]
        quality: predicted IoU [n]
    Returns:
        [n]; 0 for masks under 0.5 % or over 85 % of the area
    """
    n, height, width = logits.shape
    masks = (logits > 0).flatten(1).float()
    area = masks.mean(1)
    stability = (logits > 1).flatten(1).sum(1) / (logits > -1).flatten(1).sum(1).clamp(min=1)
    common = masks @ masks.T
    overlap = common / (masks.sum(1)[:, None] + masks.sum(1)[None] - common).clamp(min=1)
    agreement = overlap.topk(max(1, n // 4), dim=1).values.mean(1)
    y, x = torch.meshgrid(torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij")
    places = torch.stack([x.flatten(), y.flatten()], 1).to(masks)  # [h*w 2], -1..1
    centroid = masks @ places / masks.sum(1, keepdim=True).clamp(min=1)
    centred = torch.exp(-2.0 * centroid.square().sum(1))
    picture = masks.reshape(n, height, width)
    edges = [picture[:, 0], picture[:, -1], picture[:, :, 0], picture[:, :, -1]]
    edge = torch.cat(edges, 1).mean(1)
    sized = (area / 0.08).clamp(max=1).sqrt() * (area > 0.005) * (area < 0.85)
    return quality.clamp(0, 1) * stability * agreement.sqrt() * centred * sized * torch.exp(-3.0 * edge)


def _grid(count: int) -> np.ndarray:
    """Points in 0..1, count x count, closer together at the centre. [count*count 2]"""
    line = np.linspace(-1, 1, count)
    line = 0.5 + 0.42 * np.sign(line) * np.abs(line) ** 1.3
    return np.stack(np.meshgrid(line, line), -1).reshape(-1, 2)


def _solid(mask: np.ndarray) -> np.ndarray:
    """Without holes and crumbs: pieces smaller than a tenth of the largest go, holes smaller than a hundredth
    are filled.
    """
    pieces, count = ndimage.label(mask)
    if count == 0:
        return mask
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    kept = (sizes >= sizes.max() / 10)[pieces]
    holes, _ = ndimage.label(~kept)
    hole_sizes = np.bincount(holes.ravel())
    small = hole_sizes < kept.sum() / 100
    small[0] = False
    return kept | small[holes]


def main() -> None:
    """Command line of the one-off conversion."""
    parser = argparse.ArgumentParser(
        prog="python -m tasks.segmenters.sam", description=_sam_checkpoint.convert.__doc__
    )
    convert = parser.add_subparsers(dest="command", required=True).add_parser(
        "convert", help="official .pth to .safetensors"
    )
    convert.add_argument("pickled", type=Path)
    convert.add_argument("out", type=Path)
    args = parser.parse_args()
    try:
        _sam_checkpoint.convert(args.pickled, args.out)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
