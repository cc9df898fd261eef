"""The values that pass between the parts of napari-cellsam.

Coordinates are ``(y, x)`` in pixels of the image; ``(0, 0)`` is the centre of the first pixel, as in napari.
A box is ``(y_min, x_min, y_max, x_max)`` in the same coordinates.
"""

from napari_cellsam.types.absent_image import AbsentImage
from napari_cellsam.types.image import Image
from napari_cellsam.types.options import SegmentOptions
from napari_cellsam.types.prompt import Prompt
from napari_cellsam.types.results import Cell, Detections, Embedding, LowResLogits, Mask, Segmentation

__all__ = [
    "AbsentImage",
    "Cell",
    "Detections",
    "Embedding",
    "Image",
    "LowResLogits",
    "Mask",
    "Prompt",
    "SegmentOptions",
    "Segmentation",
]
