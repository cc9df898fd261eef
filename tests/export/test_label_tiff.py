"""Label images are written as TIFF and read from TIFF, PNG and NPY."""

import imageio.v3 as iio
import numpy as np
import pytest
import tifffile
from PIL import Image as PillowImage

from napari_cellsam.data.read import read_image
from napari_cellsam.errors import ImageReadError, ImageShapeError, OutputError
from napari_cellsam.export.label_tiff import read_labels, write_labels

LABELS = np.arange(30, dtype=np.uint32).reshape(5, 6)


@pytest.mark.parametrize(("highest", "dtype"), [(0, "uint16"), (65_535, "uint16"), (65_536, "uint32")])
def test_labels_are_stored_in_16_bits_if_they_fit_else_in_32(tmp_path, highest, dtype):
    labels = np.array([[0, highest]], np.int64)
    write_labels(tmp_path / "a.tif", labels)
    stored = read_labels(tmp_path / "a.tif")
    assert stored.dtype == dtype
    np.testing.assert_array_equal(stored, labels)


def test_labels_are_compressed_with_zlib(tmp_path):
    write_labels(tmp_path / "a.tif", np.zeros((500, 500), np.uint32))
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        assert file.pages[0].compression == tifffile.COMPRESSION.ADOBE_DEFLATE
    assert (tmp_path / "a.tif").stat().st_size < 10_000


def test_the_pixel_size_is_kept_as_ome_metadata_and_as_resolution_tags(tmp_path):
    write_labels(tmp_path / "a.tif", LABELS, pixel_size_um=(0.25, 0.5))
    assert read_image(tmp_path / "a.tif").pixel_size_um == (0.25, 0.5)
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        assert file.pages[0].resolution == (20_000, 40_000)  # pixels per centimetre, x first
        assert file.pages[0].resolutionunit == tifffile.RESUNIT.CENTIMETER


def test_an_unknown_pixel_size_stays_unknown(tmp_path):
    write_labels(tmp_path / "a.tif", LABELS)
    assert read_image(tmp_path / "a.tif").pixel_size_um is None


@pytest.mark.parametrize(
    "labels", [LABELS.astype(float), LABELS - 7.5, -LABELS.astype(int), LABELS[0], LABELS[:0], np.array([[2**32]])]
)
def test_what_is_no_label_image_is_not_written(tmp_path, labels):
    with pytest.raises(ImageShapeError):
        write_labels(tmp_path / "a.tif", labels)
    assert list(tmp_path.iterdir()) == []


def test_labels_that_are_there_already_are_kept_unless_told(tmp_path):
    write_labels(tmp_path / "a.tif", LABELS)
    with pytest.raises(OutputError, match="exists already"):
        write_labels(tmp_path / "a.tif", LABELS + 1)
    np.testing.assert_array_equal(read_labels(tmp_path / "a.tif"), LABELS)
    write_labels(tmp_path / "a.tif", LABELS + 1, overwrite=True)
    np.testing.assert_array_equal(read_labels(tmp_path / "a.tif"), LABELS + 1)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.npy"])
def test_labels_of_other_programs_are_read(tmp_path, name, dtype):
    labels = LABELS.astype(dtype)
    if name == "a.npy":
        np.save(tmp_path / name, labels)
    else:
        iio.imwrite(tmp_path / name, labels)
    np.testing.assert_array_equal(read_labels(tmp_path / name), labels)


def test_the_indices_of_a_palette_are_labels(tmp_path):
    picture = PillowImage.fromarray(LABELS.astype(np.uint8))
    picture.putpalette(list(range(255, 255 - 90, -1)))
    picture.save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_labels(tmp_path / "a.png"), LABELS)


def test_a_mask_of_one_bit_is_one_label(tmp_path):
    PillowImage.fromarray(LABELS > 3).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_labels(tmp_path / "a.png"), (LABELS > 3).astype(int))


def test_axes_of_length_one_are_left_out(tmp_path):
    np.save(tmp_path / "a.npy", LABELS[None, None])
    assert read_labels(tmp_path / "a.npy").shape == (5, 6)


@pytest.mark.parametrize("array", [LABELS / 2, np.zeros((2, 5, 6), int), -LABELS.astype(int), np.zeros((0, 3), int)])
def test_what_is_no_label_image_is_refused(tmp_path, array):
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(ImageShapeError, match=r"a\.npy"):
        read_labels(tmp_path / "a.npy")


def test_a_colour_picture_is_no_label_image(tmp_path):
    iio.imwrite(tmp_path / "a.png", np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(ImageShapeError, match="one plane"):
        read_labels(tmp_path / "a.png")


def test_broken_and_missing_files_and_pickles_are_refused(tmp_path):
    (tmp_path / "text.tif").write_text("once upon a time")
    np.save(tmp_path / "pickle.npy", np.array([{}], object), allow_pickle=True)
    for name in ("text.tif", "pickle.npy", "missing.png"):
        with pytest.raises(ImageReadError, match=name):
            read_labels(tmp_path / name)
