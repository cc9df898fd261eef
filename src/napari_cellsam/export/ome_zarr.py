"""The OME-Zarr of labels, with the image where there is one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_cellsam.errors import CellsamError, ImageReadError
from napari_cellsam.export.cell_set import CellFacts, CellSet
from napari_cellsam.export.facts import ABOUT, about, describe, facts_from, name_from, pixel_size_from
from napari_cellsam.export.output import whole_folder

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray
    from zarr import Group

__all__ = ["read_ome_zarr", "write_ome_zarr"]

_VERSION = "0.5"
_LABELS = "cells"
_CHUNK = 1024
_TYPES = {"T": "time", "Z": "space", "Y": "space", "X": "space", "C": "channel"}
_MARKER = "zarr.json"


def write_ome_zarr(path: Path, cells: CellSet, overwrite: bool = False) -> None:
    """Write cells as OME-Zarr 0.5: the labels "cells" with smaller copies, and the image they belong to.

    Parameters
    ----------
    path
        Of the folder; ends in ``.ome.zarr``.
    cells
        The cells.
    overwrite
        Whether a folder of ours that is there already is replaced.

    Raises
    ------
    OutputError
        If the folder exists already or cannot be written.
    """
    from zarr import open_group

    with whole_folder(path, _MARKER, overwrite) as temporary:
        root = open_group(temporary, mode="w", zarr_format=3)
        own: dict[str, Any] = {"version": _VERSION}
        if cells.images:
            own["multiscales"] = _write_image(root, cells)
        root.attrs["ome"] = own
        folder = root.create_group("labels", attributes={"ome": {"version": _VERSION, "labels": [_LABELS]}})
        group = folder.create_group(_LABELS)
        scales = _write_pyramid(group, cells.labels, f"{cells.axis}YX", cells)
        label: dict[str, Any] = {"source": {"image": "../../"}} if cells.images else {}
        if not cells.axis:
            label["properties"] = [
                {"label-value": number, **describe(known)} for (_, number), known in sorted(cells.facts.items())
            ]
        group.attrs["ome"] = {"version": _VERSION, "multiscales": scales, "image-label": label}
        group.attrs[ABOUT] = about(cells) | ({"facts": _list_facts(cells)} if cells.axis else {})


def _list_facts(cells: CellSet) -> list[list[Any]]:
    """List what is known of the cells of a stack, for which the format has no place."""
    return [[plane, label, describe(known)] for (plane, label), known in sorted(cells.facts.items())]


def _write_image(root: Group, cells: CellSet) -> list[dict[str, Any]]:
    """Write the image, its channels before depth, as the format wants it."""
    planes = [np.moveaxis(image.pixels, 2, 0) for image in cells.images]  # each (C, Y, X)
    if not cells.axis:
        return _write_pyramid(root, planes[0], "CYX", cells)
    axes = "TCYX" if cells.axis == "T" else "CZYX"
    return _write_pyramid(root, np.stack(planes, 0 if cells.axis == "T" else 1), axes, cells)


def _write_pyramid(group: Group, array: NDArray[Any], axes: str, cells: CellSet) -> list[dict[str, Any]]:
    """Write an array and copies of half the size each; return the metadata."""
    chunks = tuple(_CHUNK if axis in "YX" else 1 for axis in axes)
    datasets: list[dict[str, Any]] = []
    y, x = cells.pixel_size_um or (1.0, 1.0)
    step = 1
    while step == 1 or min(cells.shape) >= step * _CHUNK:
        level = array[..., ::step, ::step]
        name = str(len(datasets))
        own = tuple(min(chunk, size) for chunk, size in zip(chunks, level.shape, strict=True))
        stored = group.create_array(
            name, shape=level.shape, dtype=level.dtype, chunks=own, dimension_names=[axis.lower() for axis in axes]
        )
        stored[...] = level
        scale = [{"Y": y * step, "X": x * step}.get(axis, 1.0) for axis in axes]
        datasets.append({"path": name, "coordinateTransformations": [{"type": "scale", "scale": scale}]})
        step *= 2
    unit = {} if cells.pixel_size_um is None else {"unit": "micrometer"}
    described = [{"name": axis.lower(), "type": _TYPES[axis], **(unit if axis in "YX" else {})} for axis in axes]
    return [{"name": cells.name, "axes": described, "datasets": datasets}]


def read_ome_zarr(path: Path) -> CellSet:
    """Read the first labels of an OME-Zarr, of version 0.4 or 0.5.

    Raises
    ------
    ImageReadError
        If the folder is no such folder.
    """
    from zarr import open_group

    try:
        return _read(open_group(path, mode="r"), path)
    except CellsamError:
        raise
    except Exception as error:  # whatever the library makes of a broken folder
        raise ImageReadError(f"{path} cannot be read as an OME-Zarr with labels: {error!r}") from error


def _read(root: Any, path: Path) -> CellSet:
    """Read the first labels below a group."""
    folder = root["labels"]
    attributes = folder.attrs.asdict()
    group = folder[attributes.get("ome", attributes)["labels"][0]]
    attributes = group.attrs.asdict()
    meta, own = attributes.get("ome", attributes), attributes.get(ABOUT, {})
    scales = meta["multiscales"][0]
    labels = group[scales["datasets"][0]["path"]][...]
    axes = "".join(axis["name"].upper() for axis in scales["axes"])
    kept = [i for i, size in enumerate(labels.shape) if size > 1 or axes[i] in "YX" or axes[i] == own.get("axis")]
    labels = labels.reshape([labels.shape[i] for i in kept])
    axis = "".join(axes[i] for i in kept).removesuffix("YX")
    if axis not in ("", "T", "Z"):
        raise ImageReadError(f"{path} has labels of axes {axes}; expected one plane, or a stack of times or depths")
    cells = CellSet.from_array(labels, axis=axis, name=name_from(own.get("name"), path))  # type: ignore[arg-type]
    size = pixel_size_from(own["pixel_size_um"]) if own else _pixel_size(scales)
    return CellSet(cells.labels, cells.axis, _facts(meta, own), (), size, cells.name)


def _facts(meta: Mapping[str, Any], own: Mapping[str, Any]) -> dict[tuple[int, int], CellFacts]:
    """Return what is known of cells."""
    properties = meta.get("image-label", {}).get("properties") or ()
    rows = [(0, row["label-value"], row) for row in properties] + [tuple(row) for row in own.get("facts", ())]
    facts = {(plane, label): facts_from(values) for plane, label, values in rows}
    return {key: known for key, known in facts.items() if known != CellFacts()}


def _pixel_size(scales: Mapping[str, Any]) -> tuple[float, float] | None:
    """Return the pixel size where it is given in micrometres."""
    if any(axis.get("unit") != "micrometer" for axis in scales["axes"][-2:]):
        return None
    return pixel_size_from(scales["datasets"][0]["coordinateTransformations"][0]["scale"][-2:])
