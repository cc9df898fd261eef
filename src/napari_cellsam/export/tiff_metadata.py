"""The pixel size and the channel names that a TIFF file states."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

    from tifffile import TiffFile

__all__ = ["read_channel_names", "read_pixel_size"]

_MICROMETRES = {
    "pm": 1e-6,
    "Å": 1e-4,
    "nm": 1e-3,
    "nanometer": 1e-3,
    "nanometre": 1e-3,
    "\N{MICRO SIGN}m": 1.0,
    "\N{GREEK SMALL LETTER MU}m": 1.0,
    "um": 1.0,
    "micron": 1.0,
    "microns": 1.0,
    "micrometer": 1.0,
    "micrometre": 1.0,
    "mm": 1e3,
    "cm": 1e4,
    "m": 1e6,
    "inch": 25_400.0,
}
_INCH, _CENTIMETRE = 2, 3  # values of the tag ResolutionUnit
_PRINT_SIZE_UM = 20.0
_SLICE_LABEL_PREFIX = re.compile(r"^(?:[czt]:\d+/\d+ ?)+(?:- )?", re.IGNORECASE)


def read_pixel_size(file: TiffFile, scene: int = 0) -> tuple[float, float] | None:
    """Read the ``(y, x)`` size of a pixel in micrometres.

    OME metadata come first, then ImageJ's, then the resolution tags. Without OME or ImageJ metadata, sizes of 20 µm and
    more are taken for a printer's 72 to 1200 dots per inch and ignored.

    Parameters
    ----------
    file
        An open TIFF file.
    scene
        Which picture of the file.

    Returns
    -------
    tuple or None
        Micrometres, or None where the file states none or uses a unit that is not a length.
    """
    pixels = _ome_pixels(file, scene)
    if pixels is not None:
        return _positive(*(_ome_length(pixels, f"PhysicalSize{axis}") for axis in "YX"))
    page = file.series[scene].keyframe
    tags = [page.tags.valueof(code) for code in (283, 282)]  # YResolution, XResolution
    if any(not isinstance(value, tuple) or len(value) != 2 or 0 in value for value in tags):
        return None
    y, x = (denominator / numerator for numerator, denominator in tags)
    imagej = file.imagej_metadata
    if imagej is not None and imagej.get("unit"):
        unit = _MICROMETRES.get(_unescape(str(imagej["unit"])), 0.0)
        return _positive(y * unit, x * unit)
    unit = {_CENTIMETRE: 1e4, _INCH: 25_400.0}.get(page.resolutionunit, 0.0)
    return _positive(y * unit, x * unit) if max(y, x) * unit < _PRINT_SIZE_UM else None


def read_channel_names(file: TiffFile, scene: int, n_channels: int) -> tuple[str, ...]:
    """Read the names of the channels from OME metadata or ImageJ's slice labels.

    Parameters
    ----------
    file
        An open TIFF file.
    scene
        Which picture of the file.
    n_channels
        Number of channels that the file is read as.

    Returns
    -------
    tuple of str
        One name per channel, or empty where the file does not name them all.
    """
    pixels = _ome_pixels(file, scene)
    if pixels is not None:
        names = [channel.get("Name", "") for channel in pixels.findall("{*}Channel")]
    else:
        labels = (file.imagej_metadata or {}).get("Labels") or []
        # ImageJ's channels are the fastest axis, so the first labels are those of the first plane
        names = [_SLICE_LABEL_PREFIX.sub("", str(label)).strip() for label in list(labels)[:n_channels]]
    return tuple(names) if len(names) == n_channels and all(names) else ()


def _ome_pixels(file: TiffFile, scene: int) -> Element | None:
    """Return the OME description of a picture, or None where there is none that can be read."""
    from xml.etree import ElementTree

    if not file.is_ome or file.ome_metadata is None:
        return None
    # expat refuses entity bombs, and ElementTree reads no other file
    images = ElementTree.fromstring(file.ome_metadata).findall("{*}Image")  # noqa: S314
    return images[scene].find("{*}Pixels") if scene < len(images) else None


def _ome_length(pixels: Element, name: str) -> float:
    """Return a length of an OME description in micrometres, 0 where it states none."""
    unit = _MICROMETRES.get(pixels.get(f"{name}Unit", "µm"), 0.0)
    return float(pixels.get(name, 0)) * unit


def _unescape(text: str) -> str:
    r"""Return text in which ImageJ wrote the micro sign as ``\u00B5``."""
    return re.sub(r"\\u([0-9a-fA-F]{4})", lambda match: chr(int(match[1], 16)), text)


def _positive(y: float, x: float) -> tuple[float, float] | None:
    """Return both sizes if they are lengths."""
    return (y, x) if 0 < y < float("inf") and 0 < x < float("inf") else None
