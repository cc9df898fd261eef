"""The GeoJSON file of cells for QuPath."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid5

import numpy as np

from napari_cellsam.errors import ImageReadError, OptionError
from napari_cellsam.export.cell_set import CellSet
from napari_cellsam.export.facts import ABOUT, about, describe, facts_from
from napari_cellsam.export.json_file import read_json, write_json
from napari_cellsam.export.outlined import Outlined, build_cells, find_axis
from napari_cellsam.export.rings import group_rings

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["read_geojson", "write_geojson"]

_SPACE = UUID("5f9b3c8e-2f0a-4c55-9d1b-0d6f7a3a4e21")  # so that cells keep their identity from export to export


def write_geojson(path: Path, cells: CellSet, overwrite: bool = False) -> None:
    """Write cells as GeoJSON detections that QuPath opens: polygons along the edges of pixels, with their holes.

    Coordinates are ``(x, y)`` in pixels; (0, 0) is the outer corner of the first, as in QuPath. The label is the name
    of a detection and one of its measurements.

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
    head = {"type": "FeatureCollection", ABOUT: about(cells)}
    write_json(path, head, "features", _list_features(cells), overwrite)


def _list_features(cells: CellSet) -> Iterator[dict[str, Any]]:
    """List the cells of all planes."""
    for plane in range(cells.n_planes):
        place = {"plane": {"c": -1, "z": 0, "t": 0} | {cells.axis.lower(): plane}} if cells.axis else {}
        for label, pieces in group_rings(cells.rings(plane)):
            shapes = [[np.append(ring, ring[:1], 0)[:, ::-1].tolist() for ring in piece] for piece in pieces]
            single = len(shapes) == 1
            geometry = {"type": "Polygon" if single else "MultiPolygon", "coordinates": shapes[0] if single else shapes}
            known = describe(cells.facts_of(plane, label))
            origin = known.pop("origin", None)
            properties: dict[str, Any] = {
                "objectType": "detection",
                "name": str(label),
                "measurements": {"label": label, **known},
            }
            if origin is not None:
                properties["metadata"] = {"origin": origin}
            yield {
                "type": "Feature",
                "id": str(uuid5(_SPACE, f"{cells.name}/{plane}/{label}")),
                "geometry": geometry | place,
                "properties": properties,
            }


def read_geojson(path: Path, shape: tuple[int, int] | None = None) -> CellSet:
    """Read cells from GeoJSON: features that are polygons or multi-polygons.

    Cells get the label that the file gives them, or are numbered in its order.

    Parameters
    ----------
    path
        The file.
    shape
        ``(Y, X)`` of the image. Files of ours hold it; for others, the smallest that holds all cells if left out.

    Raises
    ------
    ImageReadError
        If the file is no such document.
    """
    document = read_json(path)
    try:
        return _build(document, path, shape)
    except (AttributeError, IndexError, KeyError, OptionError, OverflowError, TypeError, ValueError) as error:
        raise ImageReadError(f"{path} is no GeoJSON document that can be used: {error!r}") from error


def _build(document: Any, path: Path, shape: tuple[int, int] | None) -> CellSet:
    """Build the cells of a document."""
    if isinstance(document, list):
        features, own = document, {}
    else:
        features, own = [document] if document["type"] == "Feature" else document["features"], document.get(ABOUT, {})
    drawn = [feature for feature in features if (feature["geometry"] or {}).get("type") in ("Polygon", "MultiPolygon")]
    times, depths = ([_place(feature, axis) for feature in drawn] for axis in "TZ")
    axis = own["axis"] if "axis" in own else find_axis(times, depths, path)
    return build_cells([_read_feature(feature, axis) for feature in drawn], own, path, shape, axis)


def _place(feature: Mapping[str, Any], axis: str) -> int:
    """Return the time or depth of a cell, 0 first, as QuPath writes it."""
    return int((feature["geometry"].get("plane") or {}).get(axis.lower(), 0))


def _read_feature(feature: Mapping[str, Any], axis: str) -> Outlined:
    """Read one cell."""
    geometry = feature["geometry"]
    pieces = [geometry["coordinates"]] if geometry["type"] == "Polygon" else geometry["coordinates"]
    rings = [_read_ring(ring) for piece in pieces for ring in piece]
    properties = feature.get("properties") or {}
    measured = _named(properties.get("measurements"))
    known = facts_from({**measured, **(properties.get("metadata") or {})})
    return Outlined(rings, measured.get("label"), _place(feature, axis) if axis else 0, known)


def _read_ring(points: Any) -> NDArray[np.float64]:
    """Return the corners ``(N, 2)`` of a ring, whose first point comes again at its end; some leave that out."""
    corners = np.asarray(points, float)[:, 1::-1]
    return corners[:-1] if len(corners) > 1 and (corners[0] == corners[-1]).all() else corners


def _named(measurements: Any) -> dict[str, Any]:
    """Return measurements by name: QuPath has written them as an object, and before that as a list."""
    if isinstance(measurements, Mapping):
        return dict(measurements)
    return {item["name"]: item["value"] for item in measurements or ()}
