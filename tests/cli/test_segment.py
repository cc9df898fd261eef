"""``napari-cellsam segment`` writes label images."""

import imageio.v3 as iio
import numpy as np
import pytest
import tifffile

from napari_cellsam.data.read import read_image
from napari_cellsam.errors import DeviceError
from napari_cellsam.export.label_tiff import read_labels
from napari_cellsam.export.table import read_scores


def test_labels_are_written_beside_the_image(run, model, picture, tmp_path):
    iio.imwrite(tmp_path / "a.png", picture)
    ended = run("segment", tmp_path / "a.png")
    assert ended.code == 0
    assert f"{tmp_path / 'a.png'}: 2 cells" in ended.out
    labels = read_labels(tmp_path / "a_labels.tif")
    assert (labels.dtype, labels.max()) == (np.uint16, 2)
    np.testing.assert_array_equal(labels > 0, picture > 0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "a_labels.tif"]


def test_outlines_and_table_are_written_on_request_into_a_new_folder(run, model, picture, tmp_path):
    tifffile.imwrite(tmp_path / "a.ome.tif", picture, ome=True, metadata={"PhysicalSizeX": 0.5, "PhysicalSizeY": 0.25})
    out = tmp_path / "new" / "folder"
    assert run("segment", tmp_path / "a.ome.tif", "-o", out, "--save-outlines", "--save-table").code == 0
    assert sorted(path.name for path in out.iterdir()) == ["a_cells.csv", "a_labels.tif", "a_outlines.png"]
    assert read_image(out / "a_labels.tif").pixel_size_um == (0.25, 0.5)
    assert read_scores(out / "a_cells.csv") == pytest.approx({1: 0.9, 2: 0.5})
    assert iio.imread(out / "a_outlines.png").shape == (12, 10, 3)


def test_folders_are_read_and_one_bad_file_does_not_stop_the_rest(run, model, picture, tmp_path):
    for name in ("a.png", "c.png"):
        iio.imwrite(tmp_path / name, picture)
    (tmp_path / "b.tif").write_text("once upon a time")
    ended = run("segment", tmp_path, tmp_path / "missing.png")
    assert ended.code == 1
    assert [path.name for path in sorted(tmp_path.glob("*_labels.tif"))] == ["a_labels.tif", "c_labels.tif"]
    lines = ended.err.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith(f"error: {tmp_path / 'b.tif'} begins with")
    assert lines[1] == f"error: {tmp_path / 'missing.png'} does not exist"


def test_what_must_not_be_read_does_not_stop_the_rest(run, model, picture, tmp_path, forbid):
    for name in ("a.png", "b.png"):
        iio.imwrite(tmp_path / name, picture)
    (tmp_path / "closed").mkdir()
    forbid(tmp_path / "a.png", tmp_path / "closed")
    ended = run("segment", tmp_path / "a.png", tmp_path / "closed", tmp_path / "b.png")
    assert (ended.code, ended.err.count("error: "), ended.err.count("Permission denied")) == (1, 2, 2)
    assert (tmp_path / "b_labels.tif").is_file()


def test_an_empty_folder_fails_alone(run, model, picture, tmp_path):
    (tmp_path / "empty").mkdir()
    iio.imwrite(tmp_path / "a.png", picture)
    ended = run("segment", tmp_path / "empty", tmp_path / "a.png")
    assert ended.code == 1
    assert "holds no image" in ended.err
    assert (tmp_path / "a_labels.tif").exists()


def test_json_is_one_document_on_stdout(run, model, picture, tmp_path):
    iio.imwrite(tmp_path / "a.png", picture)
    (tmp_path / "b.png").touch()
    ended = run("segment", tmp_path / "a.png", tmp_path / "b.png", "--json", "--save-table")
    assert ended.code == 1
    good, bad = ended.document["files"]
    assert (good["input"], good["n_cells"], good["error"]) == (str(tmp_path / "a.png"), 2, None)
    assert good["outputs"] == {"labels": str(tmp_path / "a_labels.tif"), "table": str(tmp_path / "a_cells.csv")}
    assert (bad["n_cells"], bad["outputs"], bad["error"]["type"]) == (None, {}, "ImageReadError")
    assert str(tmp_path / "b.png") in bad["error"]["message"]


def test_no_cells_are_an_empty_label_image_and_a_note(run, model, tmp_path):
    iio.imwrite(tmp_path / "a.png", np.zeros((5, 6), np.uint8))
    ended = run("segment", tmp_path / "a.png", "--save-table", "--save-outlines")
    assert ended.code == 0
    assert "0 cells" in ended.out
    assert ended.err == f"note: {tmp_path / 'a.png'}: no cells were found\n"
    np.testing.assert_array_equal(read_labels(tmp_path / "a_labels.tif"), np.zeros((5, 6)))


def test_results_that_are_there_already_are_kept_before_any_work_is_done(run, model, picture, tmp_path):
    iio.imwrite(tmp_path / "a.png", picture)
    (tmp_path / "a_cells.csv").write_text("mine")
    ended = run("segment", tmp_path / "a.png", "--save-table")
    assert ended.code == 1
    assert "exists already" in ended.err
    assert not model.images
    assert not (tmp_path / "a_labels.tif").exists()
    assert run("segment", tmp_path / "a.png", "--save-table", "--overwrite").code == 0
    assert (tmp_path / "a_cells.csv").read_text() != "mine"


def test_a_folder_that_cannot_be_written_is_an_error(run, model, picture, tmp_path):
    iio.imwrite(tmp_path / "a.png", picture)
    (tmp_path / "file").touch()
    ended = run("segment", tmp_path / "a.png", "-o", tmp_path / "file" / "folder")
    assert ended.code == 1
    assert "cannot be made" in ended.err
    assert not model.images


def test_two_images_of_one_name_do_not_overwrite_each_other(run, model, picture, tmp_path):
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        iio.imwrite(tmp_path / folder / "a.png", picture)
    ended = run("segment", tmp_path / "one", tmp_path / "two", "-o", tmp_path, "--overwrite")
    assert ended.code == 1
    assert "was written for another image" in ended.err
    assert len(model.images) == 1


def test_options_reach_the_model_and_the_reader(run, model, tmp_path):
    stack = np.zeros((2, 3, 2, 6, 5), np.uint16)
    stack[1, 2, 0] = 7
    metadata = {"axes": "TZCYX", "Channel": {"Name": ["DAPI", "CD45"]}}
    tifffile.imwrite(tmp_path / "a.tif", stack, ome=True, metadata=metadata)
    arguments = ["--model", "mine", "--device", "cpu", "--precision", "fp32", "--nuclear", "DAPI", "--cell", "1"]
    arguments += [
        "--plane",
        "t=1,Z=2",
        "--diameter",
        "30",
        "--scaling",
        "squash",
        "--box-score",
        "0.3",
        "--min-area",
        "9",
        "--mask-threshold",
        "0.7",
    ]
    assert run("segment", tmp_path / "a.tif", *arguments).code == 0
    assert model.loaded == [("mine", "cpu", "fp32")]
    image, options = model.images[0], model.options[0]
    assert (image.pixels[0, 0].tolist(), image.nuclear, image.cell) == ([7, 0], 0, 1)
    assert (options.diameter, options.scaling, options.box_score, options.min_area) == (30, "squash", 0.3, 9)
    assert options.mask_threshold == 0.7


def test_the_plane_that_is_taken_of_several_is_noted_unless_it_was_chosen(run, model, tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((5, 2, 6, 5), np.uint8), ome=True, metadata={"axes": "TCYX"})
    ended = run("segment", tmp_path / "a.tif", "--cell", "0")
    assert (ended.code, f"note: {tmp_path / 'a.tif'}: of several planes T=0 of 5 is read" in ended.err) == (0, True)
    assert "is read" not in run("segment", tmp_path / "a.tif", "--cell", "0", "--plane", "T=0", "--overwrite").err


@pytest.mark.parametrize("planes", [["Z=1", "Z=2"], ["Z=1,z=2"], ["=2"], ["Z"]])
def test_a_plane_has_one_place_on_each_axis(run, model, picture, tmp_path, planes):
    iio.imwrite(tmp_path / "a.png", picture)
    ended = run("segment", tmp_path / "a.png", *(part for plane in planes for part in ("--plane", plane)))
    assert ended.code == 2
    assert not model.images


@pytest.mark.parametrize("option", [["--nuclear", "0"], ["--plane", "Z=1"], ["--scene", "1"], ["--no-rgb"]])
def test_what_is_read_of_a_sample_cannot_be_chosen(run, model, option):
    ended = run("segment", "--sample", "fluorescent_nuclei", *option)
    assert ended.code == 2
    assert not model.images


def test_an_empty_name_is_no_model(run, model, picture, tmp_path):
    iio.imwrite(tmp_path / "a.png", picture)
    run("segment", tmp_path / "a.png", "--model", "")
    assert [name for name, *_ in model.loaded] == [""]  # which the engine refuses


def test_a_name_that_is_too_long_for_its_outputs_does_not_stop_the_rest(run, model, picture, tmp_path):
    for name in ("a" * 245, "b"):
        iio.imwrite(tmp_path / f"{name}.png", picture)
    ended = run("segment", tmp_path, "-o", tmp_path / "out")
    assert ended.code == 1
    assert "File name too long" in ended.err
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["b_labels.tif"]


def test_what_is_not_said_is_left_to_the_model(run, model, picture, tmp_path):
    iio.imwrite(tmp_path / "a.png", picture)
    run("segment", tmp_path / "a.png")
    options = model.options[0]
    assert (options.box_score, options.diameter, options.scaling, options.min_area) == (None, None, None, None)
    assert model.loaded == [("compact", "auto", "auto")]


def test_a_colour_picture_can_be_forbidden(run, model, picture, tmp_path):
    iio.imwrite(tmp_path / "a.png", np.stack([picture] * 3, -1))
    assert run("segment", tmp_path / "a.png").code == 0
    assert model.images[0].rgb
    ended = run("segment", tmp_path / "a.png", "--no-rgb", "--overwrite")
    assert (ended.code, "which one is nuclear" in ended.err) == (1, True)


def test_a_channel_that_does_not_exist_is_an_error_of_its_file(run, model, picture, tmp_path):
    iio.imwrite(tmp_path / "a.png", picture)
    ended = run("segment", tmp_path / "a.png", "--nuclear", "GFP")
    assert ended.code == 1
    assert "channel 'GFP' does not exist" in ended.err


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["a.png", "--sample", "yeast"],
        ["--sample", "no such sample"],
        ["a.png", "--diameter", "wide"],
        ["a.png", "--diameter", "0"],
        ["a.png", "--diameter", "nan"],
        ["a.png", "--box-score", "1.5"],
        ["a.png", "--min-area", "-1"],
        ["a.png", "--mask-threshold", "1"],
        ["a.png", "--plane", "Z"],
        ["a.png", "--scaling", "stretch"],
        ["a.png", "--precision", "fp8"],
        ["a.png", "--no-such-option"],
    ],
)
def test_a_command_that_is_not_understood_ends_with_2(run, model, arguments):
    ended = run("segment", *arguments)
    assert ended.code == 2
    assert ended.out == ""
    assert not model.loaded


def test_a_device_that_is_not_there_is_one_line(run, set_loader, picture, tmp_path):
    def load_model(name, device, precision):
        raise DeviceError("device 'cuda' was asked for,\n but this machine has none")

    set_loader(load_model)
    iio.imwrite(tmp_path / "a.png", picture)
    ended = run("segment", tmp_path / "a.png", "--device", "cuda")
    assert ended.code == 1
    assert ended.err == "error: device 'cuda' was asked for, but this machine has none\n"


def test_a_sample_is_written_to_the_current_folder(run, model, tmp_path, monkeypatch):
    from napari_cellsam.data.samples import sample_names

    monkeypatch.chdir(tmp_path)
    name = sample_names()[-1]
    assert run("segment", "--sample", name).code == 0
    assert read_labels(tmp_path / f"{name}_labels.tif").shape == model.images[0].shape


def test_an_error_that_is_not_ours_is_not_hidden(model, picture, tmp_path, monkeypatch):
    from napari_cellsam import cli

    def fail(*_, **__):
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(model, "segment", fail)
    iio.imwrite(tmp_path / "a.png", picture)
    with pytest.raises(ZeroDivisionError, match="a bug"):
        cli.main(["segment", str(tmp_path / "a.png")])
