"""The ten classes as signed distance fields, in their own space: y up, nose to +z, standing on y = 0.

Every class function takes a point and four proportions in 0..1 and returns (distance, part). Limbs are mirrored by
|x|, and clusters of small parts are skipped while their bounding sphere is farther than what was found.
"""

from numba import njit

from tasks.toyworld.animals import cat, dog, duck
from tasks.toyworld.primitives import BODY, ball
from tasks.toyworld.things import car, chair, house, mushroom, robot, rocket, teapot

BALL = 10  # class id of the plain unit ball that tests march against


@njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def distance(cls, x, y, z, s0, s1, s2, s3):
    """Distance to class number `cls` and the nearest part."""
    if cls < 5:
        if cls == 0:
            return dog(x, y, z, s0, s1, s2, s3)
        if cls == 1:
            return cat(x, y, z, s0, s1, s2, s3)
        if cls == 2:
            return duck(x, y, z, s0, s1, s2, s3)
        if cls == 3:
            return car(x, y, z, s0, s1, s2, s3)
        return robot(x, y, z, s0, s1, s2, s3)
    if cls == 5:
        return teapot(x, y, z, s0, s1, s2, s3)
    if cls == 6:
        return mushroom(x, y, z, s0, s1, s2, s3)
    if cls == 7:
        return rocket(x, y, z, s0, s1, s2, s3)
    if cls == 8:
        return house(x, y, z, s0, s1, s2, s3)
    if cls == 9:
        return chair(x, y, z, s0, s1, s2, s3)
    return ball(x, y - 1.0, z, 1.0), BODY


# Bounding ball of each class for any proportions: height of its centre, radius (checked by a test).
BOUNDS = (
    (0.88, 1.24), (0.9, 1.09), (0.68, 1.14), (0.55, 1.2), (0.97, 1.05), (0.68, 1.24),
    (0.68, 0.98), (0.95, 1.24), (0.82, 1.2), (0.82, 1.08), (1.0, 1.01),
)  # fmt: skip


def face_points(cls: int, shape: tuple[float, ...]) -> dict[str, tuple[float, float, float]]:
    """Where the eyes and nose of a class sit, in its own space; empty for classes without a face."""
    longer = 0.14 * shape[1]
    if cls == 0:
        eye, nose = (0.145, 1.22 + longer, 0.86), (0.0, 1.08 + longer, 1.14)
    elif cls == 1:
        eye, nose = (0.175, 1.2, 0.515), (0.0, 1.085, 0.585)
    elif cls == 2:
        neck = 0.16 * shape[1]
        eye, nose = (0.2, 1.17 + neck, 0.7), (0.0, 0.98 + neck, 1.0)
    elif cls == 4:
        eye, nose = (0.13, 1.46, 0.3), (0.0, 1.29, 0.27)
    else:
        return {}
    right = (-eye[0], eye[1], eye[2])
    tip = {0: "nose", 1: "nose", 2: "beak", 4: "mouth"}[cls]
    return {"left_eye": eye, "right_eye": right, tip: nose}
