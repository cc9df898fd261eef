"""``napari-cellsam export`` and ``import`` carry cells to and from other programs."""

import csv
import sys

import numpy as np
import pytest
import tifffile
from imageio.v3 import imwrite
from scipy import ndimage

from napari_cellsam.export.formats import FORMATS, read_cells
from napari_cellsam.export.label_tiff import write_labels


@pytest.fixture
def labels(tmp_path, picture):
    """Return the path of a label image with two cells, beside its image and its table."""
    imwrite(tmp_path / "a.png", picture)
    (tmp_path / "a_cells.csv").write_text("label,score\n1,0.5\n2,0.75\n")
    write_labels(tmp_path / "a_labels.tif", ndimage.label(picture)[0], (0.5, 0.5))
    return tmp_path / "a_labels.tif"


def test_the_chosen_formats_are_written_and_named(run, labels, tmp_path):
    ended = run("export", labels, "--format", "coco", "-f", "geojson", "-o", tmp_path / "out")
    assert ended.code == 0
    assert ended.out == f"{labels}: {tmp_path / 'out' / 'a_coco.json'}, {tmp_path / 'out' / 'a.geojson'}\n"
    for name in ("a_coco.json", "a.geojson"):
        cells = read_cells(tmp_path / "out" / name)
        np.testing.assert_array_equal(cells.labels, tifffile.imread(labels))
        assert cells.pixel_size_um == (0.5, 0.5)
        assert [cells.facts_of(0, label).detector_score for label in (1, 2)] == [0.5, 0.75]


def test_all_formats_are_written_with_the_image(run, labels, tmp_path):
    ended = run("export", labels, "--all", "--image", tmp_path / "a.png", "-o", tmp_path / "out", "--json")
    assert ended.code == 0
    (file,) = ended.document["files"]
    assert list(file["outputs"]) == list(FORMATS)


def test_without_the_image_all_means_the_rest(run, labels, tmp_path):
    ended = run("export", labels, "--all", "-o", tmp_path / "out", "--json")
    assert ended.code == 0
    assert "png is left out" in ended.err
    assert set(FORMATS) - set(ended.document["files"][0]["outputs"]) == {"png"}


def test_images_are_found_in_a_folder_by_name(run, labels, tmp_path):
    write_labels(tmp_path / "b_labels.tif", np.ones((3, 3), int))
    ended = run("export", labels, tmp_path / "b_labels.tif", "-f", "png", "--image", tmp_path, "-o", tmp_path / "out")
    assert ended.code == 1
    assert (tmp_path / "out" / "a_outlines.png").is_file()
    assert "holds no image called b" in ended.err


@pytest.mark.parametrize("ending", [".PNG", ".TIF", ".Ome.Tif"])
def test_images_whose_endings_are_in_capitals_are_found(run, labels, tmp_path, picture, ending):
    (tmp_path / "images").mkdir()
    tifffile.imwrite(tmp_path / "images" / f"a{ending}", picture)
    arguments = ("export", labels, "-f", "png", "--image", tmp_path / "images", "-o", tmp_path / "out")
    assert run(*arguments).code == 0


def test_one_image_for_several_label_images_is_a_usage_error(run, labels, tmp_path):
    assert run("export", labels, labels, "-f", "png", "--image", tmp_path / "a.png", "-o", tmp_path / "out").code == 2


def test_a_bad_file_does_not_stop_the_rest(run, labels, tmp_path):
    (tmp_path / "b.tif").write_bytes(b"II*\0")
    ended = run("export", tmp_path / "b.tif", labels, "-f", "imagej", "-o", tmp_path / "out")
    assert ended.code == 1
    assert ended.err.startswith("error: ")
    assert (tmp_path / "out" / "a_rois.zip").is_file()


def test_a_file_that_must_not_be_read_does_not_stop_the_rest(run, labels, tmp_path, forbid):
    write_labels(tmp_path / "b_labels.tif", np.ones((3, 3), int))
    forbid(tmp_path / "b_labels.tif")
    ended = run("export", tmp_path / "b_labels.tif", labels, "-f", "imagej", "-o", tmp_path / "out")
    assert (ended.code, ended.err) == (1, f"error: {tmp_path / 'b_labels.tif'} cannot be read: Permission denied\n")
    assert (tmp_path / "out" / "a_rois.zip").is_file()


def test_files_that_are_there_already_are_kept_unless_told(run, labels, tmp_path):
    arguments = ("export", labels, "-f", "ome-zarr", "-o", tmp_path / "out")
    assert run(*arguments).code == 0
    ended = run(*arguments)
    assert (ended.code, "exists already" in ended.err) == (1, True)
    assert run(*arguments, "--overwrite").code == 0


def test_two_inputs_of_one_name_do_not_overwrite_each_other(run, labels, tmp_path):
    (tmp_path / "b").mkdir()
    write_labels(tmp_path / "b" / "a_labels.tif", np.ones((3, 3), int))
    ended = run("export", labels, tmp_path / "b" / "a_labels.tif", "-f", "coco", "-o", tmp_path / "out", "--overwrite")
    assert (ended.code, "was written for another input" in ended.err) == (1, True)
    np.testing.assert_array_equal(read_cells(tmp_path / "out" / "a_coco.json").labels, tifffile.imread(labels))


def test_a_format_that_fails_does_not_stop_the_others(run, labels, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a_coco.json").touch()
    ended = run("export", labels, "-f", "coco", "-f", "csv", "-o", tmp_path / "out", "--json")
    assert (ended.code, "exists already" in ended.err) == (1, True)
    assert list(ended.document["files"][0]["outputs"]) == ["csv"]


def test_without_pyarrow_all_means_the_rest(run, labels, tmp_path, monkeypatch):
    monkeypatch.setattr("napari_cellsam.export.formats.find_spec", lambda _: None)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    ended = run("export", labels, "--all", "--image", tmp_path / "a.png", "-o", tmp_path / "out", "--json")
    assert (ended.code, "parquet is left out, because pyarrow is not installed" in ended.err) == (0, True)
    assert set(FORMATS) - set(ended.document["files"][0]["outputs"]) == {"parquet"}


@pytest.mark.parametrize("options", [(), ("--all", "-f", "coco"), ("-f", "docx"), ("-f", "png")])
def test_formats_that_make_no_sense_are_a_usage_error(run, labels, tmp_path, options):
    assert run("export", labels, *options, "-o", tmp_path / "out").code == 2
    assert not (tmp_path / "out").exists()


def test_a_pixel_size_that_is_given_wins(run, labels, tmp_path):
    assert run("export", labels, "-f", "coco", "--pixel-size", 2, "-o", tmp_path).code == 0
    assert read_cells(tmp_path / "a_coco.json").pixel_size_um == (2, 2)


def test_a_stack_gets_the_planes_of_its_image(run, tmp_path, picture):
    stack = np.stack([picture, np.roll(picture, 2, 1)])
    tifffile.imwrite(tmp_path / "s.ome.tif", stack, metadata={"axes": "TYX"})
    write_labels(tmp_path / "s_labels.tif", (stack > 100).astype(int), axis="T")
    ended = run("export", tmp_path / "s_labels.tif", "-f", "png", "-f", "deepcell", "--image", tmp_path, "-o", tmp_path)
    assert ended.code == 0
    assert (tmp_path / "s_t0_outlines.png").is_file() and (tmp_path / "s_t1_outlines.png").is_file()
    with np.load(tmp_path / "s.npz") as archive:
        np.testing.assert_array_equal(archive["X"][..., 0], stack)


def _mean(folder, name):
    """Return what was measured of each cell in the first channel."""
    rows = csv.DictReader((folder / f"{name}_measurements.csv").read_text().splitlines())
    return [float(next(row[column] for column in row if column.startswith("mean_intensity"))) for row in rows]


def test_the_plane_of_the_labels_is_the_one_that_is_measured(run, tmp_path):
    stack = np.full((6, 4, 5), 7, np.uint16) + 10 * np.arange(6, dtype=np.uint16)[:, None, None]
    tifffile.imwrite(tmp_path / "d.tif", stack, ome=True, metadata={"axes": "ZYX"})
    write_labels(tmp_path / "d_labels.tif", np.ones((4, 5), int))
    arguments = ("export", tmp_path / "d_labels.tif", "-f", "csv", "--image", tmp_path / "d.tif", "-o", tmp_path)
    ended = run(*arguments)
    assert (ended.code, "none was chosen (Z=3 of 6)" in ended.err) == (1, True)
    assert run(*arguments, "--plane", "Z=4").code == 0
    assert _mean(tmp_path, "d") == [47]


def test_the_scene_of_the_labels_is_the_one_that_is_measured(run, tmp_path):
    with tifffile.TiffWriter(tmp_path / "m.tif", ome=True) as file:
        for value in (3, 9):
            file.write(np.full((4, 5), value, np.uint8), metadata={"axes": "YX"})
    write_labels(tmp_path / "m_labels.tif", np.ones((4, 5), int))
    arguments = ("export", tmp_path / "m_labels.tif", "-f", "csv", "--image", tmp_path / "m.tif", "-o", tmp_path)
    ended = run(*arguments)
    assert (ended.code, "none was chosen (scene 0 of 2)" in ended.err) == (1, True)
    assert run(*arguments, "--scene", 1).code == 0
    assert _mean(tmp_path, "m") == [9]


def test_a_stack_finds_its_planes_under_another_name(run, tmp_path):
    stack = np.full((2, 3, 4, 5), 7, np.uint16)
    stack[1] += 10 * np.arange(3, dtype=np.uint16)[:, None, None]
    tifffile.imwrite(tmp_path / "s.tif", stack, ome=True, metadata={"axes": "ZTYX"})
    write_labels(tmp_path / "s_labels.tif", np.ones((3, 4, 5), int), axis="Z")
    arguments = ("export", tmp_path / "s_labels.tif", "-f", "csv", "--image", tmp_path / "s.tif", "-o", tmp_path)
    assert run(*arguments, "--plane", "Z=1").code == 0
    assert _mean(tmp_path, "s") == [7, 17, 27]


def test_a_stack_that_the_image_does_not_hold_is_refused(run, tmp_path):
    tifffile.imwrite(tmp_path / "s.tif", np.zeros((6, 4, 5), np.uint16), ome=True, metadata={"axes": "ZYX"})
    write_labels(tmp_path / "s_labels.tif", np.ones((3, 4, 5), int), axis="Z")
    ended = run("export", tmp_path / "s_labels.tif", "-f", "csv", "--image", tmp_path / "s.tif", "-o", tmp_path)
    assert (ended.code, "a stack of 3 planes" in ended.err) == (1, True)


@pytest.mark.parametrize("name", [name for name, entry in FORMATS.items() if entry.exact])
def test_what_was_exported_is_imported(run, labels, tmp_path, name):
    entry = FORMATS[name]
    assert run("export", labels, "-f", name, "-o", tmp_path / "out").code == 0
    ended = run("import", entry.path(tmp_path / "out", "a"), "-o", tmp_path / "again.tif")
    assert (ended.code, ended.out.endswith(f"2 cells -> {tmp_path / 'again.tif'}\n")) == (0, True)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "again.tif"), tifffile.imread(labels))


_OUTLINE = (
    '{"type": "FeatureCollection", "features": [{"type": "Feature", "properties": {}, "geometry": '
    '{"type": "Polygon", "coordinates": [[[1, 1], [4, 1], [4, 3], [1, 3], [1, 1]]]}}]}'
)


def test_the_image_gives_its_size_to_outlines_that_do_not_know_it(run, tmp_path, picture):
    imwrite(tmp_path / "a.png", picture)
    (tmp_path / "a.geojson").write_text(_OUTLINE)
    ended = run("import", tmp_path / "a.geojson", "--image", tmp_path / "a.png", "-o", tmp_path / "b.tif")
    assert (ended.code, ended.err) == (0, "")
    expected = np.zeros(picture.shape, int)
    expected[1:3, 1:4] = 1
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "b.tif"), expected)


def test_a_size_that_nobody_knows_is_told(run, tmp_path):
    (tmp_path / "a.geojson").write_text(_OUTLINE)
    ended = run("import", tmp_path / "a.geojson", "-o", tmp_path / "b.tif")
    assert ended.code == 0
    assert "b.tif ends at the last cell, 3 x 4. Give the image with --image." in ended.err


def test_the_image_of_other_cells_is_refused(run, labels, tmp_path):
    imwrite(tmp_path / "b.png", np.zeros((5, 5), np.uint8))
    ended = run("import", labels, "--image", tmp_path / "b.png", "-o", tmp_path / "b.tif")
    assert (ended.code, "Give the right image" in ended.err) == (1, True)


def test_a_label_image_that_is_no_tiff_is_a_usage_error(run, labels, tmp_path):
    assert run("import", labels, "-o", tmp_path / "b.png").code == 2
