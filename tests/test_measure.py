"""Measurements of shapes that are known."""

from __future__ import annotations

import numpy as np
import pytest

from napari_cellsam.errors import ImageShapeError, OptionError
from napari_cellsam.measure import measure_cells
from napari_cellsam.types import Image


def disc(radius=40):
    y, x = np.ogrid[-50:51, -50:51]
    return (y * y + x * x <= radius * radius).astype(np.uint32)


def rectangle(height, width):
    labels = np.zeros((40, 60), np.uint32)
    labels[5 : 5 + height, 10 : 10 + width] = 1
    return labels


@pytest.fixture
def two_cells():
    labels = np.zeros((6, 8), np.uint32)
    labels[1:3, 1:4] = 7
    labels[4, 5:8] = 900
    return labels


def test_a_row_is_a_cell_by_rising_label_and_gaps_are_no_cells(two_cells):
    columns = measure_cells(two_cells)
    assert columns["label"].tolist() == [7, 900]
    assert columns["area_px"].tolist() == [6, 3]
    assert {len(column) for column in columns.values()} == {2}


def test_centroids_count_from_the_centre_of_the_first_pixel(two_cells):
    columns = measure_cells(two_cells)
    assert columns["centroid_y"].tolist() == [1.5, 4.0]
    assert columns["centroid_x"].tolist() == [2.0, 6.0]


def test_a_disc_has_its_diameter_its_perimeter_and_no_eccentricity():
    columns = {name: column[0] for name, column in measure_cells(disc()).items()}
    assert columns["equivalent_diameter_px"] == pytest.approx(80, rel=0.01)
    assert columns["perimeter_px"] == pytest.approx(2 * np.pi * 40, rel=0.05)
    assert columns["eccentricity"] == pytest.approx(0, abs=0.02)
    assert columns["solidity"] > 0.97


@pytest.mark.parametrize("height", [2, 10, 20])
def test_a_rectangle_has_the_eccentricity_of_the_ellipse_of_its_moments(height):
    expected = np.sqrt(1 - (height**2 - 0) / 40**2)
    assert measure_cells(rectangle(height, 40))["eccentricity"][0] == pytest.approx(expected, abs=0.005)


def test_a_cell_with_a_bay_is_less_solid_than_one_without():
    labels = rectangle(20, 20)
    labels[10:20, 15:30] = 0
    full, bay = measure_cells(rectangle(20, 20)), measure_cells(labels)
    assert full["solidity"][0] == 1
    assert bay["solidity"][0] < 0.9


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (2, 2)])
def test_the_smallest_cells_are_measured_without_a_warning(shape):
    columns = measure_cells(rectangle(*shape))
    assert columns["area_px"][0] == shape[0] * shape[1]
    assert all(np.isfinite(column).all() for column in columns.values())


def test_a_cell_of_two_pieces_is_one_cell():
    labels = rectangle(4, 4)
    labels[30:34, 40:44] = 1
    columns = measure_cells(labels)
    assert columns["area_px"].tolist() == [32]
    assert columns["solidity"][0] < 0.2


def test_areas_and_diameters_are_in_micrometres_where_the_pixel_has_a_size(two_cells):
    columns = measure_cells(two_cells, pixel_size_um=(0.5, 0.2))
    assert columns["area_um2"].tolist() == pytest.approx([0.6, 0.3])
    assert columns["equivalent_diameter_um"][0] == pytest.approx(2 * np.sqrt(0.6 / np.pi))


def test_without_a_pixel_size_there_are_no_micrometres(two_cells):
    assert not [name for name in measure_cells(two_cells) if "_um" in name]


def test_the_pixel_size_of_the_image_counts_unless_another_is_given(two_cells):
    image = Image.from_array(np.ones((6, 8), np.uint8), pixel_size_um=(2.0, 2.0))
    assert measure_cells(two_cells, image)["area_um2"][0] == 24
    assert measure_cells(two_cells, image, (1.0, 1.0))["area_um2"][0] == 6


def test_intensities_are_those_of_each_channel_in_the_cell(two_cells):
    pixels = np.zeros((6, 8, 2), np.uint16)
    pixels[1:3, 1:4, 0] = [[1, 2, 3], [4, 5, 6]]
    pixels[..., 1] = 60_000
    columns = measure_cells(two_cells, Image.from_array(pixels))
    assert [columns[f"{what}_intensity_nuclear"][0] for what in ("mean", "min", "max")] == [3.5, 1, 6]
    assert [columns[f"{what}_intensity_cell"][1] for what in ("mean", "min", "max")] == [60_000] * 3


def test_another_cell_in_the_box_of_one_does_not_count():
    labels = np.array([[1, 2], [1, 1]])
    image = Image.from_array(np.array([[10, 200], [10, 10]], np.uint8))
    assert measure_cells(labels, image)["max_intensity_cell"].tolist() == [10, 200]


def test_a_colour_picture_has_intensities_of_its_colours():
    image = Image.from_array(np.zeros((6, 8, 3), np.uint8), rgb=True)
    assert image.channel_titles == ("red", "green", "blue")


def test_channels_are_called_by_their_names_and_two_of_one_name_are_told_apart():
    pixels = np.zeros((2, 2, 3), np.uint8)
    image = Image(pixels, nuclear=0, cell=1, channel_names=("DAPI", "actin", "DAPI"))
    assert image.channel_titles == ("DAPI_0", "actin", "DAPI_2")
    assert Image(pixels, nuclear=0, cell=1).channel_titles == ("nuclear", "cell", "2")


def test_a_plane_without_cells_has_columns_without_rows():
    columns = measure_cells(np.zeros((5, 5), np.uint8), Image.from_array(np.ones((5, 5), np.uint8)))
    assert {len(column) for column in columns.values()} == {0}
    assert "mean_intensity_cell" in columns


def test_the_highest_label_of_all_takes_no_more_memory_than_the_first():
    labels = np.zeros((4, 4), np.uint32)
    labels[0, 0] = 2**32 - 1
    assert measure_cells(labels)["label"].tolist() == [2**32 - 1]


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int16, np.int64, np.uint64])
def test_labels_may_be_of_any_whole_number(dtype):
    labels = np.zeros((4, 4), dtype)
    labels[1, 1:3] = 1
    assert measure_cells(labels)["area_px"].tolist() == [2]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.zeros((2, 3, 4), int), r"shape \(2, 3, 4\).*plane by plane"),
        (np.zeros((0, 4), int), r"shape \(0, 4\)"),
        (np.zeros((3, 4)), "type float64"),
        (np.full((3, 4), -1), "down to -1"),
        (np.full((3, 4), 2**32), "at most 4294967295"),
    ],
)
def test_what_are_no_labels_of_a_plane_is_refused(labels, message):
    with pytest.raises(ImageShapeError, match=message):
        measure_cells(labels)


def test_an_image_of_another_shape_is_refused(two_cells):
    with pytest.raises(ImageShapeError, match=r"labels of shape \(6, 8\) for an image of shape \(5, 5\)"):
        measure_cells(two_cells, Image.from_array(np.ones((5, 5), np.uint8)))


@pytest.mark.parametrize("size_um", [(0.0, 1.0), (1.0, -1.0), (float("nan"), 1.0), (1.0, float("inf"))])
def test_a_pixel_without_a_size_is_refused(two_cells, size_um):
    with pytest.raises(OptionError, match="the pixel size is"):
        measure_cells(two_cells, pixel_size_um=size_um)


def test_progress_rises_to_the_number_of_cells():
    labels = np.arange(1, 401, dtype=np.uint32).reshape(20, 20)
    heard = []
    measure_cells(labels, on_progress=lambda done, total: heard.append((done, total)))
    assert heard == [(0, 400), (64, 400), (128, 400), (192, 400), (256, 400), (320, 400), (384, 400), (400, 400)]


def test_whoever_hears_of_the_progress_can_end_it():
    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure_cells(rectangle(3, 3), on_progress=stop)
