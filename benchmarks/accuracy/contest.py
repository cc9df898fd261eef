"""Train segmenters on the same pictures, run them on others, and write down how well they do.

Usage: python benchmarks/accuracy/contest.py FOLDER [--minutes 20] [--only NAME ...] [--without SOURCE ...]
           [--work DIR] [--page docs/accuracy.md]

FOLDER is a data set as `napari-cellsam train` takes it, with an index.tsv. Every contestant is a script in
``contestants/``, which runs in an environment of its own (made by uv) and is trained from random weights on the
pictures of the split "train", for as many minutes as all others, on all cores; then it segments the pictures of "val".
With ``--without`` a whole source is left out of the training and is all that is segmented: what one gets on pictures of
a kind that no training has seen.

Printed, and written to a page: F1 at IoU 0.5, 0.6 and 0.75 and the mean segmentation accuracy, TP / (TP + FP + FN)
averaged over IoU 0.5 to 0.95 in steps of 0.05, of all cells of a source together; by source and by archetype; seconds
a picture and the peak of memory. Results are kept in DIR: what is there already is not done again.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from napari_cellsam.data.dataset import DatasetEntry, list_entries, median_diameter
from napari_cellsam.data.read import read_image
from napari_cellsam.export.label_tiff import read_labels
from napari_cellsam.labels import relabel_sequential
from napari_cellsam.metrics.matching import Counts, find_overlaps, match_overlaps
from napari_cellsam.models.registry import find_weights
from napari_cellsam.types import Image

_SCRIPTS = Path(__file__).parent / "contestants"
_IOUS = tuple(round(0.5 + 0.05 * i, 2) for i in range(10))
_SHOWN = (0.5, 0.6, 0.75)
_GREY = np.array([0.2125, 0.7154, 0.0721], np.float32)  # luminance of linear sRGB


@dataclass(frozen=True)
class Contestant:
    """A segmenter.

    Attributes
    ----------
    name
        As in the tables.
    script
        In ``contestants/``.
    learns
        Whether it is trained.
    apart
        Whether it needs packages that this project has not.
    """

    name: str
    script: str
    learns: bool = True
    apart: bool = False


CONTESTANTS = {
    "shipped": Contestant("compact, as shipped", "compact.py", learns=False),
    "compact": Contestant("compact", "compact.py"),
    "cellpose3": Contestant("Cellpose 3", "cellpose3.py", apart=True),
    "stardist": Contestant("StarDist", "stardist2d.py", apart=True),
    "otsu": Contestant("Otsu, watershed", "otsu.py", learns=False),
}


@dataclass(frozen=True)
class Contest:
    """A division of the pictures: what is learned from, and what is segmented.

    Attributes
    ----------
    name
        Of the contest, and of its folder.
    train, test
        The pictures.
    """

    name: str
    train: list[DatasetEntry]
    test: list[DatasetEntry]


def contest_of(folder: Path, without: str | None) -> Contest:
    """Return the contest of the splits, or that without a source."""
    entries = list_entries(folder)
    if not (folder / "index.tsv").is_file():
        raise typer.BadParameter(f"{folder} has no index.tsv, which says what is learned from and what is judged")
    if without is None:
        parts = ([e for e in entries if e.split == split] for split in ("train", "val"))
        return Contest("val", *parts)
    if without not in {e.source for e in entries}:
        raise typer.BadParameter(f"{folder} has no source {without!r}; there are {sorted({e.source for e in entries})}")
    train = [e for e in entries if e.source != without and e.split == "train"]
    return Contest(f"without-{without}", train, [e for e in entries if e.source == without])


def prepare_job(contest: Contest, minutes: float, folder: Path) -> None:
    """Write what contestants are handed; see ``contestants/job.py``."""
    for part, entries in (("train", contest.train), ("test", contest.test)):
        (folder / part).mkdir(parents=True)
        for i, entry in enumerate(entries):
            labels = relabel_sequential(read_labels(entry.mask)).astype(np.int32)
            told = {"labels": labels} if part == "train" else {"diameter": np.float32(median_diameter(labels))}
            np.savez(folder / part / f"{i}.npz", grey=_grey(read_image(entry.image)), **told)
    _link_data(contest.train, folder / "data")
    counts = {"n_train": len(contest.train), "n_test": len(contest.test)}
    (folder / "job.json").write_text(json.dumps({"minutes": minutes, **counts}), encoding="utf-8")


def _link_data(entries: Sequence[DatasetEntry], folder: Path) -> None:
    """Make a data set of links, for those who read it themselves."""
    rows = []
    for entry in entries:
        _, archetype, modality = entry.group.split("/")  # `contest_of` has seen that there are three
        rows.append((entry.source, entry.image.name, entry.split, archetype, modality))
        for kind, path in (("images", entry.image), ("masks", entry.mask)):
            link = folder / entry.source / kind / path.name
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(path.resolve())
    with (folder / "index.tsv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter="\t")
        writer.writerow(("source", "file", "split", "archetype", "modality"))
        writer.writerows(rows)


def _grey(image: Image) -> NDArray[np.float32]:
    """Return raw intensities ``(Y, X)``: luminance of colours, else the brightest of the channels."""
    pixels = image.pixels.astype(np.float32)
    return pixels[..., :3] @ _GREY if image.rgb else pixels.max(-1)


def take_part(contestant: Contestant, job: Path) -> None:
    """Train a contestant, and let it segment, each in a process of its own."""
    script = str(_SCRIPTS / contestant.script)
    start = [_uv(), "run", "--quiet", "--script", script] if contestant.apart else [sys.executable, script]
    for verb in ("train", "find") if contestant.learns else ("find",):
        log = job / f"{verb}.log"
        print(f"  {contestant.name}: {verb} (log in {log})", flush=True)
        with log.open("wb") as file:
            done = subprocess.run([*start, verb, str(job)], stdout=file, stderr=subprocess.STDOUT, check=False)
        if done.returncode:
            tail = log.read_text(encoding="utf-8", errors="replace")[-2000:]
            raise SystemExit(f"{contestant.name} failed at {verb} ({done.returncode}):\n{tail}")


def _uv() -> str:
    path = shutil.which("uv") or shutil.which("uv", path=str(Path(sys.executable).parent))
    if path is None:
        raise SystemExit("uv is needed for the environments of contestants: python -m pip install uv")
    return path


def score(contest: Contest, job: Path) -> dict[str, Any]:
    """Return counts by source and archetype at every IoU, and what the contestant noted."""
    counts: dict[str, dict[float, Counts]] = defaultdict(lambda: dict.fromkeys(_IOUS, Counts()))
    for i, entry in enumerate(contest.test):
        overlaps = find_overlaps(read_labels(entry.mask), np.load(job / "found" / f"{i}.npy"))
        for iou in _IOUS:
            more = match_overlaps(overlaps, iou).counts
            for group in (entry.source, "/".join(entry.group.split("/")[1:])):
                counts[group][iou] += more
    noted = {
        name: json.loads((job / f"{name}.json").read_text(encoding="utf-8"))
        for name in ("train", "found")
        if (job / f"{name}.json").is_file()
    }
    figures = {
        group: {
            "n_cells": at[0.5].true_positives + at[0.5].false_negatives,
            **{f"f1@{iou}": at[iou].f1 for iou in _SHOWN},
            "mean accuracy": float(np.mean([c.accuracy for c in at.values()])),
        }
        for group, at in counts.items()
    }
    return {"sources": sorted({e.source for e in contest.test}), "figures": figures, "noted": noted}


def digest(entries: Iterable[DatasetEntry], *others: Path) -> str:
    """Return a hash of pictures, their masks, and other files."""
    result = hashlib.sha256()
    for path in (*(path for entry in entries for path in (entry.image, entry.mask)), *others):
        result.update(hashlib.sha256(path.read_bytes()).digest())
    return result.hexdigest()


def origin(contestant: Contestant, contest: Contest) -> str:
    """Return a hash of what a contestant is made of: its script, and what it learns from or its weights."""
    weights = [find_weights("compact")] if contestant.name == CONTESTANTS["shipped"].name else []
    return digest(contest.train if contestant.learns else (), _SCRIPTS / contestant.script, *weights)


def refuse_others(kept: Path, told: dict[str, Any]) -> None:
    """Refuse a result that is kept if it is not of what is asked now."""
    there = json.loads(kept.read_text(encoding="utf-8"))
    others = [name for name, value in told.items() if there.get(name) != value]
    if others:
        raise SystemExit(f"{kept} is of other {' and '.join(others)}; remove it, or choose another --work")


def hold(contest: Contest, names: Iterable[str], minutes: float, work: Path) -> None:
    """Let contestants take part that have not yet."""
    for name in names:
        kept = work / f"{contest.name}.{name}.json"
        told = {
            "contest": contest.name,
            "contestant": name,
            "minutes": minutes if CONTESTANTS[name].learns else None,
            "pictures": digest(contest.test),
            "origin": origin(CONTESTANTS[name], contest),
        }
        if kept.is_file():
            refuse_others(kept, told)
            continue
        with tempfile.TemporaryDirectory(dir=work, ignore_cleanup_errors=True) as folder:
            job = Path(folder)
            prepare_job(contest, minutes, job)
            take_part(CONTESTANTS[name], job)
            result = score(contest, job)
        kept.write_text(json.dumps({**told, **result}, indent=1), encoding="utf-8")


def tables(work: Path) -> str:
    """Return the tables of all results that are kept, as markdown."""
    results = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(work.glob("*.json"))]
    parts = []
    for contest in sorted({r["contest"] for r in results}, key=lambda name: (name != "val", name)):
        held = [r for name in CONTESTANTS for r in results if (r["contest"], r["contestant"]) == (contest, name)]
        for what in ("pictures", "minutes"):
            if len({r[what] for r in held} - {None}) > 1:
                raise SystemExit(
                    f"{work} holds results of {contest} with other {what}; remove those that are not wanted"
                )
        title = "The split val" if contest == "val" else f"Without {contest.removeprefix('without-')} in training"
        parts.append(f"## {title}\n\n{_overview(held)}\n\n{_details(held)}")
    return "\n\n".join(parts)


def _overview(held: Sequence[dict[str, Any]]) -> str:
    head = (
        "contestant",
        "trained min",
        "steps",
        *(f"mean F1 at {iou}" for iou in _SHOWN),
        "mean accuracy",
        "s a picture",
        "peak MiB",
    )
    rows = []
    for result in held:
        figures = [result["figures"][source] for source in result["sources"]]
        means = [np.mean([f[key] for f in figures]) for key in (*(f"f1@{iou}" for iou in _SHOWN), "mean accuracy")]
        train, found = result["noted"].get("train", {}), result["noted"]["found"]
        rows.append(
            (
                CONTESTANTS[result["contestant"]].name,
                f"{result['minutes']:g}" if result["minutes"] else "-",
                str(train.get("steps", "-")),
                *(f"{m:.3f}" for m in means),
                f"{np.mean(found['seconds']):.2f}",
                f"{found['peak_mib']:.0f}",
            )
        )
    return _table(head, rows)


def _details(held: Sequence[dict[str, Any]]) -> str:
    names = [CONTESTANTS[r["contestant"]].name for r in held]
    groups = list(dict.fromkeys([*held[0]["sources"], *sorted(held[0]["figures"])]))
    rows = []
    for group in groups:
        figures = [r["figures"][group] for r in held]
        cells = (f"{f['f1@0.6']:.3f} / {f['mean accuracy']:.3f}" for f in figures)
        rows.append((group, str(figures[0]["n_cells"]), *cells))
    return "F1 at IoU 0.6 / mean accuracy:\n\n" + _table(("source or archetype", "cells", *names), rows)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---", *["--:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


_INTRODUCTION = """# Accuracy, beside others

Written by `python benchmarks/accuracy/contest.py`, which says how; all figures of one contest are of the same pictures.
Contestants are trained from random weights on the same pictures, for the same time on the same cores ({cores} of
{machine}); the shipped weights were trained longer (see the
[model card](../src/napari_cellsam/models/packaged/compact.md)) and are left out where a source is left out, since they
have learned from it. "mean" is over sources. The shipped weights were chosen, and their scores and cut fitted, on the
split val, which flatters them a little; frames of the movie of yeast_lifecycle are near copies of those that all learn
from.

Cellpose 3 and StarDist run their own training code with their usual settings (`benchmarks/accuracy/contestants/`).
All are judged on the same greys; the compact model learns from pictures as they are, some of which have colours.
Cellpose is told the true median diameter of each picture; nobody else is told anything. Minutes on a processor favour
small networks: the tables say what can be had on a laptop, not what these methods reach on a GPU in a day.
"""


def main(
    folder: Path,
    minutes: Annotated[float, typer.Option(help="Of each contestant's training.")] = 20.0,
    only: Annotated[list[str] | None, typer.Option(help="Contestants; all by default.")] = None,
    without: Annotated[list[str] | None, typer.Option(help="Leave this source out, and judge on it.")] = None,
    work: Annotated[Path, typer.Option(help="Where results are kept.")] = Path("contest"),
    page: Annotated[Path | None, typer.Option(help="Write the tables here.")] = None,
) -> None:
    """Hold the contests and print the tables."""
    unknown = set(only or ()) - set(CONTESTANTS)
    if unknown:
        raise typer.BadParameter(f"no contestant {sorted(unknown)}; there are {', '.join(CONTESTANTS)}")
    work.mkdir(parents=True, exist_ok=True)
    for source in [None] if without is None else [*without]:
        contest = contest_of(folder, source)
        names = [name for name in only or CONTESTANTS if source is None or name != "shipped"]
        hold(contest, names, minutes, work)
    text = tables(work)
    print(text)
    if page:
        machine = platform.processor() or platform.machine()
        page.write_text(f"{_INTRODUCTION.format(cores=os.cpu_count(), machine=machine)}\n{text}\n", encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
