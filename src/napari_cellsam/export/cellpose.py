"""The files of Cellpose: ``_seg.npy``, which its window opens, and ``_cp_masks.tif``."""

from __future__ import annotations

from pathlib import Path
from tokenize import TokenError
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_cellsam.errors import ImageReadError
from napari_cellsam.export.cell_set import CellFacts, CellSet, used_labels
from napari_cellsam.export.output import whole_file
from napari_cellsam.export.overlay import find_outlines
from napari_cellsam.export.plain_pickle import load_plain

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["read_seg", "write_masks", "write_seg"]

_BY_HAND = ("manual", "edited")


def write_seg(path: Path, cells: CellSet, overwrite: bool = False) -> None:
    """Write cells as Cellpose's ``_seg.npy``, in the layout that its documentation gives.

    Parameters
    ----------
    path
        Where to write to; for Cellpose ``<image>_seg.npy`` beside the image.
    cells
        The cells; those with the origin "manual" or "edited" are ``ismanual``.
    overwrite
        Whether a file that is there already is replaced.

    Raises
    ------
    OutputError
        If the file exists already or cannot be written.
    """
    masks = _narrow(cells.labels)
    outlines = np.zeros_like(masks)
    for plane, labels in cells.planes():
        edge = find_outlines(labels)
        target = outlines[plane] if cells.axis else outlines
        target[edge] = labels[edge]
    manual = {label for (_, label), known in cells.facts.items() if known.origin in _BY_HAND}
    content = {
        "masks": masks,
        "outlines": outlines,
        "chan_choose": [0, 0],
        "ismanual": np.isin(used_labels(cells.labels), list(manual)),
        "filename": f"{cells.name}.tif",
        "flows": [[], [], [], [], [[]]],
        "diameter": _diameter(cells.labels),
    }
    with whole_file(path, overwrite) as temporary, temporary.open("wb") as file:
        np.save(file, np.array(content, object), allow_pickle=True)


def _narrow(labels: NDArray[np.uint32]) -> NDArray[Any]:
    """Return labels as uint16 if they fit, as Cellpose does."""
    return labels.astype(np.uint16) if labels.max() < 2**16 else labels


def _diameter(labels: NDArray[np.uint32]) -> float:
    """Return the mean diameter of cells as discs, NaN where there are none."""
    n_cells = len(used_labels(labels))
    return float(np.sqrt(4 / np.pi * np.count_nonzero(labels) / n_cells)) if n_cells else float("nan")


def read_seg(path: Path) -> CellSet:
    """Read cells from Cellpose's ``_seg.npy``.

    Such a file is a pickle, which could run anything: ours reads arrays, lists and plain values, and refuses whatever
    names something else.

    Raises
    ------
    ImageReadError
        If the file is no such file, or is not safe to read.
    """
    try:
        with path.open("rb") as file:
            version = np.lib.format.read_magic(file)
            reader = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            _, _, dtype = reader(file)
            content = load_plain(file.read()) if dtype.hasobject else None
    except OSError as error:
        raise ImageReadError(f"{path} cannot be read: {error.strerror or error}") from error
    except (ImageReadError, EOFError, SyntaxError, TypeError, TokenError, ValueError) as error:
        raise ImageReadError(f"{path} cannot be read as Cellpose's _seg.npy: {error}") from error
    while isinstance(content, list) and len(content) == 1:
        content = content[0]
    if not isinstance(content, dict) or not isinstance(content.get("masks"), np.ndarray):
        raise ImageReadError(f"{path} holds no masks as Cellpose's _seg.npy does")
    masks = content["masks"]
    cells = CellSet.from_array(masks if masks.ndim < 4 else masks.squeeze(), name=path.stem.removesuffix("_seg"))
    return CellSet(cells.labels, cells.axis, _origins(cells.labels, content.get("ismanual")), (), None, cells.name)


def _origins(labels: NDArray[np.uint32], manual: Any) -> dict[tuple[int, int], CellFacts]:
    """Return which cells were drawn by hand."""
    used = used_labels(labels)
    if labels.ndim != 2 or manual is None or len(manual) != len(used):
        return {}
    drawn = used[np.asarray(manual, bool)]
    return {(0, label): CellFacts("manual") for label in drawn.tolist()}


def write_masks(path: Path, cells: CellSet, overwrite: bool = False) -> None:
    """Write labels as Cellpose's ``_cp_masks.tif``: a plain TIFF, uint16 if they fit.

    Parameters
    ----------
    path, cells, overwrite
        As for `write_seg`.

    Raises
    ------
    OutputError
        If the file exists already or cannot be written.
    """
    from tifffile import imwrite

    with whole_file(path, overwrite) as temporary:
        imwrite(temporary, _narrow(cells.labels), photometric="minisblack", compression="zlib", rowsperstrip=256)
