"""Sample pictures, of which most need no network.

Most are synthetic: one of each archetype of `napari_cellsam.data.synthetic`, under its name. Two are real and lie in
scikit-image's wheel: ``floating_cell`` (quantitative phase of one cell in saline) and ``colon_histology`` (colon,
haematoxylin with an antibody stain). Those of `napari_cellsam.data.fetched_samples` are fetched once.
"""

from __future__ import annotations

import numpy as np

from napari_cellsam.data.fetched_samples import FETCHED, load_fetched
from napari_cellsam.data.synthetic import SyntheticPicture, synthesize
from napari_cellsam.errors import OptionError
from napari_cellsam.types import Image

__all__ = ["draw_sample", "load_sample", "sample_names"]

# seed, cell diameter in pixels: chosen by eye for cells that touch, but not too many
_DRAWN = {
    "fluorescent_nuclei": (4, 26),
    "fluorescent_cells": (11, 40),
    "membrane_tissue": (2, 36),
    "phase_rods": (3, 26),
    "fluorescent_rods": (9, 26),
    "phase_yeast": (2, 34),
    "phase_flat_cells": (3, 44),
    "brightfield_cells": (3, 36),
    "histology": (3, 22),
    "immunohistochemistry": (5, 22),
    "immunofluorescence_tissue": (13, 24),
}
_REAL = {"floating_cell": "cell", "colon_histology": "immunohistochemistry"}
_SHAPE = (512, 512)


def sample_names(*, fetched: bool = False) -> tuple[str, ...]:
    """Return the names that `load_sample` knows.

    Parameters
    ----------
    fetched
        Whether those are among them that come over the network the first time.
    """
    return (*_DRAWN, *_REAL, *(FETCHED if fetched else ()))


def load_sample(name: str) -> Image:
    """Return a sample picture; the same name gives the same pixels.

    Parameters
    ----------
    name
        One of `sample_names`, with those that are fetched.

    Returns
    -------
    Image
        Synthetic pictures are 512 x 512 float32 in 0-1, real ones uint8 or uint16; of a stack the plane in the middle.

    Raises
    ------
    OptionError
        If there is no such sample.
    ImageReadError
        If it is one that is fetched, and that is not possible.
    """
    if name in FETCHED:
        return load_fetched(name)
    if name in _REAL:
        from skimage import data

        return Image.from_array(getattr(data, _REAL[name])())
    if name not in _DRAWN:
        raise OptionError(f"there is no sample called {name!r}; choose one of {', '.join(sample_names(fetched=True))}")
    picture = draw_sample(name)
    return Image(picture.pixels, nuclear=picture.nuclear, cell=picture.cell, rgb=picture.rgb)


def draw_sample(name: str) -> SyntheticPicture:
    """Return a synthetic sample with its true labels.

    Parameters
    ----------
    name
        One of `sample_names`, but not a real picture.

    Returns
    -------
    SyntheticPicture
        512 x 512 pixels, and the labels they were drawn from.

    Raises
    ------
    OptionError
        If there is no such sample, or nobody knows its true labels.
    """
    if name not in _DRAWN:
        raise OptionError(f"{name!r} is not a synthetic sample; choose one of {', '.join(_DRAWN)}")
    seed, diameter = _DRAWN[name]
    return synthesize(name, _SHAPE, np.random.default_rng(seed), diameter=diameter)
