"""The plane and the channels that a command reads of image files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from napari_cellsam.data.read import Planes
    from napari_cellsam.types import Image

__all__ = ["Reading", "parse_plane"]


@dataclass(frozen=True)
class Reading:
    """Which plane and channels of each file are read, as for `read_image`; the first scene where none is chosen."""

    nuclear: str | None = None
    cell: str | None = None
    rgb: bool | None = None
    plane: Mapping[str, int] = field(default_factory=dict)
    scene: int | None = None

    def read(self, path: Path) -> Image:
        """Read a file."""
        from napari_cellsam.data.read import read_image

        choice = {"nuclear": self.nuclear, "cell": self.cell, "rgb": self.rgb}
        return read_image(path, **choice, plane=self.plane, scene=self.scene or 0)  # type: ignore[arg-type]

    def planes(self, path: Path) -> Planes:
        """Say which planes a file holds."""
        from napari_cellsam.data.read import list_planes

        chosen = self.nuclear is not None or self.cell is not None
        return list_planes(path, choose_channels=chosen, plane=self.plane, scene=self.scene or 0)

    def taken(self, path: Path) -> str:
        """Say what is read of several planes and scenes without having been chosen; empty where nothing is."""
        planes = self.planes(path)
        parts = [f"{axis}={index} of {planes.sizes[axis]}" for axis, index in planes.taken.items()]
        if self.scene is None and planes.n_scenes > 1:
            parts.append(f"scene 0 of {planes.n_scenes}")
        return ", ".join(parts)


def parse_plane(choices: list[str]) -> dict[str, int]:
    """Return the plane that was typed as ``T=0 Z=3`` or ``T=0,Z=3``."""
    plane: dict[str, int] = {}
    for choice in ",".join(choices).split(",") if choices else []:
        axis, _, index = (part.strip() for part in choice.partition("="))
        try:
            plane[_axis(axis, plane)] = int(index)
        except ValueError as error:
            expected = "expected an axis and a number, such as Z=3, once for each axis"
            raise typer.BadParameter(f"plane is {choice!r}; {expected}") from error
    return plane


def _axis(name: str, plane: Mapping[str, int]) -> str:
    """Return the name of an axis that has no place yet."""
    axis = name.upper()
    if not axis.isalpha() or axis in plane:
        raise ValueError(name)
    return axis
