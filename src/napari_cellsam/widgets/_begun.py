"""The correction that was begun at one cell, and waits for its second place."""

from __future__ import annotations

from dataclasses import dataclass

from napari_cellsam.editing.edits import Plane

__all__ = ["WRONG_SECOND", "Begun"]

WRONG_SECOND = {
    "merge": "This is cell {first} itself; point at another one to merge it with. Escape lets it be.",
    "swap": "This is cell {first} itself; point at another one to swap numbers with. Escape lets it be.",
    "split": "This is another cell; point at a second place in cell {first} to split it. Escape lets it be.",
}
"""What is told, by kind of correction, when the second place is one that it cannot have."""


@dataclass(frozen=True)
class Begun:
    """A correction that waits for its second place.

    Attributes
    ----------
    kind
        ``"merge"``, ``"swap"`` or ``"split"``.
    plane, label
        The cell that it began at.
    place
        ``(y, x)`` in it.
    """

    kind: str
    plane: Plane
    label: int
    place: tuple[float, float]
