"""What every contestant is handed, and what it hands back; plain files, since each runs in an environment of its own.

A job is a folder, made by ``contest.py``:

- ``job.json``: minutes of training, and the number of pictures of each part;
- ``train/<i>.npz`` and ``test/<i>.npz``: ``grey`` ``(Y, X)`` float32, raw intensities (luminance of stained pictures),
  and for training ``labels`` ``(Y, X)`` int32, 0 background; for testing ``diameter``, the true median diameter in
  pixels, for those who cannot estimate it;
- ``train.json``, written by a contestant: seconds and steps; ``weights``, its own.
- ``found/<i>.npy``: labels of a test picture; ``found.json``: seconds of each, and the peak of memory in MiB.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["Job", "run"]


class Job:
    """A contestant's folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.weights = folder / "weights"
        told = json.loads((folder / "job.json").read_text(encoding="utf-8"))
        self.minutes: float = told["minutes"]
        self._n = {"train": told["n_train"], "test": told["n_test"]}

    def pictures(self, part: str) -> Iterator[dict[str, Any]]:
        """Yield the arrays of each picture of a part."""
        for i in range(self._n[part]):
            with np.load(self.folder / part / f"{i}.npz") as arrays:
                yield dict(arrays)

    def note(self, name: str, **values: object) -> None:
        """Write down what is to be reported."""
        (self.folder / f"{name}.json").write_text(json.dumps(values), encoding="utf-8")


def run(train: Callable[[Job], int], load: Callable[[Job], Callable[[dict[str, Any]], Any]]) -> None:
    """Do what the command line asks for.

    Parameters
    ----------
    train
        Trains for the job's minutes, writes `Job.weights`, and returns the number of steps.
    load
        Returns a function that segments one test picture: labels ``(Y, X)``.
    """
    verb, job = sys.argv[1], Job(Path(sys.argv[2]))
    if verb == "train":
        job.weights.mkdir(exist_ok=True)
        begun = time.monotonic()
        steps = train(job)
        job.note("train", seconds=time.monotonic() - begun, steps=steps)
    else:
        _find(job, load(job))


def _find(job: Job, segment: Callable[[dict[str, Any]], Any]) -> None:
    (job.folder / "found").mkdir(exist_ok=True)
    seconds = []
    for i, picture in enumerate(job.pictures("test")):
        if i == 0:
            segment(picture)  # compilation and caches are nobody's speed
        begun = time.monotonic()
        labels = np.asarray(segment(picture))
        seconds.append(time.monotonic() - begun)
        np.save(job.folder / "found" / f"{i}.npy", labels.astype(np.uint32))
    job.note("found", seconds=seconds, peak_mib=_peak_mib())


def _peak_mib() -> float:
    """Return the most memory that the process ever had."""
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)
