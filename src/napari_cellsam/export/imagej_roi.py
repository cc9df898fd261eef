"""The zip of ImageJ regions of interest, one per cell."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import ZIP_DEFLATED, BadZipFile, ZipFile

import numpy as np

from napari_cellsam.errors import ImageReadError, OptionError
from napari_cellsam.export.cell_set import CellSet, StackAxis
from napari_cellsam.export.facts import ABOUT, about, describe, facts_from
from napari_cellsam.export.outlined import Outlined, build_cells, find_axis
from napari_cellsam.export.output import whole_file
from napari_cellsam.export.rings import group_rings

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from roifile import ImagejRoi

__all__ = ["read_rois", "write_rois"]

_MOVE, _LINE, _CLOSE = 0, 1, 4  # of the paths of composite regions
_LARGEST_INTEGER = 60_535  # that ImageJ tells from a negative one
_LARGEST_EXTENT = 32_767
_LARGEST_REGION = 2**28
# what zipfile, roifile and the values in such a file make of one that is no such file
_BROKEN = (
    AttributeError,
    BadZipFile,
    EOFError,
    LookupError,
    NotImplementedError,
    OptionError,
    OverflowError,
    RuntimeError,
    TypeError,
    ValueError,
    zlib.error,
)


def write_rois(path: Path, cells: CellSet, overwrite: bool = False) -> None:
    """Write cells as a zip of ImageJ regions, which ImageJ's ROI manager opens.

    A cell of one piece is a traced region, others are composite ones; both are exact. Their names are the labels. In
    a stack, positions are those of its planes.

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
    with whole_file(path, overwrite) as temporary, ZipFile(temporary, "w", ZIP_DEFLATED, compresslevel=1) as archive:
        archive.comment = json.dumps({ABOUT: about(cells)}).encode()
        for plane in range(cells.n_planes):
            place = f"{plane + 1:04d}-" if cells.axis else ""
            for label, pieces in group_rings(cells.rings(plane)):
                region = _region([ring for piece in pieces for ring in piece])
                region.name = f"{place}{label:05d}"
                region.position = plane + 1 if cells.axis else 0
                values = {"label": label, **describe(cells.facts_of(plane, label))}
                region.props = "".join(f"{key}: {value}\n" for key, value in values.items())
                archive.writestr(f"{region.name}.roi", region.tobytes())


def _region(rings: list[NDArray[np.int32]]) -> ImagejRoi:
    """Return the region inside rings."""
    from roifile import ROI_TYPE, ImagejRoi

    points = rings[0] if len(rings) == 1 else np.concatenate(rings)
    (top, left), (bottom, right) = points.min(0).tolist(), points.max(0).tolist()
    region = ImagejRoi(top=top, left=left, bottom=bottom, right=right)
    fits = max(bottom, right) <= _LARGEST_INTEGER and max(bottom - top, right - left) <= _LARGEST_EXTENT
    if len(rings) == 1 and fits:
        region.roitype = ROI_TYPE.TRACED
        region.integer_coordinates = points[:, ::-1] - np.array([left, top], np.int32)
        region.n_coordinates = len(points)
        return region
    region.roitype = ROI_TYPE.RECT
    region.multi_coordinates = np.concatenate([_path(ring) for ring in rings])
    region.shape_roi_size = len(region.multi_coordinates)
    return region


def _path(ring: NDArray[np.int32]) -> NDArray[np.float32]:
    """Return the path of a ring: a move, lines, and an end."""
    steps = np.full((len(ring), 3), _LINE, np.float32)
    steps[0, 0] = _MOVE
    steps[:, 1:] = ring[:, ::-1]
    return np.append(steps.ravel(), np.float32(_CLOSE))


def read_rois(path: Path, shape: tuple[int, int] | None = None) -> CellSet:
    """Read cells from a zip of ImageJ regions: those that have an area.

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
        If the file is no such zip.
    """
    try:
        with ZipFile(path) as archive:
            own = _about(archive.comment)
            regions = list(_list_regions(archive))
        axis = own["axis"] if "axis" in own else _axis(regions, path)
        return build_cells([_outlined(region, axis) for region in regions], own, path, shape, axis)
    except OSError as error:
        raise ImageReadError(f"{path} cannot be read: {error.strerror or error}") from error
    except _BROKEN as error:
        raise ImageReadError(f"{path} is no zip of ImageJ regions that can be used: {error}") from error


def _about(comment: bytes) -> dict[str, Any]:
    """Return what a file of ours says about its image."""
    try:
        own = json.loads(comment)[ABOUT]
    except (ValueError, KeyError, TypeError):
        return {}  # the file is another program's, and its comment no business of ours
    return own if isinstance(own, dict) else {}


def _list_regions(archive: ZipFile) -> Iterator[ImagejRoi]:
    """List the regions that have an area."""
    import struct

    from roifile import ROI_TYPE, ImagejRoi

    flat = (ROI_TYPE.POINT, ROI_TYPE.LINE, ROI_TYPE.POLYLINE, ROI_TYPE.FREELINE, ROI_TYPE.ANGLE, ROI_TYPE.NOROI)
    for name in archive.namelist():
        if not name.lower().endswith(".roi"):
            continue
        with archive.open(name) as file:
            content = file.read(_LARGEST_REGION)
        try:
            region = ImagejRoi.frombytes(content)
        except struct.error as error:
            raise ImageReadError(f"the region {name} is broken: {error}") from error
        if region.roitype not in flat:
            yield region


def _axis(regions: list[ImagejRoi], path: Path) -> StackAxis:
    """Find out what the planes are where the comment is gone, as after ImageJ has saved the regions anew."""
    times = [_index(region.t_position) for region in regions]
    return find_axis(times, [_index(region.z_position or region.position) for region in regions], path)


def _index(position: int) -> int:
    """Return the plane of a position, which counts from 1; 0 is all planes, and the region is put into the first."""
    return max(int(position) - 1, 0)


def _outlined(region: ImagejRoi, axis: str) -> Outlined:
    """Return the outlines of a region."""
    values = _values(region.props)
    rings = [np.asarray(ring, float)[:, ::-1] for ring in region.coordinates(multi=True)]
    place = region.t_position if axis == "T" else region.z_position
    plane = _index(place or region.position) if axis else 0
    return Outlined(rings, values.get("label"), plane, facts_from(values))


def _values(properties: str) -> dict[str, Any]:
    """Return the properties of a region, numbers as numbers."""
    values: dict[str, Any] = {}
    for line in properties.splitlines():
        key, _, value = line.partition(": ")
        try:
            values[key] = float(value)
        except ValueError:
            values[key] = value
    return values
