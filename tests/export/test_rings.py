"""Lines around cells, filled again, give back the cells; runs, encoded and decoded, do too."""

import numpy as np
import shapely
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from napari_cellsam.export.filling import fill_polygons
from napari_cellsam.export.rings import group_rings, trace_rings
from napari_cellsam.export.rle import decode_runs, encode_runs
from napari_cellsam.export.runs import find_runs, paint_runs

LABELS = arrays(np.uint32, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=9), elements=st.integers(0, 3))


@given(LABELS)
def test_filling_the_lines_around_cells_gives_back_the_cells(labels):
    polygons = [(label, [ring for piece in own for ring in piece]) for label, own in group_rings(trace_rings(labels))]
    np.testing.assert_array_equal(fill_polygons(polygons, labels.shape), labels)


@given(LABELS)
def test_every_piece_is_a_valid_polygon_around_its_pixels(labels):
    areas = {}
    for label, pieces in group_rings(trace_rings(labels)):
        polygons = [shapely.Polygon(piece[0], piece[1:]) for piece in pieces]
        assert all(polygon.is_valid for polygon in polygons)
        areas[label] = sum(polygon.area for polygon in polygons)
    assert areas == {int(label): (labels == label).sum() for label in np.unique(labels[labels > 0])}


@given(LABELS)
def test_decoding_what_was_encoded_gives_back_the_cells(labels):
    encoded = list(encode_runs(find_runs(labels), labels.size))
    runs = decode_runs([label for label, _ in encoded], [counts for _, counts in encoded], labels.shape)
    turned = np.zeros(labels.shape[::-1], np.uint32)
    paint_runs(runs, turned)
    np.testing.assert_array_equal(turned.T, labels)


def test_images_of_many_parts_are_traced_as_one():
    labels = np.zeros((1100, 2100), np.uint32)
    labels[500:530, 1000:1040] = 1  # over the borders between parts
    labels[510:515, 1010:1030] = 0
    rings = trace_rings(labels)
    assert rings.areas.tolist() == [1200, -100]
    assert len(find_runs(labels).labels) == 40 + 20


def test_a_smaller_cell_keeps_its_pixels_within_a_larger_one():
    square = np.array([[0, 0], [0, 6], [6, 6], [6, 0]])
    filled = fill_polygons([(1, [square / 3 + 2]), (2, [square])], (6, 6))
    assert (filled == 1).sum() == 4 and (filled == 2).sum() == 32


def test_parts_beyond_the_image_are_cut_off():
    square = np.array([[-3, -3], [-3, 2], [2, 2], [2, -3]])
    assert fill_polygons([(1, [square])], (4, 4)).sum() == 4
