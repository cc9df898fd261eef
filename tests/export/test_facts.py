"""What a file's cells are of, by its name."""

from __future__ import annotations

from pathlib import Path

import pytest

from napari_cellsam.export.facts import name_of


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("day 1_labels.tif", "day 1"),
        ("exp1.A_labels.tif", "exp1.A"),
        ("exp1.B_labels.OME.TIF", "exp1.B"),
        ("dots.v1_cp_masks.tif", "dots.v1"),
        ("a.b.ome.zarr", "a.b"),
        ("plain", "plain"),
    ],
)
def test_dots_in_names_stay(file, expected):
    assert name_of(Path(file)) == expected
