"""The reading of a folder's images, as napari itself reads them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_cellsam.errors import CellsamError, ImageReadError
from napari_cellsam.widgets._picture import Picture, read_image

if TYPE_CHECKING:
    from napari.layers import Layer

    from napari_cellsam.types import Image

__all__ = ["LayerData", "layers_of", "plain_image", "read_layers"]

LayerData = tuple[Any, dict[str, Any], str]
"""Values, arguments and kind of a layer."""


def read_layers(path: Path) -> list[LayerData]:
    """Return the layers of a file, as napari itself reads it."""
    import npe2

    try:
        layers = npe2.read([str(path)], stack=False, plugin_name="napari")
    except CellsamError:
        raise
    except Exception as error:  # whatever the libraries raise for a broken file
        reason = str(error).strip().partition("\n")[0]  # what follows tells of libraries to install
        raise ImageReadError(f"{path} cannot be read: {reason}") from error
    if not layers or any(np.ndim(layer[0]) < 2 and not isinstance(layer[0], list) for layer in layers):
        raise ImageReadError(f"{path} cannot be read: it holds no picture")
    full = [(*layer, {}, "image")[:3] if len(layer) == 1 else (*layer, "image")[:3] for layer in layers]
    return [(data, dict(meta or {}), str(kind)) for data, meta, kind in full]


def layers_of(path: Path, data: list[LayerData]) -> Iterator[Layer]:
    """Yield what napari shows of a file, called as the file is."""
    from napari.layers import Layer

    for values, meta, kind in data:
        given = {**meta, "metadata": {**meta.get("metadata", {}), "path": str(path)}}
        given.setdefault("name", path.stem)
        yield Layer.create(values, given, kind)


def plain_image(layers: list[LayerData]) -> Image | None:
    """Return what the model will be given of an image of one channel or of colours; None for others."""
    if len(layers) != 1:
        return None
    data, meta, kind = layers[0]
    values = data[0] if isinstance(data, list) else data
    if kind != "image" or meta.get("scale") is not None:
        return None
    if values.ndim == 2:
        return read_image({"cell": Picture(values, "", (slice(None), slice(None)))}, None)
    if values.ndim == 3 and values.shape[-1] in (3, 4) and values.dtype == np.uint8:
        return read_image({"rgb": Picture(values, "", (slice(None), slice(None), slice(0, 3)))}, None)
    return None
