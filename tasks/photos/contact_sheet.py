"""One picture of a whole set: each photo, where its subject was seen, and what was cut out."""

import numpy as np
from PIL import Image

from tasks.photos.crop import Box
from tasks.shared import images

SUBJECT, FRAME = np.array([255, 0, 140], np.float32), (0, 150, 255)  # colours that photos rarely have
TINT = 0.45
GROUPS = 2  # photos beside each other once they are many
MANY = 8


def row(photo: np.ndarray, mask: np.ndarray, place: Box, crop: np.ndarray, cell_px: int) -> list[np.ndarray]:
    """The three cells of a photo.

    Args:
        place: the crop's square in the photo's frame; it may leave the photo.
    Returns:
        photo, photo with mask and square, crop; each [cell cell 3]
    """
    return [_fitted(photo, cell_px), _fitted(_marked(photo, mask, place), cell_px), _fitted(crop, cell_px)]


def sheet(rows: list[list[np.ndarray]]) -> np.ndarray:
    """Lay the rows out, in two columns when there are many."""
    groups = GROUPS if len(rows) > MANY else 1
    joined = [[cell for row in rows[at : at + groups] for cell in row] for at in range(0, len(rows), groups)]
    return images.grid(joined, gap_px=4)


def _marked(photo: np.ndarray, mask: np.ndarray, place: Box) -> np.ndarray:
    marked = photo.copy()
    marked[mask] = ((1 - TINT) * photo[mask] + TINT * SUBJECT).astype(np.uint8)
    height, width = mask.shape
    thick = max(1, round(max(height, width) / 150))
    x0, y0, x1, y1 = max(place[0], 0), max(place[1], 0), min(place[2], width), min(place[3], height)
    for line in (np.s_[y0 : y0 + thick, x0:x1], np.s_[y1 - thick : y1, x0:x1], np.s_[y0:y1, x0 : x0 + thick],
                 np.s_[y0:y1, x1 - thick : x1]):  # fmt: skip
        marked[line] = FRAME
    return marked


def _fitted(pixels: np.ndarray, cell_px: int) -> np.ndarray:
    """The picture as large as the cell allows, in the middle of a white square."""
    height, width = pixels.shape[:2]
    scale = cell_px / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    cell = Image.new("RGB", (cell_px, cell_px), "white")
    cell.paste(
        Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS),
        ((cell_px - size[0]) // 2, (cell_px - size[1]) // 2),
    )
    return np.asarray(cell)
