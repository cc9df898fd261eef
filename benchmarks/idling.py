"""Print how long a picture takes alone, and while a second process segments too, by how long idle threads stay awake.

Usage: python benchmarks/idling.py [--seconds 12] [--spins 300000 --spins 10000 --spins 0]

Spins are GNU OpenMP's ``GOMP_SPINCOUNT``, which counts on Linux: 300,000 is that library's own choice, 10,000 is ours
(`napari_cellsam.models.idling`), 0 sleeps at once. The picture is the sample ``fluorescent_nuclei``, of which a pixel
changes each time so that nothing is remembered. All figures are medians of one run.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import replace
from typing import Annotated

import typer


def main(
    seconds: Annotated[float, typer.Option(help="Of each measurement.")] = 12.0,
    spins: Annotated[list[int] | None, typer.Option(help="Spins to compare.")] = None,
    worker: Annotated[bool, typer.Option("--worker", hidden=True)] = False,
) -> None:
    """Print the table, or, as a worker, the median of one process."""
    if worker:
        print(f"{_median_s(seconds):.3f}")
        return
    print(f"{'spins':>8}{'alone s':>9}{'beside another s':>18}")
    for n_spins in spins or (300_000, 10_000, 0):
        [alone] = _workers(n_spins, seconds, 1)
        both = _workers(n_spins, seconds, 2)
        print(f"{n_spins:8}{alone:9.3f}{sum(both) / 2:18.3f}", flush=True)


def _workers(n_spins: int, seconds: float, n: int) -> list[float]:
    """Run workers at the same time; return the median seconds of each."""
    command = [sys.executable, __file__, "--worker", "--seconds", str(seconds)]
    environment = os.environ | {"GOMP_SPINCOUNT": str(n_spins)}
    running = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(n)]
    outputs = [process.communicate()[0] for process in running]
    return [float(output) for output in outputs]


def _median_s(seconds: float) -> float:
    """Segment for so long; return the median time of a picture."""
    import numpy as np

    import napari_cellsam as ncs
    from napari_cellsam.data.samples import load_sample

    model, image = ncs.load_model("compact"), load_sample("fluorescent_nuclei")
    model.segment(image)
    times: list[float] = []
    while sum(times) < seconds:
        pixels = image.pixels.copy()
        pixels[0, 0] = len(times) % 200
        begun = time.perf_counter()
        model.segment(replace(image, pixels=pixels))
        times.append(time.perf_counter() - begun)
    return float(np.median(times))


if __name__ == "__main__":
    typer.run(main)
