"""Our compact model: by the recipe of the shipped weights, or these weights themselves.

It is judged on the same grey pictures as all contestants, and estimates their cells' diameters. It learns from the
same files as they do, but in colour where they have some, as the recipe says.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from job import Job, run

from napari_cellsam.data.augment import AugmentOptions
from napari_cellsam.engine import load_model
from napari_cellsam.training.crops import CropOptions
from napari_cellsam.training.release import save_release
from napari_cellsam.training.train import TrainOptions, train
from napari_cellsam.types import Image

_FILE = "compact.safetensors"


def learn(job: Job) -> int:
    """Train from random weights."""
    steps = 0

    def count(progress: Any) -> None:
        nonlocal steps
        steps = progress.step

    crops = CropOptions(augment=AugmentOptions())
    options = TrainOptions(job.folder / "data", job.weights, minutes=job.minutes, crops=crops)
    save_release(train(options, on_progress=count), job.weights / _FILE)
    return steps


def load(job: Job) -> Callable[[dict[str, Any]], Any]:
    """Return the trained model, or the shipped one where nothing was trained."""
    trained = job.weights / _FILE
    model = load_model(str(trained) if trained.is_file() else "compact")

    def segment(picture: dict[str, Any]) -> Any:
        model.forget()
        return model.segment(Image(picture["grey"][..., None], cell=0)).labels

    return segment


if __name__ == "__main__":
    run(learn, load)
