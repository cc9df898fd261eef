"""The progress of an automatic run: which plane, how many tiles, and how long it will take."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["RunProgress", "spoken"]

_EARLIEST_GUESS_S = 2.0
_LEAST_SHARE = 0.01  # of the work that must be done before the rest is guessed


@dataclass(frozen=True)
class RunProgress:
    """How far a run is.

    Attributes
    ----------
    plane, n_planes
        Which plane is searched, 0 for the first, and of how many.
    tiles, n_tiles
        Of this plane: done, and all; 0 of 0 while they are not known.
    elapsed_s
        Time since the run began.
    """

    plane: int = 0
    n_planes: int = 1
    tiles: int = 0
    n_tiles: int = 0
    elapsed_s: float = 0.0

    @property
    def share(self) -> float:
        """How much of the run is done, 0 to 1."""
        of_plane = self.tiles / self.n_tiles if self.n_tiles else 0.0
        return (self.plane + of_plane) / self.n_planes

    @property
    def left_s(self) -> float | None:
        """How long the rest will take; None while that cannot be told."""
        if self.share < _LEAST_SHARE or self.elapsed_s < _EARLIEST_GUESS_S:
            return None
        return self.elapsed_s * (1 - self.share) / self.share

    @property
    def text(self) -> str:
        """In words, such as ``"plane 2 of 9, tile 3 of 12, 40 s left"``."""
        parts = [f"plane {self.plane + 1} of {self.n_planes}"] if self.n_planes > 1 else []
        if self.n_tiles:
            parts.append(f"tile {self.tiles} of {self.n_tiles}")
        if self.left_s is not None:
            parts.append(f"{spoken(self.left_s)} left")
        return ", ".join(parts) or "looking at the image"


def spoken(seconds: float) -> str:
    """Return a time in words, such as ``"40 s"`` or ``"3 min"``."""
    if seconds < 90:
        return f"{max(round(seconds), 1)} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes / 60:.1f} h"
