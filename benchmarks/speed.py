"""Print seconds and peak memory of every stage, for the compact model and for one of published size.

Usage: python benchmarks/speed.py [--threads 2] [--weights published.pt] [--precision fp32]

Every row is a process of its own. Pictures are synthetic nuclei; the 512 x 512 one has about 200 cells. Seconds are
of the second run in the process (the first also pays for memory and kernels). Memory is the peak above an
interpreter that has imported torch. ``--weights`` adds rows for weights of published size: the whole picture with
200 given boxes, in fp32 and bf16. ``click 1`` is the first click on an image that nothing is known of, ``click`` the
median of later ones.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import typer

_DIAMETER = 24.0
_TILE = 512
_N_CLICKS = 40
_MEBIBYTE = 1024  # of ru_maxrss's kilobytes on Linux


def main(
    threads: int = 2,
    weights: Annotated[Path | None, typer.Option(help="Weights of published size.")] = None,
    precision: str = "auto",
    sides: str = "512,1024,4096",
    child: Annotated[str | None, typer.Option(hidden=True)] = None,
) -> None:
    """Print the table."""
    if child:
        name, side, kind = child.rsplit(":", 2)
        print(json.dumps(_measure(name, int(side), kind, threads)))
        return
    cases = [f"compact:{side}:{precision}" for side in sides.split(",")]
    if weights:
        cases += [f"{weights}:512:{kind}" for kind in ("fp32", "bf16")]
    head = ("load", "embed", "detect", "decode", "whole", "click 1", "click")
    print(f"{'model':28}{'side':>6}{'cells':>7}" + "".join(f"{h + ' s':>10}" for h in head) + f"{'peak MiB':>10}")
    for case in cases:
        command = [sys.executable, __file__, "--child", case, "--threads", str(threads)]
        row = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
        figures = "".join(f"{row[h]:10.3f}" for h in head)
        print(f"{row['model']:28}{row['side']:6}{row['cells']:7}{figures}{row['peak']:10.0f}", flush=True)


def _measure(name: str, side: int, precision: str, threads: int) -> dict[str, Any]:
    import torch

    torch.set_num_threads(threads)
    before = _peak()
    from napari_cellsam.engine import load_model
    from napari_cellsam.labels import boxes_of
    from napari_cellsam.types import Image, Prompt, SegmentOptions

    pixels, labels = _picture(side)
    image = Image.from_array(pixels)
    boxes = boxes_of(labels)[:200]
    started = time.perf_counter()
    model = load_model(name, "cpu", precision)
    result: dict[str, Any] = {"load": time.perf_counter() - started}
    centres = [((y0 + y1) / 2, (x0 + x1) / 2) for y0, x0, y1, x1 in boxes.tolist()]
    packaged = name == "compact"
    prompts = [Prompt(box=box) for box in boxes]
    stages: dict[str, Callable[[], Any]] = {
        "embed": lambda: model.embed(image),
        "detect": lambda: model.detect(image, 0.0),
        "decode": lambda: model.segment_prompts(image, prompts),
    }
    for _ in range(2):
        model.forget()
        for stage, run in stages.items():
            result[stage] = _seconds(run)
    for _ in range(2 if packaged else 0):
        model.forget()
        result["whole"] = _seconds(lambda: result.__setitem__("cells", model.segment(image, SegmentOptions()).n_cells))
    if not packaged:  # random weights find no cells: the given boxes stand for them
        result |= {"whole": result["embed"] + result["detect"] + result["decode"], "cells": len(prompts)}
    for _ in range(2):
        model.forget()
        result["click 1"] = _seconds(lambda: model.segment_prompts(image, [Prompt(inside=[centres[0]])]))
    clicks = [Prompt(inside=[centre]) for centre in centres[1 : 1 + _N_CLICKS]]
    result["click"] = median(_seconds(lambda click=click: model.segment_prompts(image, [click])) for click in clicks)
    kind = "compact" if packaged else "published size"
    return result | {"model": f"{kind}, {precision}", "side": side, "peak": (_peak() - before) / _MEBIBYTE}


def _picture(side: int) -> tuple[Any, Any]:
    """Return a picture ``(side, side)`` uint16 of one synthetic tile, repeated, and the tile's labels."""
    import numpy as np

    from napari_cellsam.data.synthetic import synthesize

    rng = np.random.default_rng(4)
    tiles = [synthesize("fluorescent_nuclei", (_TILE, _TILE), rng, diameter=_DIAMETER) for _ in range(6)]
    tile = min(tiles, key=lambda t: abs(int(t.labels.max()) - 200))
    n, rest = divmod(side, _TILE)
    if rest or not n:
        raise typer.BadParameter(f"side is {side}; expected a multiple of {_TILE}")
    pixels = np.tile((tile.pixels[..., :1] * 4000).astype(np.uint16), (n, n, 1))
    return pixels, tile.labels


def _seconds(run: Callable[[], Any]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    typer.run(main)
