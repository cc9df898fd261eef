"""The tiled OME-TIFF of labels with a pyramid, and the reading of label TIFFs of all kinds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_cellsam.errors import CellsamError, ImageReadError, ImageShapeError
from napari_cellsam.export.cell_set import CellSet, StackAxis
from napari_cellsam.export.facts import name_of
from napari_cellsam.export.label_tiff import describe_pixels, write_labels
from napari_cellsam.export.output import whole_file
from napari_cellsam.export.tiff_metadata import read_pixel_size

if TYPE_CHECKING:
    from tifffile import TiffFile

__all__ = ["read_tiff", "write_ome_tiff", "write_tiff"]

_TILE = 512
_SMALLEST_SIDE = 1024  # of a level that gets another one


def write_ome_tiff(path: Path, cells: CellSet, overwrite: bool = False) -> None:
    """Write labels as a tiled OME-TIFF with smaller copies of itself, which viewers of large images open.

    Parameters
    ----------
    path
        Where to write to; ends in ``.ome.tif``.
    cells
        The cells; stored as uint16 if their labels fit, else as uint32.
    overwrite
        Whether a file that is there already is replaced.

    Raises
    ------
    OutputError
        If the file exists already or cannot be written.
    """
    from tifffile import TiffWriter

    labels = cells.labels.astype("uint16") if cells.labels.max() < 2**16 else cells.labels
    metadata, resolution = describe_pixels(cells.pixel_size_um)
    metadata |= {"axes": f"{cells.axis}YX", "Name": cells.name, "Channel": {"Name": "cells"}}
    n_levels = 0
    while min(cells.shape) >> n_levels > _SMALLEST_SIDE:
        n_levels += 1
    options: dict[str, Any] = {"photometric": "minisblack", "compression": "zlib", "tile": (_TILE, _TILE)}
    with (
        whole_file(path, overwrite) as temporary,
        TiffWriter(temporary, ome=True, bigtiff=labels.nbytes > 2**31) as file,
    ):
        file.write(labels, subifds=n_levels, metadata=metadata, **resolution, **options)
        for level in range(1, n_levels + 1):
            step = 2**level
            file.write(labels[..., ::step, ::step], subfiletype=1, **options)


def write_tiff(path: Path, cells: CellSet, overwrite: bool = False) -> None:
    """Write labels as a TIFF without tiles and pyramid, as `write_labels` does.

    Parameters
    ----------
    path, cells, overwrite
        As for `write_ome_tiff`.

    Raises
    ------
    OutputError
        If the file exists already or cannot be written.
    """
    write_labels(path, cells.labels, cells.pixel_size_um, overwrite, cells.axis)


def read_tiff(path: Path) -> CellSet:
    """Read cells from a TIFF of labels, of whichever program: one plane, or a stack.

    Raises
    ------
    ImageReadError
        If the file is missing or broken.
    ImageShapeError
        If it holds something else than labels.
    """
    from tifffile import TiffFile

    try:
        with TiffFile(path) as file:
            return _read(file, path)
    except CellsamError:
        raise
    except Exception as error:  # whatever the library makes of a broken file
        raise ImageReadError(f"{path} cannot be read as a TIFF of labels: {error}") from error


def _read(file: TiffFile, path: Path) -> CellSet:
    """Read the first series of a file."""
    series = file.series[0]
    array = series.asarray()
    axes = "".join(axis for axis, size in zip(series.axes, array.shape, strict=True) if size > 1 or axis in "YX")
    array = array.squeeze(tuple(i for i, axis in enumerate(series.axes) if array.shape[i] == 1 and axis not in "YX"))
    if not axes.endswith("YX") or len(axes) > 3:
        raise ImageShapeError(f"{path} has axes {series.axes}, shape {series.shape}; expected labels (Y, X) or a stack")
    axis: StackAxis = "" if len(axes) == 2 else "T" if axes[0] == "T" else "Z"
    return CellSet.from_array(array, axis=axis, pixel_size_um=read_pixel_size(file), name=name_of(path))
