"""The formats that cells are exported to and imported from."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from napari_cellsam.errors import ImageReadError, OptionError
from napari_cellsam.export.cell_set import CellSet
from napari_cellsam.export.output import make_folder

__all__ = ["FORMATS", "Format", "export_cells", "find_format", "read_cells"]


@dataclass(frozen=True)
class Format:
    """A kind of file for cells.

    Attributes
    ----------
    name
        What it is called on the command line.
    title
        What people call it.
    suffix
        What follows the name of the image in the name of the file; with folders before it where there are any.
    writer, reader
        Module and function, loaded when they are needed; the reader is empty where there is no way back.
    exact
        Whether reading gives back every pixel of every cell.
    stacks
        Whether one file holds all planes of a stack; otherwise there is a file for each.
    needs_image
        Whether there must be an image.
    uses_image
        Whether pictures, or intensities of cells in them, are written where there is an image.
    module
        What must be installed, where that does not come with us.
    """

    name: str
    title: str
    suffix: str
    writer: str
    reader: str = ""
    exact: bool = False
    stacks: bool = True
    needs_image: bool = False
    uses_image: bool = False
    module: str = ""

    def path(self, folder: Path, name: str) -> Path:
        """Return the path of the file for an image of that name."""
        place, _, ending = self.suffix.rpartition("/")
        return folder / place / f"{name}{ending}"

    def parts(self, folder: Path, cells: CellSet) -> Iterator[tuple[Path, CellSet]]:
        """List the files that cells become, and the cells in each: all, or those of one plane."""
        for part in [cells] if self.stacks or not cells.axis else map(cells.at, range(cells.n_planes)):
            yield self.path(folder, part.name), part

    def write(self, path: Path, cells: CellSet, overwrite: bool = False) -> None:
        """Write cells to a file, whole or not at all.

        Parameters
        ----------
        path
            Where to write to.
        cells
            The cells.
        overwrite
            Whether a file that is there already is replaced.

        Raises
        ------
        OptionError
            If the format needs an image and there is none, or takes no stack.
        OutputError
            If the file exists already or cannot be written.
        """
        if self.needs_image and not cells.images:
            raise OptionError(f"{self.title} needs the image too; give it with --image, or leave {self.name} out")
        if cells.axis and not self.stacks:
            raise OptionError(f"{self.title} holds one plane; choose one of the {cells.n_planes} planes of the stack")
        _load(self.writer)(path, cells, overwrite)

    @property
    def is_installed(self) -> bool:
        """Whether all is installed that writing needs."""
        return not self.module or find_spec(self.module) is not None

    @property
    def read(self) -> Callable[[Path], CellSet] | None:
        """The function that reads such a file, or None."""
        return _load(self.reader) if self.reader else None


def _load(function: str) -> Callable[..., Any]:
    """Return a function of this package, given as module and name."""
    module, _, name = function.partition(".")
    loaded: Callable[..., Any] = getattr(import_module(f"napari_cellsam.export.{module}"), name)
    return loaded


_ALL = (
    Format("tiff", "label TIFF", "_labels.tif", "ome_tiff.write_tiff", "ome_tiff.read_tiff", True),
    Format("ome-tiff", "OME-TIFF", "_labels.ome.tif", "ome_tiff.write_ome_tiff", "ome_tiff.read_tiff", True),
    Format(
        "ome-zarr", "OME-Zarr", ".ome.zarr", "ome_zarr.write_ome_zarr", "ome_zarr.read_ome_zarr", True, uses_image=True
    ),
    Format("coco", "COCO with masks", "_coco.json", "coco.write_coco", "coco.read_coco", True),
    Format("coco-polygons", "COCO with polygons", "_coco_polygons.json", "coco.write_coco_polygons", "coco.read_coco"),
    Format("geojson", "GeoJSON for QuPath", ".geojson", "geojson.write_geojson", "geojson.read_geojson", True),
    Format("imagej", "ImageJ regions", "_rois.zip", "imagej_roi.write_rois", "imagej_roi.read_rois", True),
    Format("cellpose", "Cellpose's _seg.npy", "_seg.npy", "cellpose.write_seg", "cellpose.read_seg", True),
    Format("cellpose-masks", "Cellpose's masks", "_cp_masks.tif", "cellpose.write_masks", "ome_tiff.read_tiff", True),
    Format(
        "stardist",
        "StarDist's folders",
        "stardist/masks/.tif",
        "stardist.write_stardist",
        "ome_tiff.read_tiff",
        True,
        uses_image=True,
    ),
    Format("deepcell", "DeepCell's .npz", ".npz", "deepcell.write_npz", "deepcell.read_npz", True, uses_image=True),
    Format("csv", "CSV of measurements", "_measurements.csv", "measurements.write_csv", uses_image=True),
    Format(
        "parquet",
        "Parquet of measurements",
        "_measurements.parquet",
        "measurements.write_parquet",
        module="pyarrow",
        uses_image=True,
    ),
    Format("png", "overlay PNG", "_outlines.png", "overlay.write_png", stacks=False, needs_image=True),
    Format("svg", "overlay SVG", "_outlines.svg", "overlay_svg.write_svg", stacks=False, uses_image=True),
)

FORMATS = {entry.name: entry for entry in _ALL}
"""Every format by name."""


_SHAPELESS = ("geojson.read_geojson", "imagej_roi.read_rois")


def find_format(name: str) -> Format:
    """Return the format of that name.

    Raises
    ------
    OptionError
        If there is none.
    """
    if name not in FORMATS:
        raise OptionError(f"the format {name!r} does not exist; choose among {', '.join(FORMATS)}")
    return FORMATS[name]


def export_cells(
    cells: CellSet, folder: Path, names: Iterable[str], overwrite: bool = False
) -> Iterator[tuple[Format, Path]]:
    """Write cells in several formats; yield each file when it is written.

    Parameters
    ----------
    cells
        The cells.
    folder
        Where to; it is made.
    names
        Of the formats. Those that hold one plane write a file for each plane of a stack.
    overwrite
        Whether files that are there already are replaced.

    Yields
    ------
    tuple of Format and Path
        What was written where.

    Raises
    ------
    OptionError
        If a format does not exist, or needs an image and there is none.
    OutputError
        If a file exists already or cannot be written.
    """
    for entry in [find_format(name) for name in names]:
        for path, part in entry.parts(folder, cells):
            make_folder(path.parent)
            entry.write(path, part, overwrite)
            yield entry, path


def read_cells(path: Path, shape: tuple[int, int] | None = None) -> CellSet:
    """Read cells from a file of any format that has a way back; which one, its ending and first bytes tell.

    Parameters
    ----------
    path
        The file, or the folder of an OME-Zarr.
    shape
        ``(Y, X)`` of the image, for files of outlines that do not say it; else the smallest that holds all cells.

    Raises
    ------
    ImageReadError
        If the file is missing, broken, or of no such format.
    ImageShapeError
        If it holds something else than labels.
    """
    path = Path(path)
    try:
        function = _find_reader(path)
    except FileNotFoundError as error:
        raise ImageReadError(f"{path} does not exist") from error
    except OSError as error:
        raise ImageReadError(f"{path} cannot be read: {error.strerror or error}") from error
    reader: Callable[..., CellSet] = _load(function)
    return reader(path, shape) if function in _SHAPELESS else reader(path)


def _find_reader(path: Path) -> str:
    """Return the function that reads a file."""
    if path.is_dir():
        return "ome_zarr.read_ome_zarr"
    with path.open("rb") as file:
        head = file.read(8)
    if head.startswith(b"\x93NUMPY"):
        return "cellpose.read_seg" if path.name.endswith("_seg.npy") else "picture.read_picture"
    if head[:2] in (b"II", b"MM"):
        return "ome_tiff.read_tiff"
    if head.startswith(b"\x89PNG"):
        return "picture.read_picture"
    if head.startswith(b"PK"):
        return "deepcell.read_npz" if path.suffix.lower() == ".npz" else "imagej_roi.read_rois"
    if head.removeprefix(codecs.BOM_UTF8).lstrip()[:1] in (b"{", b"["):
        return "geojson.read_geojson" if _is_geojson(path) else "coco.read_coco"
    endings = ", ".join(entry.suffix.rpartition("/")[2] for entry in _ALL if entry.reader)
    raise ImageReadError(f"{path} is none of the files that cells are read from; these end in {endings}")


def _is_geojson(path: Path) -> bool:
    """Tell GeoJSON from COCO by its name, else by its beginning."""
    if path.suffix.lower() == ".geojson":
        return True
    with path.open("rb") as file:
        return b'"Feature' in file.read(4096)
