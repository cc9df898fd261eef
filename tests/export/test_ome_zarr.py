"""ome-zarr-py and the models of the specification read our OME-Zarr, and that of others is imported."""

from contextlib import nullcontext

import numpy as np
import pytest
import zarr
from ome_zarr.io import parse_url
from ome_zarr.reader import Reader
from ome_zarr_models.v05.image import ImageAttrs
from ome_zarr_models.v05.image_label import ImageLabelAttrs
from tests.export.scenes import make_scene, with_image

from napari_cellsam.errors import ImageReadError, OutputError
from napari_cellsam.export.formats import FORMATS, read_cells


def write(cells, folder):
    path = folder / "a.ome.zarr"
    FORMATS["ome-zarr"].write(path, cells)
    return path


@pytest.mark.parametrize("scene", ["touching cells", "a stack of times", "a stack of depths"])
def test_ome_zarr_py_reads_labels_and_image(tmp_path, scene):
    cells = with_image(make_scene(scene), channels=2)
    path = write(cells, tmp_path)
    nodes = list(Reader(parse_url(path))())
    image, labels = nodes[0], nodes[-1]
    np.testing.assert_array_equal(np.asarray(labels.data[0]), cells.labels)
    pixels = np.stack([own.pixels for own in cells.images])  # (N, Y, X, C)
    order = {"": (0, 3, 1, 2), "T": (0, 3, 1, 2), "Z": (3, 0, 1, 2)}[cells.axis]
    np.testing.assert_array_equal(np.asarray(image.data[0]).squeeze(), pixels.transpose(order).squeeze())


def test_ome_zarr_py_reads_labels_without_an_image(tmp_path):
    path = write(make_scene("one cell"), tmp_path)
    nodes = list(Reader(parse_url(path / "labels" / "cells"))())
    assert len(nodes) == 1
    np.testing.assert_array_equal(np.asarray(nodes[0].data[0]), make_scene("one cell").labels)


def test_our_metadata_follow_the_specification(tmp_path):
    path = write(with_image(make_scene("touching cells")), tmp_path)
    image = ImageAttrs.model_validate(dict(zarr.open_group(path, mode="r").attrs["ome"]))
    labels = ImageLabelAttrs.model_validate(dict(zarr.open_group(path / "labels" / "cells", mode="r").attrs["ome"]))
    assert [axis.name for axis in image.multiscales[0].axes] == ["c", "y", "x"]
    assert labels.image_label.properties[0].origin == "automatic"


def test_labels_of_version_0_4_are_read(tmp_path):
    root = zarr.open_group(tmp_path / "b.zarr", mode="w", zarr_format=2)
    folder = root.create_group("labels")
    folder.attrs["labels"] = ["nuclei"]
    group = folder.create_group("nuclei")
    labels = make_scene("touching cells").labels
    group.create_array("0", data=labels[None, None].astype(np.int64))
    axes = [{"name": "c", "type": "channel"}, {"name": "z", "type": "space"}]
    axes += [{"name": name, "type": "space", "unit": "micrometer"} for name in "yx"]
    scale = [{"type": "scale", "scale": [1, 1, 0.25, 0.5]}]
    datasets = [{"path": "0", "coordinateTransformations": scale}]
    group.attrs["multiscales"] = [{"version": "0.4", "axes": axes, "datasets": datasets}]
    cells = read_cells(tmp_path / "b.zarr")
    np.testing.assert_array_equal(cells.labels, labels)
    assert cells.pixel_size_um == (0.25, 0.5)


def test_a_folder_that_is_no_ome_zarr_is_neither_read_nor_replaced(tmp_path):
    path = tmp_path / "a.ome.zarr"
    path.mkdir()
    (path / "thesis.txt").touch()
    with pytest.raises(ImageReadError):
        read_cells(path)
    with pytest.raises(OutputError, match="nothing that we wrote"):
        FORMATS["ome-zarr"].write(path, make_scene("one cell"), overwrite=True)
    assert (path / "thesis.txt").exists()


def test_a_folder_that_a_killed_export_left_aside_is_put_back(tmp_path, monkeypatch):
    path = write(make_scene("one cell"), tmp_path)
    path.rename(tmp_path / ".a.ome.zarr.old")  # as if the process had died between the two renames
    monkeypatch.setattr("zarr.open_group", lambda *_, **__: (_ for _ in ()).throw(OSError(28, "disk full")))
    with pytest.raises(OutputError, match="disk full"):
        FORMATS["ome-zarr"].write(path, make_scene("touching cells"), overwrite=True)
    monkeypatch.undo()
    np.testing.assert_array_equal(read_cells(path).labels, make_scene("one cell").labels)


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_that_was_left_aside_is_replaced_only_where_it_may_be(tmp_path, overwrite):
    path = write(make_scene("one cell"), tmp_path)
    path.rename(tmp_path / ".a.ome.zarr.old")
    with nullcontext() if overwrite else pytest.raises(OutputError, match="exists already"):
        FORMATS["ome-zarr"].write(path, make_scene("touching cells"), overwrite)
    kept = make_scene("touching cells" if overwrite else "one cell")
    np.testing.assert_array_equal(read_cells(path).labels, kept.labels)
    assert [child.name for child in tmp_path.iterdir()] == ["a.ome.zarr"]


def test_a_folder_that_cannot_be_put_back_stays_aside(tmp_path, monkeypatch):
    path = write(make_scene("one cell"), tmp_path)
    aside = path.rename(tmp_path / ".a.ome.zarr.old")
    monkeypatch.setattr(type(path), "replace", lambda *_: (_ for _ in ()).throw(PermissionError(13, "not yours")))
    with pytest.raises(OutputError, match=r"a\.ome\.zarr cannot be written: not yours"):
        write(make_scene("touching cells"), tmp_path)
    assert list(tmp_path.iterdir()) == [aside]


def test_the_old_folder_comes_back_when_the_new_one_cannot_take_its_place(tmp_path, monkeypatch):
    path = write(make_scene("one cell"), tmp_path)
    replace = type(path).replace

    def fail(self, target):
        if target == path and not self.name.endswith(".old"):
            raise OSError(5, "lost connection")
        return replace(self, target)

    monkeypatch.setattr(type(path), "replace", fail)
    with pytest.raises(OutputError, match="lost connection"):
        FORMATS["ome-zarr"].write(path, make_scene("touching cells"), overwrite=True)
    np.testing.assert_array_equal(read_cells(path).labels, make_scene("one cell").labels)
    assert [child.name for child in tmp_path.iterdir()] == ["a.ome.zarr"]
