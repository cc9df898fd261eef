"""The images that belong to labels."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from napari_cellsam.errors import ImageReadError, ImageShapeError, OptionError

if TYPE_CHECKING:
    from napari_cellsam.cli.reading import Reading
    from napari_cellsam.export.cell_set import CellSet

__all__ = ["Pictures"]

_SUFFIXES = (".ome.tif", ".ome.tiff", ".tif", ".tiff", ".png", ".jpg", ".jpeg")


@dataclass(frozen=True)
class Pictures:
    """The image of one label image, or the folder with those of several; and what is read of each."""

    place: Path | None
    reading: Reading

    def add_to(self, cells: CellSet, path: Path) -> CellSet:
        """Give the cells of a file their image, and the pixel size of that if they have none.

        Raises
        ------
        ImageError
            If there is no such image, it cannot be read, or it does not have the planes of the labels.
        OptionError
            If it is not clear which of its planes the labels are of.
        """
        if self.place is None:
            return cells
        file = _find(self.place, cells.name, path) if self.place.is_dir() else self.place
        axis = self._axis(cells, file) if cells.axis else ""
        readings = [self._at(axis, plane) for plane in range(cells.n_planes)]
        if taken := readings[0].taken(file):
            raise OptionError(
                f"{file} holds more than one plane that {path} can be of, and none was chosen ({taken}); say which "
                "with --plane or --scene, as they were segmented"
            )
        images = tuple(reading.read(file) for reading in readings)
        return replace(cells, images=images, pixel_size_um=cells.pixel_size_um or images[0].pixel_size_um)

    def _at(self, axis: str, plane: int) -> Reading:
        """Return how one plane of a stack of labels is read."""
        return replace(self.reading, plane={**self.reading.plane, axis: plane}) if axis else self.reading

    def _axis(self, cells: CellSet, file: Path) -> str:
        """Find the axis of the image that has the planes of the labels; it may be called otherwise there."""
        sizes = {cells.axis: 1, **self.reading.planes(file).sizes}  # axes of length one are often not stored
        alike = [axis for axis, size in sizes.items() if size == cells.n_planes and axis not in self.reading.plane]
        if cells.axis in alike:
            return cells.axis
        if len(alike) != 1:
            held = ", ".join(f"{axis}={size}" for axis, size in sizes.items())
            raise ImageShapeError(
                f"the labels are a stack of {cells.n_planes} planes, and {file} holds {held}; give the image that they "
                "are of"
            )
        return alike[0]


def _find(folder: Path, name: str, path: Path) -> Path:
    """Find the image of labels in the folder; endings may be written in capitals."""
    try:
        alike = {file.name[len(name) :].lower(): file for file in folder.iterdir() if file.name.startswith(name)}
    except OSError as error:
        raise ImageReadError(f"the folder {folder} cannot be listed: {error.strerror or error}") from error
    for suffix in _SUFFIXES:
        if suffix in alike and alike[suffix] != path:
            return alike[suffix]
    raise ImageReadError(f"{path}: {folder} holds no image called {name} ({', '.join(_SUFFIXES)})")
