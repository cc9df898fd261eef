"""Pictures of cells drawn from chance, with their true labels.

Each archetype imitates one kind of microscopy. Outlines are drawn cell by cell into small windows of one canvas that
keeps the distance to the nearest and the second nearest outline; everything that is seen (walls, halos, domes, the
line where two cells touch) is a function of that distance, random smooth fields and a value per cell.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from napari_cellsam.data.synthetic.bacteria import fluorescent_rods, phase_rods
from napari_cellsam.data.synthetic.culture import brightfield_cells, phase_flat_cells
from napari_cellsam.data.synthetic.histology import histology, immunohistochemistry
from napari_cellsam.data.synthetic.nuclei import fluorescent_nuclei, immunofluorescence_tissue
from napari_cellsam.data.synthetic.picture import SyntheticPicture
from napari_cellsam.data.synthetic.sheets import fluorescent_cells, membrane_tissue
from napari_cellsam.data.synthetic.yeast import phase_yeast
from napari_cellsam.errors import OptionError

__all__ = ["ARCHETYPES", "SyntheticPicture", "synthesize"]

_Painter = Callable[[tuple[int, int], float | None, np.random.Generator], SyntheticPicture]
_PAINTERS: dict[str, _Painter] = {
    "fluorescent_nuclei": fluorescent_nuclei,
    "fluorescent_cells": fluorescent_cells,
    "membrane_tissue": membrane_tissue,
    "phase_rods": phase_rods,
    "fluorescent_rods": fluorescent_rods,
    "phase_yeast": phase_yeast,
    "phase_flat_cells": phase_flat_cells,
    "brightfield_cells": brightfield_cells,
    "histology": histology,
    "immunohistochemistry": immunohistochemistry,
    "immunofluorescence_tissue": immunofluorescence_tissue,
}

ARCHETYPES: tuple[str, ...] = tuple(_PAINTERS)
_SMALLEST_SIDE = 16


def synthesize(
    archetype: str, shape: tuple[int, int], rng: np.random.Generator, *, diameter: float | None = None
) -> SyntheticPicture:
    """Draw a picture of cells.

    Parameters
    ----------
    archetype
        One of ``ARCHETYPES``.
    shape
        ``(Y, X)`` of the picture, at least 16 pixels each.
    rng
        Source of chance; the same state gives the same picture.
    diameter
        Typical cell diameter in pixels (of a disc of the same area), 4 to 500; drawn at random by default.

    Returns
    -------
    SyntheticPicture
        Pixels with noise, labels, and roles of the channels. Now and then there is no cell in it.

    Raises
    ------
    OptionError
        If the archetype is unknown, or the shape or the diameter is out of range.
    """
    painter = _PAINTERS.get(archetype)
    if painter is None:
        raise OptionError(f"archetype is {archetype!r}; expected one of {', '.join(ARCHETYPES)}")
    if min(shape) < _SMALLEST_SIDE:
        raise OptionError(f"shape is {shape}; expected at least {_SMALLEST_SIDE} pixels along each side")
    if diameter is not None and not 4 <= diameter <= 500:
        raise OptionError(f"diameter is {diameter}; expected 4 to 500 pixels")
    return painter(shape, diameter, rng)
