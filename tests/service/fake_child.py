"""A local service whose model needs no torch; run as a program. It takes all bright pixels for one cell."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from napari_cellsam.models.steps import Advance, Found
from napari_cellsam.service.child import run
from napari_cellsam.service.core import Service
from napari_cellsam.service.limits import Limits
from napari_cellsam.service.model_pool import ModelPool
from napari_cellsam.types import Cell, Detections, Mask


class BrightModel:
    """Segments when the file that GATE names is there; dies of a black image.

    It loses its device once if LOSE names a file, which is made then.
    """

    weights_id = "bright"
    backend = SimpleNamespace(can_detect=True, grid_side=64)

    def detect_steps(self, image, box_score=None):
        yield None
        lost = os.environ.get("LOSE")
        if lost and not Path(lost).exists():
            Path(lost).touch()
            raise RuntimeError("CUDA error: unknown error")
        return Detections(np.array([[0, 0, *image.shape]], np.float32), np.array([0.9], np.float32))

    def segment_steps(self, image, options=None):
        yield Advance("waiting", 0, 1)
        bright = image.pixels[..., 0] > 0
        if not bright.any():
            sys.stderr.write("a black image, aargh\n")
            sys.stderr.flush()
            os._exit(9)
        while not Path(os.environ["GATE"]).exists():
            time.sleep(0.01)
            yield None
        yield Found((Cell(Mask(corner=(0, 0), crop=bright, score=0.8), 0.9),))
        return SimpleNamespace(diameter=None, notes=())

    def ask(self, prompts, options=None, *, logits=False):
        return prompts

    def prompt_steps(self, image, asks):
        yield None
        return [[Mask(corner=(0, 0), crop=image.pixels[..., 0] >= 0, score=0.8) for _ in prompts] for prompts in asks]


def build(options):
    """Make the service."""
    pool = ModelPool(("bright",), loader=lambda *_, **__: BrightModel())
    return Service(pool, Limits(disk_bytes=0), private=True)


if __name__ == "__main__":
    sys.exit(run(build))
