"""Other programs' libraries read what is exported, and what they write is imported."""

import json
import pickle
import struct
import xml.etree.ElementTree as ET

import numpy as np
import pytest
import roifile
import shapely
import tifffile
from imageio.v3 import imread
from pyarrow import parquet
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from tests.export.scenes import SCENES, make_scene, with_image

from napari_cellsam.errors import ImageReadError
from napari_cellsam.export.formats import FORMATS, read_cells

# pycocotools 2.0 has not followed numpy 2's way of copying
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept:DeprecationWarning")

PLANES = [name for name in SCENES if "stack" not in name and "more than" not in name]
WITHOUT_HOLES = [name for name in PLANES if "hole" not in name and "crowd" not in name]


def write(name, cells, folder):
    path = FORMATS[name].path(folder, cells.name)
    path.parent.mkdir(parents=True, exist_ok=True)
    FORMATS[name].write(path, cells)
    return path


def cells_of(labels):
    return {int(label): labels == label for label in np.unique(labels[labels > 0])}


# COCO


def by_pycocotools(path):
    """Return the mask of each label, as pycocotools decodes it."""
    coco = COCO(path)
    return {item["label"]: (coco.annToMask(item).astype(bool), item) for item in coco.loadAnns(coco.getAnnIds())}


@pytest.mark.parametrize("scene", PLANES)
def test_pycocotools_decodes_our_masks(tmp_path, scene):
    cells = make_scene(scene)
    found = by_pycocotools(write("coco", cells, tmp_path))
    expected = cells_of(cells.labels)
    assert found.keys() == expected.keys()
    for label, mask in expected.items():
        np.testing.assert_array_equal(found[label][0], mask)
        assert found[label][1]["area"] == mask.sum()
        encoded = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
        assert found[label][1]["bbox"] == coco_mask.toBbox(encoded).tolist()
        assert found[label][1]["segmentation"]["counts"] == encoded["counts"].decode()


@pytest.mark.parametrize("scene", WITHOUT_HOLES)
def test_pycocotools_draws_our_polygons_as_the_cells_were(tmp_path, scene):
    cells = make_scene(scene)
    found = by_pycocotools(write("coco-polygons", cells, tmp_path))
    expected = cells_of(cells.labels)
    assert found.keys() == expected.keys()
    for label, mask in expected.items():
        np.testing.assert_array_equal(found[label][0], mask)


def test_pycocotools_finds_the_planes_of_a_stack_as_images(tmp_path):
    cells = make_scene("a stack of times")
    coco = COCO(write("coco", cells, tmp_path))
    assert [image["file_name"] for image in coco.loadImgs([1, 2, 3])] == ["a_t0.tif", "a_t1.tif", "a_t2.tif"]
    for plane in range(3):
        own = coco.loadAnns(coco.getAnnIds(imgIds=[plane + 1]))
        assert {item["label"] for item in own} == set(cells_of(cells.labels[plane]))


@pytest.mark.parametrize("kind", ["text", "numbers", "polygons"])
def test_coco_of_other_programs_is_read(tmp_path, kind):
    labels = make_scene("touching cells").labels
    height, width = labels.shape
    annotations = []
    for label, mask in cells_of(labels).items():
        encoded = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
        y, x = np.nonzero(mask)
        top, bottom, left, right = int(y.min()), int(y.max()) + 1, int(x.min()), int(x.max()) + 1
        shapes = {
            "text": {"size": [height, width], "counts": encoded["counts"].decode()},
            "numbers": {"size": [height, width], "counts": runs_down_columns(mask)},
            "polygons": [[left, top, right, top, right, bottom, left, bottom]],
        }
        annotations.append({"id": label, "image_id": 7, "category_id": 1, "segmentation": shapes[kind]})
    document = {"images": [{"id": 7, "height": height, "width": width}], "annotations": annotations}
    path = tmp_path / "b.json"
    path.write_text(json.dumps(document))
    np.testing.assert_array_equal(read_cells(path).labels, labels)


def runs_down_columns(mask):
    """Return uncompressed counts."""
    flat = mask.T.ravel().astype(int)
    borders = np.flatnonzero(np.diff(flat, prepend=0))
    return np.diff(np.concatenate([[0], borders, [flat.size]])).tolist()


@pytest.mark.parametrize(
    "change",
    [
        {"images": []},
        {"images": [{"id": 1, "height": 2, "width": 2}, {"id": 2, "height": 3, "width": 2}]},
        {"annotations": [{"image_id": 5}]},
        {"annotations": [{"image_id": 1, "segmentation": {"size": [2, 2], "counts": [1, 1]}}]},
        {"annotations": [{"image_id": 1, "segmentation": {"size": [2, 2], "counts": [9, -5]}}]},
        {"annotations": [{"image_id": 1, "segmentation": {"size": [2, 2], "counts": "\x7f"}}]},
        {"annotations": [{"image_id": 1, "segmentation": {"size": [2, 2], "counts": "é"}}]},
        {"annotations": [{"image_id": 1, "segmentation": {"size": [2, 2], "counts": "oooooooooooooooo0"}}]},
        {"annotations": [{"image_id": 1, "segmentation": {"size": [2, 2], "counts": ""}}]},
        {"annotations": 5},
    ],
)
def test_coco_that_makes_no_sense_is_refused(tmp_path, change):
    document = {"images": [{"id": 1, "height": 2, "width": 2}], "annotations": []} | change
    path = tmp_path / "b.json"
    path.write_text(json.dumps(document))
    with pytest.raises(ImageReadError):
        read_cells(path)


# GeoJSON


@pytest.mark.parametrize("scene", PLANES)
def test_shapely_finds_valid_polygons_of_the_right_area(tmp_path, scene):
    cells = make_scene(scene)
    document = json.loads(write("geojson", cells, tmp_path).read_text())
    expected = cells_of(cells.labels)
    assert [int(feature["properties"]["name"]) for feature in document["features"]] == list(expected)
    for feature, mask in zip(document["features"], expected.values(), strict=True):
        shape = shapely.from_geojson(json.dumps(feature["geometry"]))
        assert shape.is_valid
        assert shape.area == mask.sum()
        y, x = np.indices(mask.shape) + 0.5
        np.testing.assert_array_equal(shapely.contains_xy(shape, x, y), mask)


def test_qupaths_own_layout_is_written(tmp_path):
    cells = make_scene("a stack of depths")
    document = json.loads(write("geojson", cells, tmp_path).read_text())
    feature = document["features"][-1]
    assert feature["geometry"]["plane"] == {"c": -1, "z": 1, "t": 0}
    assert feature["properties"]["objectType"] == "detection"
    assert feature["properties"]["measurements"]["label"] == 3
    assert len({feature["id"] for feature in document["features"]}) == len(document["features"])


def test_outlines_drawn_by_hand_in_qupath_are_read(tmp_path):
    triangle = {"type": "Polygon", "coordinates": [[[0.2, 0.2], [5.8, 0.2], [0.2, 5.8], [0.2, 0.2]]]}
    feature = {"type": "Feature", "geometry": triangle, "properties": {"objectType": "annotation"}}
    point = {"type": "Feature", "geometry": {"type": "Point", "coordinates": [9, 9]}}
    path = tmp_path / "b.geojson"
    path.write_text(json.dumps([point, feature]))
    expected = np.array([[int(x + y + 1 < 6) for x in range(6)] for y in range(6)])
    np.testing.assert_array_equal(read_cells(path).labels, expected)
    assert read_cells(path, (8, 9)).shape == (8, 9)


@pytest.mark.parametrize("scene", ["a stack of times", "a stack of depths"])
def test_cells_of_a_stack_stay_in_their_planes_where_our_key_is_gone(tmp_path, scene):
    path = write("geojson", make_scene(scene), tmp_path)
    document = json.loads(path.read_text())
    del document["napari_cellsam"]
    path.write_text(json.dumps(document))
    cells, expected = read_cells(path, (2, 4)), make_scene(scene)
    assert cells.axis == expected.axis
    np.testing.assert_array_equal(cells.labels, expected.labels[:2])


def test_geojson_without_cells_and_size_is_refused(tmp_path):
    (tmp_path / "b.geojson").write_text('{"type": "FeatureCollection", "features": []}')
    with pytest.raises(ImageReadError, match="how large the image is"):
        read_cells(tmp_path / "b.geojson")


# ImageJ


@pytest.mark.parametrize("scene", PLANES)
def test_roifile_finds_the_cells_with_their_bounds(tmp_path, scene):
    cells = make_scene(scene)
    regions = roifile.roiread(write("imagej", cells, tmp_path)) if cells.labels.any() else []
    expected = cells_of(cells.labels)
    assert [int(region.name) for region in regions] == list(expected)
    for region, mask in zip(regions, expected.values(), strict=True):
        y, x = np.nonzero(mask)
        assert (region.top, region.left) == (y.min(), x.min())
        assert (region.bottom, region.right) == (y.max() + 1, x.max() + 1)
        inside = np.zeros(mask.shape, bool)
        for ring in region.coordinates(multi=True):
            yy, xx = np.indices(mask.shape) + 0.5
            inside ^= shapely.contains_xy(shapely.Polygon(ring), xx, yy)
        np.testing.assert_array_equal(inside, mask)


def test_the_regions_of_a_stack_know_their_planes(tmp_path):
    regions = roifile.roiread(write("imagej", make_scene("a stack of times"), tmp_path))
    assert [(region.name, region.position) for region in regions] == [
        ("0001-00001", 1),
        ("0001-00002", 1),
        ("0002-00001", 2),
        ("0002-00002", 2),
    ]


def test_regions_of_other_programs_are_read(tmp_path):
    first = roifile.ImagejRoi.frompoints([[1, 1], [4, 1], [4, 3], [1, 3]], name="x")
    second = roifile.ImagejRoi(roitype=roifile.ROI_TYPE.RECT, top=4, left=2, bottom=6, right=5)
    line = roifile.ImagejRoi(roitype=roifile.ROI_TYPE.LINE)
    path = tmp_path / "b.zip"
    roifile.roiwrite(path, [first, line, second], name=["x", "y", "z"])
    expected = np.zeros((6, 5), int)
    expected[1:3, 1:4], expected[4:6, 2:5] = 1, 2
    np.testing.assert_array_equal(read_cells(path).labels, expected)


@pytest.mark.parametrize(("field", "axis"), [("position", "Z"), ("z_position", "Z"), ("t_position", "T")])
def test_regions_of_a_stack_stay_in_their_planes_where_the_comment_is_gone(tmp_path, field, axis):
    regions = roifile.roiread(write("imagej", make_scene("a stack of times"), tmp_path))
    for region in regions:
        place, region.position = region.position, 0
        setattr(region, field, place)
    path = tmp_path / "b.zip"
    roifile.roiwrite(path, regions, name=[region.name for region in regions])
    cells = read_cells(path, (2, 4))
    assert cells.axis == axis
    np.testing.assert_array_equal(cells.labels, make_scene("a stack of times").labels[:2])


def test_regions_of_several_times_and_depths_are_refused(tmp_path):
    regions = [roifile.ImagejRoi.frompoints([[1, 1], [4, 1], [4, 3]]) for _ in range(2)]
    regions[1].t_position = regions[1].z_position = 3
    roifile.roiwrite(tmp_path / "b.zip", regions, name=["x", "y"])
    with pytest.raises(ImageReadError, match="several times and depths"):
        read_cells(tmp_path / "b.zip")


def test_cells_beyond_the_reach_of_whole_numbers_are_exact(tmp_path):
    labels = np.zeros((2, 70_000), np.uint32)
    labels[0, 65_000:69_000] = 1
    labels[1, 10:60_000] = 2
    from napari_cellsam.export.cell_set import CellSet

    path = write("imagej", CellSet(labels, name="a"), tmp_path)
    np.testing.assert_array_equal(read_cells(path).labels, labels)


# Cellpose


def test_cellposes_seg_has_its_documented_layout(tmp_path):
    cells = make_scene("numbers with gaps")
    path = write("cellpose", cells, tmp_path)
    content = np.load(path, allow_pickle=True).item()  # as Cellpose does
    np.testing.assert_array_equal(content["masks"], cells.labels)
    assert content["outlines"].shape == cells.labels.shape and content["masks"].dtype == np.uint32
    assert content["ismanual"].tolist() == [False, True, False]
    assert {"filename", "flows", "chan_choose", "diameter"} <= content.keys()


def test_labels_that_fit_are_16_bits_for_cellpose(tmp_path):
    path = write("cellpose", make_scene("one cell"), tmp_path)
    assert np.load(path, allow_pickle=True).item()["masks"].dtype == np.uint16


@pytest.mark.parametrize("protocol", range(6))
def test_segs_of_all_protocols_of_pickle_are_read(tmp_path, protocol):
    masks = np.array([[0, 1], [2, 2]], ">u2" if protocol % 2 else "<u2")
    content = {
        "masks": masks,
        "ismanual": np.array([False, True]),
        "diameter": np.float64(3.5),
        "flows": [np.zeros((1, 2, 2), np.uint8), [np.zeros((2, 2), np.float32, order="F")]],
        "colors": np.array([[1, 2, 3]]),
        "filename": "ä.tif",
        "model_path": 0,
        "text": np.array(["a", "b"]),
    }
    path = tmp_path / "b_seg.npy"
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|O", "fortran_order": False, "shape": ()})
        pickle.dump(np.array(content, object), file, protocol)
    cells = read_cells(path)
    np.testing.assert_array_equal(cells.labels, masks)
    assert cells.facts_of(0, 2).origin == "manual" and cells.facts_of(0, 1).origin == ""


class Harmful:
    """Would make a file if it were unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_a_seg_that_would_run_something_is_refused_and_runs_nothing(tmp_path):
    path = tmp_path / "b_seg.npy"
    np.save(path, np.array({"masks": Harmful(tmp_path / "harm")}, object), allow_pickle=True)
    with pytest.raises(ImageReadError, match="wants to run"):
        read_cells(path)
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize("masks", [[1, 2], np.array([[1.5]]), np.array([[object()]], object), np.zeros((0, 2), int)])
def test_a_seg_without_masks_that_are_labels_is_refused(tmp_path, masks):
    path = tmp_path / "b_seg.npy"
    np.save(path, np.array({"masks": masks}, object), allow_pickle=True)
    with pytest.raises(Exception, match=r"masks|labels|wants to run"):
        read_cells(path)


# StarDist, DeepCell, TIFF


def test_stardists_folders_pair_images_and_masks_by_name(tmp_path):
    cells = with_image(make_scene("touching cells"))
    write("stardist", cells, tmp_path)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "stardist/masks/a.tif"), cells.labels)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "stardist/images/a.tif"), cells.images[0].pixels[..., 0])


@pytest.mark.parametrize("scene", ["touching cells", "a stack of times"])
def test_deepcells_arrays_have_four_axes(tmp_path, scene):
    cells = with_image(make_scene(scene), channels=2)
    with np.load(write("deepcell", cells, tmp_path)) as archive:
        assert archive["X"].shape == (cells.n_planes, *cells.shape, 2)
        assert archive["y"].dtype == np.int32
        np.testing.assert_array_equal(archive["y"][..., 0].squeeze(), cells.labels)


def test_deepcells_own_files_are_read(tmp_path):
    labels = np.array([[[0, 1]], [[2, 2]]], np.int32)
    np.savez(tmp_path / "b.npz", X=np.zeros((2, 1, 2, 1)), y=labels[..., None])
    np.testing.assert_array_equal(read_cells(tmp_path / "b.npz").labels, labels)


@pytest.mark.parametrize("arrays", [{"X": np.zeros((1, 2, 2, 1))}, {"y": np.zeros((2, 2))}])
def test_an_npz_without_such_labels_is_refused(tmp_path, arrays):
    np.savez(tmp_path / "b.npz", **arrays)
    with pytest.raises(ImageReadError):
        read_cells(tmp_path / "b.npz")


def test_the_ome_tiff_has_tiles_smaller_copies_and_the_pixel_size(tmp_path):
    from napari_cellsam.export.cell_set import CellSet

    labels = np.arange(2100 * 2300, dtype=np.uint32).reshape(2100, 2300)
    path = write("ome-tiff", CellSet(labels, pixel_size_um=(0.25, 0.5), name="a"), tmp_path)
    with tifffile.TiffFile(path) as file:
        levels = file.series[0].levels
        assert file.is_ome and file.pages[0].is_tiled
        assert [level.shape for level in levels] == [(2100, 2300), (1050, 1150), (525, 575)]
        np.testing.assert_array_equal(levels[1].asarray(), labels[::2, ::2])
        assert 'PhysicalSizeX="0.5"' in file.ome_metadata


def test_the_pixel_size_that_imagej_keeps_comes_back(tmp_path):
    metadata, labels = {"axes": "YX", "unit": "um"}, np.ones((3, 4), np.uint16)
    tifffile.imwrite(tmp_path / "a_labels.tif", labels, imagej=True, resolution=(4, 2), metadata=metadata)
    assert read_cells(tmp_path / "a_labels.tif").pixel_size_um == (0.5, 0.25)


def test_a_pixel_without_size_in_ome_metadata_has_none(tmp_path):
    metadata = {"axes": "YX", "PhysicalSizeY": 0.0, "PhysicalSizeX": 0.0}
    tifffile.imwrite(tmp_path / "a_labels.tif", np.ones((3, 4), np.uint16), ome=True, metadata=metadata)
    assert read_cells(tmp_path / "a_labels.tif").pixel_size_um is None


# names


@pytest.mark.parametrize("name", [None, 7, "", "  "])
@pytest.mark.parametrize(("format_", "key"), [("geojson", "name"), ("coco", "description")])
def test_cells_without_a_name_are_called_as_their_file(tmp_path, format_, key, name):
    path = write(format_, make_scene("a stack of times"), tmp_path)
    document = json.loads(path.read_text())
    (document["napari_cellsam"] if format_ == "geojson" else document["info"])[key] = name
    path.write_text(json.dumps(document))
    assert read_cells(path).name == path.stem


# tables and pictures


@pytest.mark.parametrize("scene", ["touching cells", "numbers with gaps", "a stack of depths", "an empty image"])
def test_the_tables_have_a_row_per_cell_with_what_is_known(tmp_path, scene):
    cells = with_image(make_scene(scene))
    rows = parquet.read_table(write("parquet", cells, tmp_path)).to_pylist()
    keys = [(plane, label) for plane, labels in cells.planes() for label in cells_of(labels)]
    assert [(row.get("plane", 0), row["label"]) for row in rows] == keys
    lines = write("csv", cells, tmp_path).read_text().splitlines()
    assert len(lines) == len(rows) + 1
    for row, key in zip(rows, keys, strict=True):
        known = cells.facts_of(*key)
        assert (row["origin"] or "", row["detector_score"]) == (known.origin, known.detector_score)


def test_the_svg_has_a_path_per_cell_over_the_picture(tmp_path):
    cells = with_image(make_scene("cells with holes"))
    root = ET.parse(write("svg", cells, tmp_path)).getroot()
    space = "{http://www.w3.org/2000/svg}"
    paths = root.findall(f"{space}g/{space}path")
    assert [path.get("id") for path in paths] == ["cell-1", "cell-2", "cell-3"]
    assert paths[0].get("d").count("M") == 3  # the outside, and two holes
    assert root.find(f"{space}image") is not None


def test_the_png_has_the_size_of_the_image(tmp_path):
    path = write("png", with_image(make_scene("touching cells")), tmp_path)
    assert imread(path).shape == (3, 7, 3)


def test_a_broken_region_is_refused_by_name(tmp_path):
    from zipfile import ZipFile

    with ZipFile(tmp_path / "b.zip", "w") as archive:
        archive.writestr("7.roi", b"Iout" + struct.pack(">h", 229) + bytes(60))
    with pytest.raises(ImageReadError):
        read_cells(tmp_path / "b.zip")
