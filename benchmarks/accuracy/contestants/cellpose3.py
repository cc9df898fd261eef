# /// script
# requires-python = ">=3.11,<3.13"
# dependencies = ["cellpose>=3.1,<4", "numpy"]
# ///
"""Cellpose 3: a residual U-Net that predicts flows (Stringer et al., Nature Methods 2021), by its own training code.

Its defaults: 224-pixel crops of pictures scaled to a diameter of 30 pixels, AdamW at 0.005, batches of 8; the number of
epochs follows from the measured time of one. It is told the true median diameter of each test picture.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from cellpose import dynamics, models, train
from job import Job, run

_EPOCH = 32  # pictures
_NAME = "contestant"


def learn(job: Job) -> int:
    """Train from random weights."""
    pictures = list(job.pictures("train"))
    greys = [picture["grey"] for picture in pictures]
    model = models.CellposeModel(gpu=False, pretrained_model=False)
    labels = [picture["labels"] for picture in pictures]
    flows = dynamics.labels_to_flows(labels, device=model.device)  # outside of the budget
    options: dict[str, Any] = {"channels": [0, 0], "nimg_per_epoch": _EPOCH, "save_path": job.weights}
    net = model.net
    prepared = _seconds(lambda: train.train_seg(net, greys, flows, n_epochs=0, model_name=_NAME, **options))
    both = _seconds(lambda: train.train_seg(net, greys, flows, n_epochs=1, model_name=_NAME, **options))  # at rate 0
    n_epochs = max(round(60 * job.minutes / max(both - prepared, 0.1)), 1)
    train.train_seg(net, greys, flows, n_epochs=n_epochs, model_name=_NAME, **options)
    return n_epochs * _EPOCH // 8


def _seconds(work: Callable[[], object]) -> float:
    begun = time.monotonic()
    work()
    return time.monotonic() - begun


def load(job: Job) -> Callable[[dict[str, Any]], Any]:
    """Return the trained model."""
    model = models.CellposeModel(gpu=False, pretrained_model=str(job.weights / "models" / _NAME))

    def segment(picture: dict[str, Any]) -> Any:
        diameter = float(picture["diameter"]) or 30.0
        return np.asarray(model.eval(picture["grey"], channels=[0, 0], diameter=diameter)[0])

    return segment


if __name__ == "__main__":
    run(learn, load)
