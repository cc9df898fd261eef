# /// script
# requires-python = ">=3.11,<3.13"
# dependencies = ["stardist>=0.9", "tensorflow-cpu>=2.16", "numpy"]
# ///
"""StarDist: star-convex polygons from a U-Net (Schmidt et al., MICCAI 2018), by its own training code.

As in its example for 2D: 32 rays on a grid of 2, patches of 256 pixels, batches of 4, percentile normalization, flips,
turns, and changes of intensity; thresholds are chosen on a tenth of the training pictures that is kept for that.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from csbdeep.utils import normalize
from job import Job, run
from stardist.models import Config2D, StarDist2D

_PATCH = 256
_NAME = "contestant"


class _Stop(keras.callbacks.Callback):  # type: ignore[misc]
    """Ends a training when its time is over."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._seconds, self._begun, self.steps = seconds, 0.0, 0

    def on_train_batch_end(self, batch: int, logs: object = None) -> None:  # noqa: ARG002 - keras' signature
        if not self.steps:
            self._begun = time.monotonic()  # behind the first step, which compiles
        self.steps += 1
        if time.monotonic() - self._begun > self._seconds:
            self.model.stop_training = True


def learn(job: Job) -> int:
    """Train from random weights."""
    pictures = [(_normalized(p["grey"]), p["labels"]) for p in job.pictures("train")]
    order = np.random.default_rng(0).permutation(len(pictures))
    n_kept = max(len(pictures) // 10, 1)
    kept, others = [pictures[i] for i in order[:n_kept]], [pictures[i] for i in order[n_kept:]]
    config = Config2D(
        n_rays=32, grid=(2, 2), n_channel_in=1, train_patch_size=(_PATCH, _PATCH), train_tensorboard=False
    )
    model = StarDist2D(config, name=_NAME, basedir=str(job.weights))
    model.prepare_for_training()
    stop = _Stop(60 * job.minutes)
    model.callbacks.append(stop)
    model.train(
        *_padded(others), validation_data=_padded(kept), augmenter=_augment, epochs=100_000, steps_per_epoch=100, seed=0
    )
    model.optimize_thresholds(*_padded(kept))
    return stop.steps


def load(job: Job) -> Callable[[dict[str, Any]], Any]:
    """Return the trained model."""
    model = StarDist2D(None, name=_NAME, basedir=str(job.weights))

    def segment(picture: dict[str, Any]) -> Any:
        return model.predict_instances(_normalized(picture["grey"]))[0]

    return segment


def _normalized(grey: Any) -> Any:
    return normalize(grey, 1, 99.8).astype(np.float32)


def _padded(pictures: list[tuple[Any, Any]]) -> tuple[list[Any], list[Any]]:
    """Return pictures and labels, each at least as large as a patch."""
    parts: tuple[list[Any], list[Any]] = [], []
    for grey, labels in pictures:
        pad = [(0, max(_PATCH - n, 0)) for n in labels.shape]
        parts[0].append(np.pad(grey, pad, mode="reflect"))
        parts[1].append(np.pad(labels, pad, mode="reflect"))
    return parts


def _augment(x: Any, y: Any) -> tuple[Any, Any]:
    """Return a patch and its labels flipped and turned, in other light, with some noise."""
    k, flip = np.random.randint(4), np.random.rand() < 0.5  # noqa: NPY002 - StarDist seeds numpy's own
    x, y = np.rot90(x, k), np.rot90(y, k)
    if flip:
        x, y = x[::-1], y[::-1]
    x = x * np.random.uniform(0.6, 2) + np.random.uniform(-0.2, 0.2)  # noqa: NPY002
    sigma = 0.02 * np.random.uniform(0, 1)  # noqa: NPY002
    return x + sigma * np.random.normal(0, 1, x.shape), y  # noqa: NPY002


if __name__ == "__main__":
    run(learn, load)
