"""The picture to learn from in the form that the training from scratch takes."""

from __future__ import annotations

from dataclasses import replace

from napari_cellsam.data.dataset import Picture, as_picture
from napari_cellsam.data.retraining.pictures import RetrainingPicture

__all__ = ["as_training_picture"]


def as_training_picture(picture: RetrainingPicture) -> Picture:
    """Prepare a picture for training, with its verified region.

    Parameters
    ----------
    picture
        As it was read, or a tile of it.
    """
    return replace(as_picture(picture.image, picture.labels, picture.group), verified=picture.verified)
