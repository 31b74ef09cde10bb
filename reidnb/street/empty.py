"""The street without people, as the cameras of a data set see it."""

import json
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import ArrayLike

from .camera import cameras, compress
from .scene import Moment, render


def empty_street(folder: str | Path, camids: ArrayLike, *, seed: int = 0) -> np.ndarray:
    """What each of ``camids`` (N,) of a street sees at a random place where nobody walks: (N, H, W, 3) uint8.

    The box is that of an average person at this place, and the image has the camera's exposure, noise and compression.
    Raises FileNotFoundError if ``folder`` holds no street, ValueError for a camera that the street does not have.
    """
    path = Path(folder).expanduser() / "street.json"
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: {folder} is not a synthetic street")
    parameters = json.loads(path.read_text())
    views = {camera.number: camera for camera in cameras(parameters["cameras"], parameters["seed"])}
    images = np.empty((len(camids), *parameters["size"], 3), np.uint8)
    for number, camid in enumerate(np.asarray(camids).tolist()):
        if camid not in views:
            raise ValueError(f"the street in {folder} has no camera {camid}: its cameras are 1 to {len(views)}")
        camera, rng = views[camid], np.random.default_rng([seed, 8, camid, number])
        place = float(rng.uniform(-1.6, 1.6)), float(rng.uniform(camera.near, camera.far))
        moment = Moment(place=place, seed=int(rng.integers(2**31)))
        image = compress(render(None, camera, moment, tuple(parameters["size"])).image, camera.quality)
        images[number] = cv2.imdecode(np.frombuffer(image, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    return images
