"""Cells become a segmentation, each once, however often a service began anew."""

import numpy as np
import pytest

from napari_cellsam.errors import MessageError
from napari_cellsam.service.gathering import Gathering
from napari_cellsam.types import Cell, Mask


def cell(y, x, height=2, width=3, score=0.5):
    return Cell(Mask(np.ones((height, width), bool), (y, x), 0.25), score)


def put_together(on_cells, *cells):
    gathering = Gathering((4, 6), on_cells)
    gathering.add(cells)
    return gathering.segmentation(len(cells), None, ())


def test_cells_are_numbered_as_they_came():
    gathering = Gathering((4, 6))
    gathering.add([cell(0, 0, score=0.9)])
    gathering.add([cell(2, 3, score=0.6)])
    result = gathering.segmentation(2, 12.0, ("a note",))
    np.testing.assert_array_equal(
        result.labels, [[1, 1, 1, 0, 0, 0], [1, 1, 1, 0, 0, 0], [0, 0, 0, 2, 2, 2], [0, 0, 0, 2, 2, 2]]
    )
    assert result.labels.dtype == np.uint32
    np.testing.assert_array_equal(result.boxes, np.array([[0, 0, 1, 2], [2, 3, 3, 5]], np.float32))
    np.testing.assert_array_equal(result.scores, np.array([0.9, 0.6], np.float32))
    np.testing.assert_array_equal(result.predicted_iou, np.array([0.25, 0.25], np.float32))
    assert (result.diameter, result.notes) == (12.0, ("a note",))


def test_no_cells_are_an_empty_segmentation():
    result = Gathering((3, 4)).segmentation(0, None, ())
    assert not result.labels.any()
    assert (result.boxes.shape, result.n_cells) == ((0, 4), 0)


def test_the_cells_of_an_answer_that_broke_off_do_not_count():
    gathering = Gathering((4, 6))
    gathering.add([cell(0, 0)])
    gathering.add([cell(0, 1), cell(2, 3)])  # the same cell, as another device computes it
    np.testing.assert_array_equal(gathering.segmentation(2, None, ()).boxes[:, :2], [[0, 1], [2, 3]])


def test_a_cell_is_not_handed_over_twice():
    handed = []
    gathering = Gathering((4, 6), handed.append)
    gathering.add([cell(0, 0)])
    gathering.add([cell(0, 0)])
    gathering.add([cell(0, 1), cell(2, 3)])
    assert [[found.mask.corner for found in cells] for cells in handed] == [[(0, 0)], [(2, 3)]]


def test_fewer_cells_than_were_announced_are_an_error():
    gathering = Gathering((4, 6))
    gathering.add([cell(0, 0)])
    for n_cells in (2, -1):
        with pytest.raises(MessageError, match=f"found {n_cells} cells, but it sent 1"):
            gathering.segmentation(n_cells, None, ())


def test_cells_that_share_pixels_are_an_error():
    gathering = Gathering((4, 6))
    gathering.add([cell(0, 0), cell(1, 1)])
    with pytest.raises(MessageError, match="share pixels"):
        gathering.segmentation(2, None, ())


@pytest.mark.parametrize("corner", [(3, 0), (0, 4), (-1, 0), (0, -1), (40, 40), (-9, -9)])
@pytest.mark.parametrize("on_cells", [None, list])
def test_a_cell_beyond_the_image_is_an_error(corner, on_cells):
    with pytest.raises(MessageError, match="beyond the image"):
        put_together(on_cells, cell(*corner))


def test_a_cell_without_pixels_is_an_error():
    with pytest.raises(MessageError, match="without pixels"):
        put_together(None, Cell(Mask(np.zeros((1, 1), bool), (0, 0), 0.5), 0.5))
