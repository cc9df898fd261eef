"""Cells that two queries answer for come once; cells that only touch or cross stay."""

from __future__ import annotations

import numpy as np
import pytest

from napari_cellsam.models.repeats import without_repeats
from napari_cellsam.types import Mask


def block(y: int, x: int, height: int, width: int, margin: int = 0) -> Mask:
    return Mask(np.pad(np.ones((height, width), bool), margin), (y - margin, x - margin), 0.9)


A, NEARLY_A = block(10, 10, 20, 20), block(12, 11, 20, 20, margin=3)


@pytest.mark.parametrize(
    ("found", "kept"),
    [
        ([], []),
        ([(A, 0.5), (NEARLY_A, 0.9)], [1]),
        ([(A, 0.9), (NEARLY_A, 0.5)], [0]),
        ([(A, 0.7), (A, 0.7)], [0]),
        ([(A, 0.5), (block(10, 30, 20, 20), 0.9)], [0, 1]),  # side by side
        ([(block(0, 10, 40, 6), 0.5), (block(17, 0, 6, 40), 0.9)], [0, 1]),  # crossing
        ([(block(10, 10, 5, 5), 0.5), (A, 0.9)], [0, 1]),  # one in the other: not the same
        ([(block(10, 10, 20, 20), 0.5), (block(10, 15, 20, 20), 0.6), (block(10, 20, 20, 20), 0.7)], [0, 2]),
    ],
)
def test_the_surest_of_each_cell_stays(found: list[tuple[Mask, float]], kept: list[int]) -> None:
    assert without_repeats(found) == [found[i] for i in kept]
