"""Sample pictures as the layers that napari opens from its menu; named in the manifest."""

from __future__ import annotations

from functools import partial
from typing import Any

from napari_cellsam.data.fetched_samples import FETCHED, fetch_sample
from napari_cellsam.data.samples import load_sample
from napari_cellsam.types import Image

__all__ = ["LayerData", "as_layers", "open_fetched", "open_sample"]

LayerData = tuple[Any, dict[str, Any], str]
"""Pixels, arguments of the layer, type of the layer: what napari takes from a plugin."""

_COLORMAPS = {"nuclear": "blue", "cell": "gray"}


def as_layers(image: Image, name: str) -> list[LayerData]:
    """Return one layer for a colour picture, else one for each channel, called after its role."""
    if image.rgb:
        return [(image.pixels[..., :3], {"name": name, "rgb": True}, "image")]
    roles = {index: role for role, index in (("nuclear", image.nuclear), ("cell", image.cell)) if index is not None}
    if len(roles) == 1:
        [index] = roles
        return [(image.pixels[..., index], {"name": name}, "image")]
    return [
        (
            image.pixels[..., index],
            {"name": f"{name} {role}", "colormap": _COLORMAPS[role], "blending": "additive"},
            "image",
        )
        for index, role in sorted(roles.items())
    ]


def open_sample(name: str) -> list[LayerData]:
    """Return the layers of a sample picture; `napari_cellsam.data.samples.sample_names` lists the names."""
    return as_layers(load_sample(name), name)


def open_fetched(name: str) -> list[LayerData]:
    """Return the layers of a sample that is fetched, a stack with all its planes.

    Parameters
    ----------
    name
        One of `napari_cellsam.data.fetched_samples.FETCHED`.

    Raises
    ------
    OptionError
        If there is no such sample.
    ImageReadError
        If it is not on this machine, and cannot be fetched.
    """
    pixels, sample = fetch_sample(name), FETCHED[name]
    if len(sample.roles) == 1:
        return [(pixels[..., 0], {"name": name} | _placed(sample.voxel_um), "image")]
    return [
        (
            pixels[..., index],
            {"name": f"{name} {role}", "colormap": _COLORMAPS[role], "blending": "additive"} | _placed(sample.voxel_um),
            "image",
        )
        for index, role in enumerate(sample.roles)
    ]


def _placed(voxel_um: tuple[float, ...]) -> dict[str, Any]:
    return {"scale": voxel_um, "units": ("um",) * len(voxel_um)} if voxel_um else {}


# one function without arguments per sample, as the manifest needs
open_fluorescent_nuclei = partial(open_sample, "fluorescent_nuclei")
open_fluorescent_cells = partial(open_sample, "fluorescent_cells")
open_membrane_tissue = partial(open_sample, "membrane_tissue")
open_phase_rods = partial(open_sample, "phase_rods")
open_fluorescent_rods = partial(open_sample, "fluorescent_rods")
open_phase_yeast = partial(open_sample, "phase_yeast")
open_phase_flat_cells = partial(open_sample, "phase_flat_cells")
open_brightfield_cells = partial(open_sample, "brightfield_cells")
open_histology = partial(open_sample, "histology")
open_immunohistochemistry = partial(open_sample, "immunohistochemistry")
open_immunofluorescence_tissue = partial(open_sample, "immunofluorescence_tissue")
open_floating_cell = partial(open_sample, "floating_cell")
open_colon_histology = partial(open_sample, "colon_histology")
