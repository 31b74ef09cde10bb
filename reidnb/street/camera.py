"""A camera of the street: its geometry, its exposure and colours, and its image degradation."""

from dataclasses import dataclass

import cv2
import numpy as np

from .mesh import Light

FRAME = (720, 960)
"""Height and width in pixels of a camera's full view."""


@dataclass(frozen=True)
class Camera:
    """One fixed camera. Axes: x to its right, y away from it along the ground, z up; it is above (0, 0)."""

    number: int
    seed: int  # of the scenery
    height: float  # metres above the ground
    pitch: float  # radians, downwards
    focal: float  # pixels
    near: float  # metres; people walk between near and far
    far: float
    light: Light
    cast: tuple[float, float, float]  # gain of red, green, blue
    gamma: float
    saturation: float
    detail: float  # resolution factor: 0.5 halves height and width
    blur: float  # standard deviation, in pixels of an image 128 high
    noise: float  # standard deviation, on the scale 0 to 255
    quality: int  # JPEG quality

    @property
    def eye(self) -> np.ndarray:
        """The camera's position, (3,) in metres."""
        return np.array([0, 0, self.height])

    @property
    def rotation(self) -> np.ndarray:
        """World to camera rotation (3, 3); its rows point to the image's right, down, and along the optical axis."""
        c, s = np.cos(self.pitch), np.sin(self.pitch)
        return np.array([[1, 0, 0], [0, -s, -c], [0, c, -s]])

    def project(self, points: np.ndarray) -> np.ndarray:
        """World ``points`` (..., 3) to pixels (..., 2) of the full view."""
        in_camera = (points - self.eye) @ self.rotation.T
        depth = np.maximum(in_camera[..., 2:], 0.05)
        return self.focal * in_camera[..., :2] / depth + np.array([FRAME[1] / 2, FRAME[0] / 2])


_CASTS = [(1.0, 1.0, 1.0), (1.08, 1.0, 0.89), (0.91, 0.99, 1.10), (0.97, 1.04, 0.95), (1.04, 0.97, 1.03)]


def cameras(number: int, seed: int) -> list[Camera]:
    """``number`` cameras, each with its own view, light and degradation. Depends on ``seed`` and ``number`` only."""
    result = []
    first = int(np.random.default_rng([seed, 70]).integers(len(_CASTS)))
    for index in range(number):
        rng = np.random.default_rng([seed, 71, index])
        near = float(rng.uniform(5.5, 7.5))
        far = near + 3.0
        height = float(rng.uniform(2.0, 3.6))
        azimuth, elevation = rng.uniform(0, 2 * np.pi), rng.uniform(0.6, 1.1)
        sun = (np.cos(azimuth) * np.cos(elevation), np.sin(azimuth) * np.cos(elevation), np.sin(elevation))
        direct = float(rng.uniform(0.15, 0.55))
        cast = np.array(_CASTS[(first + index) % len(_CASTS)]) * rng.uniform(0.96, 1.04, 3)
        result.append(
            Camera(
                number=index + 1,
                seed=int(rng.integers(2**31)),
                height=height,
                pitch=float(np.arctan2(height - 0.95, (near + far) / 2)),
                focal=float(FRAME[0] * rng.uniform(1.15, 1.3)),
                near=near,
                far=far,
                light=Light(tuple(float(c) for c in sun), direct, 1.02 - 0.62 * direct),
                cast=tuple(float(c) for c in cast),
                gamma=float(rng.uniform(0.87, 1.15)),
                saturation=float(rng.uniform(0.8, 1.15)),
                detail=float(rng.choice([1.0, 0.75, 0.55])),
                blur=float(rng.uniform(0.2, 0.7)),
                noise=float(rng.uniform(1.5, 5.5)),
                quality=int(rng.integers(62, 93)),
            )
        )
    return result


def expose(image: np.ndarray, camera: Camera, gain: float, smear: float, rng: np.random.Generator) -> np.ndarray:
    """The scene (H, W, 3) uint8 RGB as ``camera`` records it, before the JPEG; same shape.

    ``gain`` is the exposure factor (normally 1), ``smear`` the horizontal motion blur in pixels of an image 128 high.
    """
    height, width = image.shape[:2]
    scale = height / 128
    light = (image.astype(np.float32) / 255) ** camera.gamma
    light *= np.float32(gain) * np.array(camera.cast, np.float32)
    grey = light.mean(axis=2, keepdims=True)
    light = grey + np.float32(camera.saturation) * (light - grey)
    if camera.detail < 1:
        small = (max(round(width * camera.detail), 8), max(round(height * camera.detail), 16))
        light = cv2.resize(cv2.resize(light, small, interpolation=cv2.INTER_AREA), (width, height))
    light = cv2.GaussianBlur(light, (0, 0), max(camera.blur * scale, 0.15))
    if smear * scale >= 1.5:
        length = round(smear * scale)
        light = cv2.blur(light, (length, 1))
    grain = rng.normal(0, camera.noise / 255, (height, width, 1)) + rng.normal(0, camera.noise / 400, light.shape)
    return np.clip((light + grain) * 255 + 0.5, 0, 255).astype(np.uint8)


def compress(image: np.ndarray, quality: int) -> bytes:
    """The image (H, W, 3) uint8 RGB, encoded as JPEG."""
    return cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
