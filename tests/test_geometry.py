"""Frames map places there and back."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_cellsam.geometry import Frame, boxes_to_xyxy, boxes_to_yxyx, hat_matrix

whole = st.integers(-2000, 2000)
length = st.integers(1, 3000)
place = st.floats(-5000, 5000, width=32)


@st.composite
def frames(draw):
    y0, x0, height, width = draw(whole), draw(whole), draw(length), draw(length)
    return Frame((y0, x0, y0 + height, x0 + width), (draw(length), draw(length)), draw(st.booleans()))


def _tolerance(frame):
    return 1e-2 * max(1, *(1 / z for z in frame.zoom))


@given(frames(), st.lists(st.tuples(place, place), min_size=1, max_size=5))
def test_points_go_to_the_picture_and_come_back(frame, points):
    points_yx = np.array(points, np.float32)
    back = frame.points_to_image(frame.points_to_picture(points_yx))
    assert np.abs(back - points_yx).max() < _tolerance(frame)


@given(frames(), st.tuples(place, place, place, place))
def test_edges_go_to_the_picture_and_come_back(frame, edges):
    edges_yxyx = np.array([edges], np.float32)
    back = frame.edges_to_image(frame.edges_to_picture(edges_yxyx))
    assert np.abs(back - edges_yxyx).max() < _tolerance(frame)


def test_x_comes_first_in_the_picture():
    frame = Frame((0, 0, 100, 100), (100, 100))
    assert frame.points_to_picture(np.array([[10.0, 20.0]], np.float32)).tolist() == [[20.0, 10.0]]
    assert frame.boxes_to_picture(np.array([[1.0, 2.0, 3.0, 4.0]], np.float32)).tolist() == [[2.0, 1.0, 4.0, 3.0]]
    assert frame.boxes_to_image(np.array([[2.0, 1.0, 4.0, 3.0]], np.float32)).tolist() == [[1.0, 2.0, 3.0, 4.0]]


def test_the_centre_of_a_frame_is_the_centre_of_its_picture():
    frame = Frame((10, 20, 14, 26), (8, 12))
    centre = np.array([[11.5, 22.5]], np.float32)
    assert frame.points_to_picture(centre).tolist() == [[5.5, 3.5]]


def test_without_the_half_pixel_coordinates_are_multiplied_only():
    frame = Frame((0, 0, 512, 256), (1024, 1024), half_pixel=False)
    assert frame.points_to_picture(np.array([[3.0, 5.0]], np.float32)).tolist() == [[20.0, 6.0]]


def test_the_region_of_a_frame_has_the_edges_of_its_picture():
    frame = Frame((10, 20, 110, 70), (300, 150))
    assert frame.edges_to_image(np.array([[0.0, 0.0, 150.0, 300.0]], np.float32)).tolist() == [[10, 20, 110, 70]]


def test_flipping_twice_changes_nothing():
    boxes = np.arange(8.0).reshape(2, 4)
    assert boxes_to_yxyx(boxes_to_xyxy(boxes)).tolist() == boxes.tolist()


def test_a_hat_matrix_repeats_samples_and_halves_the_way_between_them():
    matrix = hat_matrix(3, 0.0, 0.5, 5)
    assert (matrix @ np.array([0.0, 10.0, 20.0], np.float32)).tolist() == pytest.approx([0, 5, 10, 15, 20])


@given(st.integers(1, 20), st.floats(-30, 30), st.floats(0.01, 5), st.integers(1, 30))
def test_the_rows_of_a_hat_matrix_sum_to_one(n_in, start, step, n_out):
    assert np.allclose(hat_matrix(n_in, start, step, n_out).sum(1), 1, atol=1e-5)
