"""Print seconds and peak memory of every export format for 100,000 cells in 10,000 x 10,000 pixels.

Usage: python benchmarks/export.py [--side 10000] [--cells 100000] [--channels 1]

Every row is a process of its own, which makes the cells and their image and then writes one file, and reads it back
where there is a way; the last row writes all formats in one process, as ``napari-cellsam export --all`` does. "peak" is
all that the process ever had in memory, the labels (4 bytes a pixel) and the image included; "above" is what writing
and reading added to it.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

_MEBIBYTE = 1024  # of ru_maxrss's kilobytes on Linux


def main(
    side: int = 10_000,
    cells: int = 100_000,
    channels: int = 1,
    formats: Annotated[str | None, typer.Option(help="Names with commas; all if left out.")] = None,
    child: Annotated[str | None, typer.Option(hidden=True)] = None,
) -> None:
    """Print the table."""
    if child is not None:
        print(json.dumps(_measure(child.split(","), side, cells, channels)))
        return
    from napari_cellsam.export.formats import FORMATS

    names = formats.split(",") if formats else list(FORMATS)
    print(f"{'format':16}{'cells':>8}{'write s':>9}{'read s':>9}{'file MiB':>10}{'peak MiB':>10}{'above MiB':>11}")
    for case in [*names, ",".join(names)]:
        command = [sys.executable, __file__, "--child", case, "--side", str(side), "--cells", str(cells)]
        command += ["--channels", str(channels)]
        row = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
        read = "-" if row["read"] is None else f"{row['read']:.1f}"
        name = "all together" if "," in case else case
        figures = f"{row['write']:9.1f}{read:>9}{row['size']:10.1f}{row['peak']:10.0f}{row['above']:11.0f}"
        print(f"{name:16}{row['cells']:8}{figures}", flush=True)


def _measure(names: list[str], side: int, n_cells: int, channels: int) -> dict[str, Any]:
    """Write one format and read it back, or write several."""
    from napari_cellsam.export.formats import FORMATS, export_cells, read_cells

    cells = _make_cells(side, n_cells, channels)
    before = _peak()
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        paths = [path for _, path in export_cells(cells, Path(folder), names)]
        row: dict[str, Any] = {"write": time.perf_counter() - started, "read": None, "cells": len(cells.facts)}
        row["size"] = sum(child.stat().st_size for child in Path(folder).rglob("*") if child.is_file()) / 2**20
        if len(names) == 1 and FORMATS[names[0]].read:
            started = time.perf_counter()
            found = read_cells(paths[0])
            row["read"] = time.perf_counter() - started
            if FORMATS[names[0]].exact and not np.array_equal(found.labels, cells.labels):
                raise SystemExit(f"{names[0]} does not give back what was written")
    return row | {"peak": _peak(), "above": _peak() - before}


def _make_cells(side: int, n_cells: int, channels: int) -> Any:
    """Make round cells of many sizes on a grid, some of them with a hole, and an image of noise."""
    from napari_cellsam.export.cell_set import CellFacts, CellSet
    from napari_cellsam.types import Image

    rng = np.random.default_rng(0)
    n_rows = int(np.ceil(np.sqrt(n_cells)))
    row = np.arange(side) * n_rows // side
    offset = (np.arange(side) - (row + 0.5) * side / n_rows).astype(np.float32)
    radius = (side / n_rows * rng.uniform(0.35, 0.55, n_rows * n_rows)).astype(np.float32)
    hole = np.where(rng.random(n_rows * n_rows) < 0.05, radius / 3, 0).astype(np.float32)
    labels = np.zeros((side, side), np.uint32)
    for y in range(side):
        own = row[y] * n_rows + row
        distance = np.hypot(offset[y], offset)
        labels[y] = np.where((distance < radius[own]) & (distance >= hole[own]) & (own < n_cells), own + 1, 0)
    facts = {(0, label): CellFacts("automatic", 0.875, 0.75) for label in range(1, n_cells + 1)}
    pixels = rng.integers(100, 4000, (side, side, channels), np.uint16)
    image = Image.from_array(pixels, rgb=False, cell=0, pixel_size_um=(0.5, 0.5))
    return CellSet(labels, "", facts, (image,), (0.5, 0.5), "large")


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / _MEBIBYTE


if __name__ == "__main__":
    typer.run(main)
