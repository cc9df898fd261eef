"""The COCO annotations of cells as JSON: exact masks, or polygons."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from napari_cellsam.errors import ImageReadError
from napari_cellsam.export.cell_set import CellFacts, CellSet
from napari_cellsam.export.facts import ABOUT, about, describe, facts_from, name_from, pixel_size_from
from napari_cellsam.export.filling import fill_polygons
from napari_cellsam.export.json_file import read_json, write_json
from napari_cellsam.export.rings import group_rings
from napari_cellsam.export.rle import decode_runs, encode_runs
from napari_cellsam.export.runs import find_runs, paint_runs
from napari_cellsam.memory import check_memory

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["read_coco", "write_coco", "write_coco_polygons"]

_Item = dict[str, Any]


def write_coco(path: Path, cells: CellSet, overwrite: bool = False) -> None:
    """Write cells as COCO annotations with compressed masks, one image per plane.

    The label of a cell is in ``label``, what else is known of it in ``score`` and ``attributes``.

    Parameters
    ----------
    path
        Where to write to.
    cells
        The cells.
    overwrite
        Whether a file that is there already is replaced.

    Raises
    ------
    OutputError
        If the file exists already or cannot be written.
    """
    write_json(path, _head(cells), "annotations", _number(_list_masks(cells), cells), overwrite)


def write_coco_polygons(path: Path, cells: CellSet, overwrite: bool = False) -> None:
    """Write cells as COCO annotations with polygons along the edges of pixels.

    COCO's polygons know no holes: those of cells are filled. The rest is as for `write_coco`.
    """
    write_json(path, _head(cells), "annotations", _number(_list_polygons(cells), cells), overwrite)


def _head(cells: CellSet) -> dict[str, Any]:
    """Return what comes before the annotations."""
    height, width = cells.shape
    names = [cells.at(plane).name for plane in range(cells.n_planes)]
    return {
        "info": {"description": cells.name, ABOUT: about(cells)},
        "images": [
            {"id": plane + 1, "file_name": f"{name}.tif", "height": height, "width": width}
            for plane, name in enumerate(names)
        ],
        "categories": [{"id": 1, "name": "cell", "supercategory": "cell"}],
    }


def _number(annotations: Iterator[tuple[int, int, _Item]], cells: CellSet) -> Iterator[_Item]:
    """Complete annotations, given as plane, label and shape, with a number and what is known of the cell."""
    for number, (plane, label, shape) in enumerate(annotations, 1):
        known = cells.facts_of(plane, label)
        item = {"id": number, "image_id": plane + 1, "category_id": 1, "iscrowd": 0, "label": label, **shape}
        if known.detector_score is not None:
            item["score"] = known.detector_score
        yield item | {"attributes": describe(known)}


def _list_masks(cells: CellSet) -> Iterator[tuple[int, int, _Item]]:
    """List the masks of all cells."""
    for plane, labels in cells.planes():
        runs = find_runs(labels)
        if not len(runs.labels):
            continue
        first = np.flatnonzero(np.diff(runs.labels, prepend=0))
        x, y = np.divmod(runs.starts, cells.shape[0])
        left, top = np.minimum.reduceat(x, first), np.minimum.reduceat(y, first)
        right, bottom = np.maximum.reduceat(x, first) + 1, np.maximum.reduceat(y + runs.lengths, first)
        boxes = np.stack([left, top, right - left, bottom - top], 1).tolist()
        areas = np.add.reduceat(runs.lengths, first).tolist()
        size = list(cells.shape)
        for i, (label, counts) in enumerate(encode_runs(runs, labels.size)):
            segmentation = {"size": size, "counts": counts}
            yield plane, label, {"segmentation": segmentation, "area": areas[i], "bbox": boxes[i]}


def _list_polygons(cells: CellSet) -> Iterator[tuple[int, int, _Item]]:
    """List the polygons of all cells; their areas are those of the masks."""
    for plane in range(cells.n_planes):
        rings = cells.rings(plane)
        owners, first = np.unique(rings.labels, return_index=True)
        areas = np.add.reduceat(rings.areas, first).tolist() if len(owners) else []
        for (label, pieces), area in zip(group_rings(rings), areas, strict=True):
            outer = [piece[0] for piece in pieces]
            points = np.concatenate(outer)
            (top, left), (bottom, right) = points.min(0).tolist(), points.max(0).tolist()
            box = [left, top, right - left, bottom - top]
            segmentation = [ring[:, ::-1].ravel().tolist() for ring in outer]
            yield plane, label, {"segmentation": segmentation, "area": area, "bbox": box}


def read_coco(path: Path) -> CellSet:
    """Read cells from COCO annotations: compressed or plain masks, or polygons.

    Files of other programs need one image, or several of one size, which become a stack. Cells get the label that the
    file gives them, or are numbered in its order.

    Raises
    ------
    ImageReadError
        If the file is no such document.
    """
    document = read_json(path)
    try:
        return _build(document, path)
    except (AttributeError, IndexError, KeyError, OverflowError, TypeError, ValueError) as error:
        raise ImageReadError(f"{path} is no COCO document that can be used: {error!r}") from error


def _build(document: Mapping[str, Any], path: Path) -> CellSet:
    """Build the cells of a document."""
    images = document["images"]
    shapes = {(int(image["height"]), int(image["width"])) for image in images}
    if len(shapes) != 1:
        raise ImageReadError(f"{path} holds {len(images)} images of {len(shapes)} sizes; expected images of one size")
    (shape,) = shapes
    info = document["info"] if isinstance(document.get("info"), Mapping) else {}
    own = info.get(ABOUT, {})
    axis: Literal["", "T", "Z"] = own.get("axis", "T" if len(images) > 1 else "")
    planes = {image["id"]: index for index, image in enumerate(images)}
    sorted_items: list[list[_Item]] = [[] for _ in images]
    for item in document["annotations"]:
        sorted_items[planes[item["image_id"]]].append(item)
    check_memory((len(images) * shape[0], shape[1]), np.uint32().itemsize)
    stack = [_paint(items, shape) for items in sorted_items]
    facts = {(plane, label): known for plane, (_, own) in enumerate(stack) for label, known in own.items()}
    given = info.get("description") if axis else Path(str(images[0].get("file_name", ""))).stem
    labels = np.stack([labels for labels, _ in stack]) if axis else stack[0][0]
    return CellSet(labels, axis, facts, (), pixel_size_from(own.get("pixel_size_um")), name_from(given, path))


def _paint(items: list[_Item], shape: tuple[int, int]) -> tuple[NDArray[np.uint32], dict[int, CellFacts]]:
    """Paint the annotations of one image; return what is known of its cells too."""
    labels = [item["label"] for item in items if isinstance(item.get("label"), int) and item["label"] > 0]
    if len(set(labels)) < len(items):
        labels = list(range(1, len(items) + 1))
    numbered: list[tuple[int, Any]] = [(label, item["segmentation"]) for label, item in zip(labels, items, strict=True)]
    polygons = [
        (label, [np.asarray(ring, float).reshape(-1, 2)[:, ::-1]])
        for label, shapes in numbered
        if isinstance(shapes, list)
        for ring in shapes
    ]
    masks = [(label, segmentation["counts"]) for label, segmentation in numbered if isinstance(segmentation, Mapping)]
    canvas = fill_polygons(polygons, shape)
    if masks:
        turned = np.ascontiguousarray(canvas.T)
        paint_runs(decode_runs([label for label, _ in masks], [counts for _, counts in masks], shape), turned)
        canvas = np.ascontiguousarray(turned.T)
    known = {
        label: facts_from({"detector_score": item.get("score"), **(item.get("attributes") or {})})
        for label, item in zip(labels, items, strict=True)
    }
    return canvas, {label: facts for label, facts in known.items() if facts != CellFacts()}
