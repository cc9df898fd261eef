"""The atoms of napari's own edits, as its public ``paint`` event hands them over, read as edits of ours."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_cellsam.editing.edits import CropEdit, can_hold

__all__ = ["edits_of"]


def edits_of(atoms: Iterable[Any], shape: Sequence[int]) -> list[CropEdit]:
    """Return the edits that an event of a labels layer tells of.

    Parameters
    ----------
    atoms
        Each a tuple of index arrays, values before and values after; or, since napari 0.9 and for the brush, something
        with ``slice_key``, ``mask``, ``old_values`` and ``new_value``.
    shape
        Of the layer's data.

    Returns
    -------
    list of CropEdit
        By plane; without pixels that had or have a number that edits cannot hold, such as -1.
    """
    return [edit for atom in atoms for edit in _split_planes(*_flat(atom, shape))]


def _flat(atom: Any, shape: Sequence[int]) -> tuple[tuple[NDArray[np.intp], ...], NDArray[Any], NDArray[Any]]:
    """Return index arrays ``(n,)`` per axis, values before ``(n,)`` and after ``(n,)``."""
    if hasattr(atom, "slice_key"):
        ranges = [_positions(part, n) for part, n in zip(atom.slice_key, shape, strict=True)]
        grid = np.meshgrid(*ranges, indexing="ij")
        whole = grid[0].shape
        mask = np.ones(whole, bool) if atom.mask is None else np.reshape(atom.mask, whole)
        indices = tuple(axis[mask] for axis in grid)
        before = np.broadcast_to(np.ravel(atom.old_values), len(indices[0]))
        return indices, before, np.broadcast_to(np.ravel(atom.new_value), len(indices[0]))
    positions, old, new = atom
    indices = tuple(np.ravel(axis) for axis in np.broadcast_arrays(*positions))
    n_pixels = len(indices[0])
    return indices, np.broadcast_to(np.ravel(old), n_pixels), np.broadcast_to(np.ravel(new), n_pixels)


def _positions(part: Any, n: int) -> NDArray[np.intp]:
    """Return the positions along an axis that an index means."""
    return np.arange(n)[part] if isinstance(part, slice) else np.ravel(np.asarray(part, np.intp))


def _split_planes(indices: tuple[NDArray[np.intp], ...], before: NDArray[Any], after: NDArray[Any]) -> list[CropEdit]:
    """Return one edit for each plane that is touched."""
    *leading, rows, columns = indices
    changed = (before != after) & can_hold(before) & can_hold(after)  # napari's own undo takes back the others
    planes = np.stack([axis[changed] for axis in leading]) if leading else np.zeros((0, int(changed.sum())), np.intp)
    parts = [part[changed] for part in (rows, columns, before, after)]
    edits = []
    for plane in np.unique(planes, axis=1).T if leading else [np.zeros(0, np.intp)]:
        here = (planes == plane[:, None]).all(0)
        y, x, old, new = (part[here] for part in parts)
        if len(y):
            numbers = old.astype(np.uint32), new.astype(np.uint32)
            edits.append(CropEdit(tuple(map(int, plane)), y.astype(np.int32), x.astype(np.int32), *numbers))
    return edits
