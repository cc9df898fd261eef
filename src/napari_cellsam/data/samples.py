"""Sample pictures that need no network.

Most are synthetic: drawn by `napari_cellsam.data.synthetic` from a fixed seed, one for each archetype. Two are real and
lie in scikit-image's wheel: ``floating_cell`` (quantitative phase of one cell in saline) and ``colon_histology`` (colon
glands, haematoxylin with an antibody stain).
"""

from __future__ import annotations

import numpy as np

from napari_cellsam.data.synthetic import ARCHETYPES, synthesize
from napari_cellsam.errors import OptionError
from napari_cellsam.types import Image

__all__ = ["load_sample", "sample_names"]

_REAL = {"floating_cell": "cell", "colon_histology": "immunohistochemistry"}
_SHAPE = (512, 512)
_SEED = 20


def sample_names() -> tuple[str, ...]:
    """Return the names that `load_sample` knows."""
    return (*ARCHETYPES, *_REAL)


def load_sample(name: str) -> Image:
    """Return a sample picture; the same name gives the same pixels.

    Parameters
    ----------
    name
        One of `sample_names`.

    Returns
    -------
    Image
        Synthetic pictures are 512 x 512 float32 in 0-1, real ones uint8.

    Raises
    ------
    OptionError
        If there is no such sample.
    """
    if name in _REAL:
        from skimage import data

        return Image.from_array(getattr(data, _REAL[name])())
    if name not in ARCHETYPES:
        raise OptionError(f"there is no sample called {name!r}; choose one of {', '.join(sample_names())}")
    picture = synthesize(name, _SHAPE, np.random.default_rng(_SEED))
    return Image(picture.pixels, nuclear=picture.nuclear, cell=picture.cell, rgb=picture.rgb)
