"""Shapes in the exported table are scikit-image's, cell by cell."""

import numpy as np
import pytest
from scipy import ndimage
from skimage.measure import regionprops_table
from tests.export.scenes import SCENES, make_scene

from napari_cellsam.export import shapes
from napari_cellsam.export.cell_set import CellSet
from napari_cellsam.export.measurements import tabulate
from napari_cellsam.measure import measure_cells

NAMES = {
    "equivalent_diameter_px": "equivalent_diameter_area",
    "axis_major_length_px": "axis_major_length",
    "axis_minor_length_px": "axis_minor_length",
    "perimeter_px": "perimeter",
    "eccentricity": "eccentricity",
    "orientation": "orientation",
}
LENGTHS = [name for name in NAMES.values() if name.startswith(("axis", "equivalent"))]
SIZE_UM = (0.25, 0.5)


def blobs():
    """Cells with holes and bays, many of them at the border."""
    return ndimage.label(ndimage.gaussian_filter(np.random.default_rng(0).normal(size=(190, 210)), 3) > 0.02)[0]


def tissue():
    """Cells that touch each other all around, some in the far corner of a larger image."""
    seeds = np.zeros((160, 140), bool)
    seeds[tuple(np.random.default_rng(1).integers(0, 140, (2, 80)))] = True
    nearest = ndimage.distance_transform_edt(~seeds, return_indices=True, return_distances=False)
    return np.pad(ndimage.label(seeds)[0][tuple(nearest)], ((900, 0), (700, 0)))


def crumbs():
    """Cells of many pieces, the numbers with gaps."""
    return np.random.default_rng(2).choice([0, 0, 0, 0, 3, 4, 9, 700], (23, 31))


def lines():
    labels = np.zeros((12, 14), int)
    labels[0, 2:9] = 1
    labels[2:9, 0] = 2
    labels[2:10, 3:11][np.eye(8, dtype=bool)] = 3
    labels[2:10, 6:14][np.eye(8, dtype=bool)[::-1]] = 4
    labels[11, 13] = 5
    labels[11, :2] = 6
    return labels


def assert_same_shapes(labels):
    measured = tabulate(CellSet.from_array(labels))
    expected = regionprops_table(labels, properties=("label", *NAMES.values()))
    assert measured["label"] == expected["label"].tolist()
    for ours, theirs in NAMES.items():
        off = np.abs(measured[ours] - expected[theirs])
        if theirs == "orientation":
            off = np.minimum(off, np.pi - off)
            off[expected["eccentricity"] < 1e-4] = 0  # those of one that is as long as wide is what rounding makes it
        assert off.max(initial=0) < 1e-4, ours


@pytest.mark.parametrize("make", [blobs, tissue, crumbs, lines])
def test_shapes_are_those_of_scikit_image(make):
    assert_same_shapes(make())


@pytest.mark.parametrize("scene", [name for name in SCENES if not name.startswith(("a stack", "more", "numbers"))])
def test_shapes_of_hard_cells_are_those_of_scikit_image(scene):
    assert_same_shapes(make_scene(scene).labels.astype(int))


@pytest.mark.parametrize("seed", range(20))
def test_shapes_of_small_cells_are_those_of_scikit_image(seed):
    rng = np.random.default_rng(seed)
    assert_same_shapes(rng.integers(0, 4, rng.integers(1, 9, 2)))


def test_shapes_do_not_depend_on_what_is_looked_at_together(monkeypatch):
    whole = tabulate(CellSet.from_array(blobs()))
    monkeypatch.setattr(shapes, "_ROWS", 1)
    assert tabulate(CellSet.from_array(blobs())) == whole


def test_lengths_in_micrometres_know_that_pixels_are_not_square():
    labels = blobs()
    table = tabulate(CellSet.from_array(labels, pixel_size_um=SIZE_UM))
    expected = regionprops_table(labels, properties=LENGTHS, spacing=SIZE_UM)
    for name in LENGTHS:
        ours = name.removesuffix("_area") + "_um"
        np.testing.assert_allclose(table[ours], expected[name], atol=1e-5)


def test_without_a_pixel_size_there_are_no_micrometres():
    assert not [name for name in tabulate(CellSet.from_array(lines())) if name.endswith("_um")]


def test_the_exported_table_says_what_measuring_says():
    table = tabulate(CellSet.from_array(tissue(), pixel_size_um=SIZE_UM))
    measured = measure_cells(tissue(), pixel_size_um=SIZE_UM)
    assert set(measured) - set(table) == {"solidity"}, "a hull for each of 100,000 cells takes minutes"
    for name in set(measured) & set(table):
        np.testing.assert_allclose(table[name], measured[name], atol=6e-4, err_msg=name)


def test_no_number_of_the_table_is_minus_zero():
    table = tabulate(CellSet.from_array(blobs()))
    assert not [name for name in NAMES if np.signbit(np.array(table[name])[np.array(table[name]) == 0]).any()]
