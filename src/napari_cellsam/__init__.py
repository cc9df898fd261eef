"""Cell segmentation with CellSAM models: from Python, from the command line and in napari.

The names below are the public API. Each is imported when it is first used, so that importing the package is quick and
needs neither torch nor napari.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_cellsam.data.read import list_images, read_image
    from napari_cellsam.data.samples import load_sample, sample_names
    from napari_cellsam.engine import Model, load_model
    from napari_cellsam.errors import CellsamError
    from napari_cellsam.export.label_tiff import read_labels, write_labels
    from napari_cellsam.metrics import Evaluation, LabelPair, Scores, evaluate
    from napari_cellsam.service.client import Client
    from napari_cellsam.service.connect import connect
    from napari_cellsam.types import Detections, Embedding, Image, Mask, Prompt, Segmentation, SegmentOptions

    __version__: str

__all__ = [
    "CellsamError",
    "Client",
    "Detections",
    "Embedding",
    "Evaluation",
    "Image",
    "LabelPair",
    "Mask",
    "Model",
    "Prompt",
    "Scores",
    "SegmentOptions",
    "Segmentation",
    "__version__",
    "connect",
    "evaluate",
    "list_images",
    "load_model",
    "load_sample",
    "read_image",
    "read_labels",
    "sample_names",
    "write_labels",
]

_HOMES = {
    "data.read": ("list_images", "read_image"),
    "data.samples": ("load_sample", "sample_names"),
    "engine": ("Model", "load_model"),
    "errors": ("CellsamError",),
    "export.label_tiff": ("read_labels", "write_labels"),
    "metrics": ("Evaluation", "LabelPair", "Scores", "evaluate"),
    "service.client": ("Client",),
    "service.connect": ("connect",),
    "types": ("Detections", "Embedding", "Image", "Mask", "Prompt", "SegmentOptions", "Segmentation"),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        value: Any = version("napari-cellsam")
    elif name in _HOME_OF:
        value = getattr(import_module(f"{__name__}.{_HOME_OF[name]}"), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
