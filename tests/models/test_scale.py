"""The diameter of the cells is found by a detector that sees only cells near its own size."""

import numpy as np
import pytest

from napari_cellsam.models.scale import centre_region, search_diameter
from napari_cellsam.types import Detections

_NOMINAL = 30.0


class Looker:
    """Finds discs whose size in the picture is near the nominal one."""

    def __init__(self, diameter, seed=0, reach=2.2, n=40):
        rng = np.random.default_rng(seed)
        self.sides = diameter * rng.normal(1, 0.1, n).clip(0.7, 1.3)
        self.reach = reach
        self.zooms = []

    def __call__(self, zoom):
        self.zooms.append(zoom)
        octaves = np.abs(np.log2(self.sides * zoom / _NOMINAL))
        seen = octaves < np.log2(self.reach)
        sides = self.sides[seen]
        boxes = np.stack([0 * sides, 0 * sides, sides - 1, sides - 1], 1).astype(np.float32)
        return Detections(boxes, (0.95 - 0.3 * octaves[seen]).astype(np.float32)), 512.0 * 512.0


def ranking(look):
    """Return zoom and diameter of the best look and its rivals."""
    search = search_diameter(_NOMINAL)
    zoom = next(search)
    while True:
        try:
            zoom = search.send(look(zoom))
        except StopIteration as end:
            return end.value


def estimate_diameter(look):
    (_, diameter), *_ = ranking(look)
    return diameter


@pytest.mark.parametrize("diameter", [8, 12, 20, 30, 45, 80, 130, 200])
def test_the_diameter_is_found(diameter):
    assert estimate_diameter(Looker(diameter)) == pytest.approx(diameter, rel=0.1)


def test_cells_of_nominal_size_need_two_looks():
    look = Looker(30)
    estimate_diameter(look)
    assert look.zooms == [1.0, 0.5]


def test_no_cell_means_no_diameter():
    look = Looker(30, n=0)
    assert ranking(look) == []
    assert len(look.zooms) == len(set(look.zooms)) == 4


def test_small_debris_does_not_hide_large_cells():
    def look(zoom):
        sides = np.array([8.0] * 12 + [60.0] * 10)
        sure = np.where(np.abs(np.log2(sides * zoom / _NOMINAL)) < 1.2, [0.3] * 12 + [0.9] * 10, 0)
        boxes = np.stack([0 * sides, 0 * sides, sides - 1, sides - 1], 1).astype(np.float32)[sure > 0]
        return Detections(boxes, sure[sure > 0].astype(np.float32)), 1e5

    assert estimate_diameter(look) == pytest.approx(60, rel=0.1)


def test_the_middle_of_a_large_image_is_looked_at():
    assert centre_region((100, 400), 200) == (0, 100, 100, 300)


@pytest.mark.parametrize(
    ("score_of_large", "zooms"), [(0.95, [0.5]), (0.7, [0.5, 1.0]), (0.55, [1.0, 0.5]), (0.1, [1.0])]
)
def test_a_look_that_is_trusted_nearly_as_much_is_a_rival(score_of_large, zooms):
    def look(zoom):
        side, score = {1.0: (30.0, 0.8), 0.5: (60.0, score_of_large)}[zoom]
        boxes = np.tile(np.array([0, 0, side - 1, side - 1], np.float32), (20, 1))
        return Detections(boxes, np.full(20, score, np.float32)), 1e5

    assert ranking(look) == [(zoom, pytest.approx(30 / zoom)) for zoom in zooms]
