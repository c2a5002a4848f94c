"""The camera, and individuals placed on the ground."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tasks.toyworld.identity import Identity


@dataclass(frozen=True)
class Camera:
    """A pinhole camera; world frame y up. Image frame: u right, v down, origin top left."""

    position: tuple[float, float, float]
    yaw_deg: float  # around the subject; 0 looks along -z
    elevation_deg: float  # above the horizon; looks down by as much
    focal: float  # focal length in half picture heights

    def axes(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Right, up and forward as unit vectors, [3] each."""
        a, e = math.radians(self.yaw_deg), math.radians(self.elevation_deg)
        forward = -np.array([math.sin(a) * math.cos(e), math.sin(e), math.cos(a) * math.cos(e)])
        right = np.array([math.cos(a), 0.0, -math.sin(a)])
        return right, np.cross(right, forward), forward

    def intrinsics(self, size_px: int) -> np.ndarray:
        """K, [3 3]: camera frame (x right, y down, z forward) to pixels."""
        half = size_px / 2
        return np.array([[self.focal * half, 0, half], [0, self.focal * half, half], [0, 0, 1.0]])

    def extrinsics(self) -> np.ndarray:
        """World to camera frame (x right, y down, z forward), [4 4]."""
        right, up, forward = self.axes()
        matrix = np.eye(4)
        matrix[:3, :3] = right, -up, forward
        matrix[:3, 3] = -matrix[:3, :3] @ np.array(self.position)
        return matrix

    def project(self, points: np.ndarray, size_px: int) -> np.ndarray:
        """World points [n 3] to [n 3]: u, v in px and depth along the axis."""
        local = np.asarray(points) @ self.extrinsics()[:3, :3].T + self.extrinsics()[:3, 3]
        pixels = local @ self.intrinsics(size_px).T
        return np.concatenate([pixels[:, :2] / pixels[:, 2:], local[:, 2:]], axis=1)


@dataclass(frozen=True)
class Placed:
    """An individual standing on the ground."""

    identity: Identity
    x: float
    z: float
    yaw_deg: float  # 0: nose towards +z
    scale: float

    def world(self, points: np.ndarray) -> np.ndarray:
        """Points of the object's own space, [n 3], in the world."""
        a = math.radians(self.yaw_deg)
        turn = np.array([[math.cos(a), 0, math.sin(a)], [0, 1, 0], [-math.sin(a), 0, math.cos(a)]])
        return self.scale * np.asarray(points) @ turn.T + np.array([self.x, 0.0, self.z])
