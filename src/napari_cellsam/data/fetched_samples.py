"""Sample pictures of real cells that are fetched once, then kept on this machine.

They belong to scikit-image, whose cache keeps them and whose checksums they must have.

- ``human_mitosis``: nuclei of human cells, some dividing (David Root, CC0).
- ``cells3d``: nuclei and membranes of human cells at 60 depths (Allen Institute for Cell Science).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari_cellsam.errors import ImageReadError, OptionError
from napari_cellsam.types import Image

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["FETCHED", "FetchedSample", "fetch_sample", "load_fetched"]


@dataclass(frozen=True)
class FetchedSample:
    """What is known of a sample before it is fetched.

    Attributes
    ----------
    function
        Of `skimage.data`, which gives ``(Y, X)`` pixels, or ``(Z, C, Y, X)`` of a stack.
    n_bytes
        Size of its pixels, which is about that of the file.
    credit
        Whose it is, and under what licence.
    roles
        ``"nuclear"`` or ``"cell"`` for each channel.
    voxel_um
        Size of a pixel in micrometres, along all axes but that of the channels; empty where it is not known.
    """

    function: str
    n_bytes: int
    credit: str
    roles: tuple[str, ...]
    voxel_um: tuple[float, ...] = ()


FETCHED = {
    "human_mitosis": FetchedSample("human_mitosis", 262_000, "David Root, CC0", ("nuclear",)),
    "cells3d": FetchedSample(
        "cells3d", 15_700_000, "Allen Institute for Cell Science", ("cell", "nuclear"), (0.29, 0.26, 0.26)
    ),
}
"""The samples by name."""


def fetch_sample(name: str) -> NDArray[Any]:
    """Return all pixels of a sample; they come over the network the first time.

    Parameters
    ----------
    name
        One of `FETCHED`.

    Returns
    -------
    numpy.ndarray
        ``(Y, X, C)``, or ``(Z, Y, X, C)`` of a stack.

    Raises
    ------
    OptionError
        If there is no such sample.
    ImageReadError
        If it is not on this machine, and cannot be fetched.
    """
    if name not in FETCHED:
        raise OptionError(f"{name!r} is not a sample that is fetched; choose one of {', '.join(FETCHED)}")
    from skimage import data

    sample = FETCHED[name]
    try:
        pixels: NDArray[Any] = getattr(data, sample.function)()
    except (OSError, ValueError) as error:  # of the network, of the disk, or another checksum
        raise ImageReadError(_advice(name, sample)) from error
    return pixels[..., None] if len(sample.roles) == 1 else pixels.swapaxes(1, 2).swapaxes(2, 3)


def load_fetched(name: str) -> Image:
    """Return a sample as an image: the plane in the middle of a stack.

    Parameters
    ----------
    name
        One of `FETCHED`.

    Raises
    ------
    OptionError, ImageReadError
        As `fetch_sample`.
    """
    pixels = fetch_sample(name)
    sample = FETCHED[name]
    plane = pixels[len(pixels) // 2] if pixels.ndim == 4 else pixels
    size_um = (sample.voxel_um[-2], sample.voxel_um[-1]) if sample.voxel_um else None
    places = {role: index for index, role in enumerate(sample.roles)}
    return Image.from_array(
        plane, nuclear=places.get("nuclear"), cell=places.get("cell"), rgb=False, pixel_size_um=size_um
    )


def _advice(name: str, sample: FetchedSample) -> str:
    from skimage import data

    return (
        f"Connect to the network and open the sample {name!r} ({sample.n_bytes / 1e6:.1f} MB) again: it is not on this "
        "machine yet, and could not be fetched. Other samples need no network. On a machine without one, copy the "
        f"folder {data.data_dir} from a machine on which it was opened."
    )
