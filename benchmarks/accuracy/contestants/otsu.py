"""Otsu's threshold and a watershed on the distance to the background, with scikit-image: nothing is learned."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from job import Job, run
from scipy.ndimage import distance_transform_edt, label
from skimage.feature import peak_local_max
from skimage.filters import gaussian, threshold_otsu
from skimage.segmentation import watershed


def learn(job: Job) -> int:  # noqa: ARG001 - of no job
    """Learn nothing."""
    return 0


def load(job: Job) -> Callable[[dict[str, Any]], Any]:  # noqa: ARG001
    """Return the segmentation."""
    return segment


def segment(picture: dict[str, Any]) -> Any:
    """Return labels; where most of a picture is bright, cells are what is dark."""
    grey = gaussian(picture["grey"], 1)
    if grey.min() == grey.max():
        return np.zeros(grey.shape, np.int32)
    mask = grey > threshold_otsu(grey)
    mask = ~mask if mask.mean() > 0.5 else mask
    depth = distance_transform_edt(mask)
    seeds = np.zeros(grey.shape, bool)
    seeds[tuple(peak_local_max(depth, min_distance=5, labels=label(mask)[0]).T)] = True
    return watershed(-depth, label(seeds)[0], mask=mask)


if __name__ == "__main__":
    run(learn, load)
