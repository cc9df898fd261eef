"""The typical cell diameter of an image, estimated by looking at it at several scales."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from napari_cellsam.types import Detections

__all__ = ["centre_region", "judge", "search_diameter"]

_FIRST_ZOOMS = (1.0, 0.5)
_FURTHER_ZOOMS = (2.0, 0.25)  # where the first ones show nothing
_CLOSE = 1.4  # a diameter within this factor of the nominal one needs no further look
_MOST_LOOKS = 4  # that show cells
_PRIOR_OCTAVES = 1.5  # pictures are taken so that cells are well seen: a strong zoom is unlikely
_RIVAL = 0.5  # of the trust in the best look
_TRUST_OCTAVES = 1.0  # how fast trust in a detection falls with its distance from the nominal size


def search_diameter(
    nominal: float, limits: tuple[float, float] = (0.2, 3.0)
) -> Generator[float, tuple[Detections, float], list[tuple[float, float]]]:
    """Search for the median diameter of the cells, by asking for looks.

    A detector is most sure of cells of the size that it was trained on, so the zoom at which it finds most, surest and
    most nominal cells is the right one. Each look's own answer proposes the next zoom, until a look confirms itself.

    Parameters
    ----------
    nominal
        Diameter in picture pixels that the detector was trained around.
    limits
        Smallest and largest zoom.

    Yields
    ------
    float
        A zoom to look at. Sent back are the detections in a sample of the image, boxes in image pixels, and the
        sample's area in pixels.

    Returns
    -------
    list of tuple
        Zoom, and median diameter in image pixels, of the look that is trusted most, then of its rivals: those trusted
        at least half as much. Empty when no look found a cell.
    """
    answers: dict[float, tuple[float, float]] = {}
    waiting, further = list(_FIRST_ZOOMS), list(_FURTHER_ZOOMS)
    while waiting and sum(trust > 0 for trust, _ in answers.values()) < _MOST_LOOKS:
        zoom = waiting.pop(0)
        found, area = yield zoom
        diameter, trust = judge(found, zoom, nominal)
        answers[zoom] = (trust / area, diameter)
        better = float(np.clip(nominal / diameter, *limits)) if diameter else zoom
        if all(max(better / z, z / better) > _CLOSE for z in (*answers, *waiting)):
            waiting.append(better)
        if not waiting and further and not any(trust for trust, _ in answers.values()):
            waiting.append(further.pop(0))
    ranking = sorted(((trust, zoom, diameter) for zoom, (trust, diameter) in answers.items()), reverse=True)
    return [(zoom, diameter) for trust, zoom, diameter in ranking if trust > 0 and trust >= _RIVAL * ranking[0][0]]


def judge(found: Detections, zoom: float, nominal: float) -> tuple[float, float]:
    """Return the median diameter of cells, and how far to trust it.

    Parameters
    ----------
    found
        Boxes in image pixels, with scores.
    zoom
        At which they were found.
    nominal
        Diameter in picture pixels that the detector was trained around.

    Returns
    -------
    tuple of float
        Diameter in image pixels, and a trust that grows with the cells' number; 0 and 0 without a cell.
    """
    if not len(found):
        return 0.0, 0.0
    sides = found.boxes[:, 2:] - found.boxes[:, :2] + 1
    # The area of an ellipse in its box.
    diameters = np.sqrt(np.maximum(sides, 1).prod(1))
    weights = found.scores.astype(float)
    order = np.argsort(diameters)
    at = np.searchsorted(np.cumsum(weights[order]), weights.sum() / 2)
    octaves = np.log2(diameters * zoom / nominal)
    # Cells count by their diameter: by number alone debris would win, by area a few large patches of background. And by
    # the square of their score: many unsure ones, most of which are none, must not outweigh some sure ones.
    trust = weights**2 * np.exp(-0.5 * (octaves / _TRUST_OCTAVES) ** 2) * diameters
    trust *= np.exp(-0.5 * (np.log2(zoom) / _PRIOR_OCTAVES) ** 2)
    return float(diameters[order][min(at, len(order) - 1)]), float(trust.sum())


def centre_region(shape: tuple[int, int], side: float) -> tuple[int, int, int, int]:
    """Return the ``(y0, x0, y1, x1)`` middle of an image, at most ``side`` pixels long and wide."""
    spans: list[tuple[int, int]] = []
    for n in shape:
        length = min(n, int(side))
        spans.append(((n - length) // 2, (n - length) // 2 + length))
    (y0, y1), (x0, x1) = spans
    return y0, x0, y1, x1
