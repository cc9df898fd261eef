"""Every format keeps what it says it keeps, and its files are written whole or not at all."""

import os
import resource
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from tests.export.scenes import SCENES, make_scene, with_image

from napari_cellsam.errors import CellsamError, ImageReadError, OptionError, OutputError
from napari_cellsam.export.cell_set import CellSet
from napari_cellsam.export.formats import FORMATS, export_cells, find_format, read_cells

# what each format keeps beside the labels
KEEPS_FACTS = {"ome-zarr", "coco", "coco-polygons", "geojson", "imagej"}
KEEPS_PIXEL_SIZE = {"tiff", "ome-tiff", "ome-zarr", "coco", "coco-polygons", "geojson", "imagej", "deepcell"}
KEEPS_AXIS = KEEPS_PIXEL_SIZE
HOLES_ARE_FILLED = {"coco-polygons"}
HOLED = {
    "cells with holes",
    "a hole that touches the outside in a corner",
    "pieces in holes of their own cell",
    "a crowd",
}

EXACT = [name for name, entry in FORMATS.items() if entry.exact]
READABLE = [name for name, entry in FORMATS.items() if entry.read]


@pytest.fixture(params=FORMATS.values(), ids=FORMATS)
def format_(request):
    return request.param


@pytest.fixture
def cells():
    return with_image(make_scene("touching cells"))


def content(path):
    """Return the bytes of a file, or of all files of a folder."""
    files = [path] if path.is_file() else sorted(child for child in path.rglob("*") if child.is_file())
    return {str(file.relative_to(path)): file.read_bytes() for file in files}


def target(format_, folder):
    path = format_.path(folder, "a")
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


@pytest.mark.parametrize("scene", SCENES)
@pytest.mark.parametrize("name", READABLE)
def test_what_is_written_is_read_again(tmp_path, name, scene):
    cells, entry = make_scene(scene), FORMATS[name]
    path = target(entry, tmp_path)
    entry.write(path, cells)
    found = read_cells(path)
    if entry.exact or scene not in HOLED:
        np.testing.assert_array_equal(
            found.labels, cells.labels if cells.axis == found.axis else cells.labels.squeeze()
        )
    else:
        assert name in HOLES_ARE_FILLED
        assert (found.labels[cells.labels > 0] == cells.labels[cells.labels > 0]).all()
    assert found.labels.dtype == np.uint32
    if name in KEEPS_AXIS and not (scene == "a stack of one" and name in ("tiff", "ome-tiff")):  # OME-TIFF cannot tell
        assert found.axis == cells.axis
    assert found.pixel_size_um == (cells.pixel_size_um if name in KEEPS_PIXEL_SIZE else None)
    if name in KEEPS_FACTS:
        assert found.facts == cells.facts
    assert found.name == "a"


def test_formats_without_a_way_back_say_so_and_the_others_are_exact_but_for_holes():
    assert set(FORMATS) - set(READABLE) == {"csv", "parquet", "png", "svg"}
    assert set(READABLE) - set(EXACT) == HOLES_ARE_FILLED


@pytest.mark.parametrize("scene", [scene for scene in SCENES if scene != "more than 65535 cells"])
def test_every_scene_is_written_with_its_image(tmp_path, format_, scene):
    cells = with_image(make_scene(scene), channels=2)
    written = list(export_cells(cells, tmp_path, [format_.name]))
    planes = 1 if format_.stacks or not cells.axis else cells.n_planes
    assert len(written) == planes
    for _, path in written:
        assert path.exists()
        if format_.exact:
            np.testing.assert_array_equal(read_cells(path).labels.squeeze(), cells.labels.squeeze())


def test_what_is_there_already_is_kept_unless_told(tmp_path, format_, cells):
    path = target(format_, tmp_path)
    format_.write(path, cells)
    before = content(path)
    other = with_image(CellSet(np.where(cells.labels == 2, 0, cells.labels), name="a"))
    with pytest.raises(OutputError, match="exists already"):
        format_.write(path, other)
    assert content(path) == before
    format_.write(path, other, overwrite=True)
    assert content(path) != before
    assert [child for child in path.parent.iterdir() if child.name.startswith(".")] == []


def test_a_full_disk_leaves_the_old_file(tmp_path, format_, cells):
    path = target(format_, tmp_path)
    format_.write(path, cells)
    before = content(path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (16, hard))  # no file may grow beyond, as if the disk were full
    try:
        with pytest.raises(OutputError, match=r"cannot be written: .*(large|space)"):
            format_.write(path, cells, overwrite=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert content(path) == before
    assert [child for child in path.parent.iterdir() if child.name.startswith(".")] == []


def test_a_folder_that_is_not_writable_is_refused(tmp_path, format_, cells, monkeypatch):
    path = target(format_, tmp_path)
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write anywhere
    with pytest.raises(OutputError, match="not writable"):
        format_.write(path, cells)
    assert not path.exists()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_a_process_killed_at_any_moment_leaves_the_old_file_or_the_new_one(tmp_path, format_):
    path = target(format_, tmp_path)
    script = textwrap.dedent(
        f"""
        import sys
        from pathlib import Path
        sys.path.insert(0, {str(Path(__file__).parents[2])!r})
        from napari_cellsam.export.formats import FORMATS
        from tests.export.scenes import make_scene, with_image
        cells = with_image(make_scene("a crowd"))
        path = Path({str(path)!r})
        FORMATS[{format_.name!r}].write(path, cells)
        print("written", flush=True)
        while True:
            FORMATS[{format_.name!r}].write(path, cells, overwrite=True)
        """
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout.readline() == "written\n"
        with pytest.raises(subprocess.TimeoutExpired):
            child.wait(0.05 + 0.05 * (len(format_.name) % 5))  # nothing to await: any moment will do
        child.send_signal(signal.SIGKILL)
    if not path.exists():  # a folder, between two renames
        assert (path.parent / f".{path.name}.old").is_dir()
    elif format_.exact:
        np.testing.assert_array_equal(read_cells(path).labels, make_scene("a crowd").labels)


@pytest.mark.parametrize("name", READABLE)
def test_a_file_that_is_cut_off_is_refused_with_an_error_of_ours_or_has_all_its_cells(tmp_path, name):
    cells = make_scene("a crowd")
    path = target(FORMATS[name], tmp_path)
    FORMATS[name].write(path, cells)
    if path.is_dir():
        (path / "labels" / "cells" / "zarr.json").unlink()
        with pytest.raises(ImageReadError, match="cannot be read"):
            read_cells(path)
        return
    whole = path.read_bytes()
    n_refused = 0
    for length in range(0, len(whole), max(1, len(whole) // 200)):
        path.write_bytes(whole[:length])
        try:
            np.testing.assert_array_equal(read_cells(path).labels, cells.labels)  # only metadata were cut off
        except CellsamError:
            n_refused += 1
    assert n_refused > 60


def test_a_format_that_needs_the_image_says_so(tmp_path):
    with pytest.raises(OptionError, match="--image"):
        FORMATS["png"].write(tmp_path / "a.png", make_scene("one cell"))


def test_a_format_for_planes_refuses_a_stack(tmp_path):
    with pytest.raises(OptionError, match="2 planes"):
        FORMATS["svg"].write(tmp_path / "a.svg", make_scene("a stack of depths"))


def test_a_format_that_does_not_exist_is_refused_with_those_that_do():
    with pytest.raises(OptionError, match="choose among tiff, ome-tiff"):
        find_format("docx")


def test_a_file_that_does_not_exist_cannot_be_read(tmp_path):
    with pytest.raises(ImageReadError, match="does not exist"):
        read_cells(tmp_path / "a.tif")


def test_a_file_of_another_kind_cannot_be_read(tmp_path):
    (tmp_path / "a.txt").write_text("hello")
    with pytest.raises(ImageReadError, match=r"_labels\.tif"):
        read_cells(tmp_path / "a.txt")


@pytest.mark.parametrize("ending", ["png", "npy"])
def test_plain_label_images_are_read_too(tmp_path, ending):
    from imageio.v3 import imwrite

    labels = make_scene("touching cells").labels.astype(np.uint8)
    path = tmp_path / f"b_labels.{ending}"
    np.save(path, labels) if ending == "npy" else imwrite(path, labels)
    np.testing.assert_array_equal(read_cells(path).labels, labels)
    assert read_cells(path).name == "b"
