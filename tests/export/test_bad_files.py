"""Files that say nonsense are refused with an error of ours, or their nonsense counts as not said."""

import json
import zipfile

import numpy as np
import pytest
import roifile

from napari_cellsam.errors import CellsamError, ImageReadError, ImageTooLargeError, OptionError
from napari_cellsam.export.cell_set import CellSet
from napari_cellsam.export.formats import FORMATS, read_cells

SQUARE = [[1, 1], [4, 1], [4, 4], [1, 1]]


def coco(height=9, width=9, **more):
    return {"images": [{"id": 1, "height": height, "width": width}], "annotations": []} | more


def geojson(ring, **more):
    feature = {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [ring]}}
    return {"type": "FeatureCollection", "features": [feature]} | more


def write_json(path, document):
    path.write_text(json.dumps(document))
    return path


def write_zip(path, comment=b"", properties=""):
    region = roifile.ImagejRoi.frompoints(SQUARE)
    region.props = properties
    with zipfile.ZipFile(path, "w") as archive:
        archive.comment = comment
        archive.writestr("a.roi", region.tobytes())
    return path


@pytest.mark.parametrize("size", [[0, 0], [0.5, 0], [-1, 1]])
@pytest.mark.parametrize("name", ["coco", "geojson", "deepcell", "ome-zarr"])
def test_a_pixel_size_that_is_no_length_is_not_known(tmp_path, name, size):
    path = FORMATS[name].path(tmp_path, "a")
    FORMATS[name].write(path, CellSet.from_array(np.ones((3, 4), int), pixel_size_um=(0.5, 0.25), name="a"))
    if name == "deepcell":
        np.savez(path, y=np.ones((1, 3, 4, 1), int), pixel_size_um=size)
    else:
        file = path / "labels" / "cells" / "zarr.json" if path.is_dir() else path
        text = file.read_text().replace(" ", "").replace("\n", "")
        changed = text.replace('"pixel_size_um":[0.5,0.25]', f'"pixel_size_um":{json.dumps(size)}')
        assert changed != text
        file.write_text(changed)
    assert read_cells(path).pixel_size_um is None


def test_cells_of_pixels_without_size_are_refused():
    with pytest.raises(OptionError, match="above 0"):
        CellSet(np.ones((3, 4), np.uint32), pixel_size_um=(0.0, 1.0))


def test_an_image_larger_than_the_memory_is_refused_before_it_is_made(tmp_path, monkeypatch):
    monkeypatch.setattr("napari_cellsam.memory.available_bytes", lambda: 2**30)
    monkeypatch.setattr(np, "zeros", lambda *_: pytest.fail("memory was taken"))
    for path in (
        write_json(tmp_path / "a.json", coco(10**6, 10**7)),
        write_json(tmp_path / "a.geojson", geojson([[1, 1], [10**9, 1], [10**9, 10**9], [1, 1]])),
        write_json(tmp_path / "b.geojson", geojson(SQUARE, napari_cellsam={"shape": [10**6, 10**6]})),
    ):
        with pytest.raises(ImageTooLargeError):
            read_cells(path)


def test_json_nested_deeply_is_refused(tmp_path):
    (tmp_path / "a.json").write_bytes(b'{"a":' * 100_000)
    with pytest.raises(ImageReadError, match="no JSON document"):
        read_cells(tmp_path / "a.json")


@pytest.mark.parametrize("label", ["inf", "nan", "1e300", "-1", "x"])
def test_regions_whose_labels_are_none_are_counted(tmp_path, label):
    cells = read_cells(write_zip(tmp_path / "a.zip", properties=f"label: {label}\n"))
    assert np.unique(cells.labels).tolist() == [0, 1]


@pytest.mark.parametrize(
    "own", [{"shape": [5, "a"]}, {"shape": 5}, {"shape": [5, 5], "axis": 3}, {"pixel_size_um": {}}, {"axis": ["T"]}]
)
def test_a_comment_of_ours_with_wrong_types_is_refused(tmp_path, own):
    with pytest.raises(ImageReadError):
        read_cells(write_zip(tmp_path / "a.zip", json.dumps({"napari_cellsam": own}).encode()))


@pytest.mark.parametrize("name", ["deepcell", "imagej", "cellpose"])
def test_a_file_with_damaged_bytes_is_refused_or_read(tmp_path, name):
    path = FORMATS[name].path(tmp_path, "a")
    labels = np.kron(np.arange(1, 37).reshape(6, 6), np.pad(np.ones((6, 6), int), 1))
    FORMATS[name].write(path, CellSet.from_array(labels, name="a"))
    whole, rng, n_refused = path.read_bytes(), np.random.default_rng(0), 0
    for _ in range(300):
        damaged = bytearray(whole)
        for at in rng.integers(0, len(whole), 3):
            damaged[at] = rng.integers(256)
        path.write_bytes(damaged)
        try:
            read_cells(path)
        except CellsamError:
            n_refused += 1
    assert n_refused


def test_a_ring_that_is_not_closed_keeps_all_of_its_corners(tmp_path):
    corners = [[0, 0], [10, 0], [10, 10], [0, 10]]
    areas = []
    for ring in (corners, [*corners, corners[0]]):
        cells = read_cells(write_json(tmp_path / "a.geojson", geojson(ring)))
        areas.append(np.count_nonzero(cells.labels))
    assert areas == [100, 100]


def test_geojson_with_a_feature_without_geometry_a_bare_one_and_one_with_a_mark_are_read(tmp_path):
    document = geojson([*SQUARE[:3], [1, 4], SQUARE[0]])
    feature = document["features"][0]
    document["features"].append({"type": "Feature", "geometry": None, "properties": {}})
    for content in (document, feature):
        path = tmp_path / "a.geojson"
        for text in (json.dumps(content), "\ufeff" + json.dumps(content)):
            path.write_text(text, encoding="utf-8")
            assert np.count_nonzero(read_cells(path).labels) == 9
