"""Small sets of cells that are hard on export formats."""

import numpy as np

from napari_cellsam.export.cell_set import CellFacts, CellSet
from napari_cellsam.types import Image

__all__ = ["SCENES", "make_scene", "with_image"]


def _rows(*rows):
    return np.array([[int(letter) for letter in row] for row in rows], np.uint32)


def _many():
    labels = np.zeros((600, 480), np.uint32)
    labels[::2, ::2] = np.arange(1, 300 * 240 + 1).reshape(300, 240)
    return labels


def _random():
    rng = np.random.default_rng(5)
    return np.kron(rng.integers(0, 9, (23, 17)), np.ones((3, 2), int)).astype(np.uint32)


def _spread():
    labels = _rows("1100", "0020", "3300")
    return np.array([0, 7, 70_000, 3_000_000], np.uint32)[labels]


SCENES = {
    "an empty image": lambda: np.zeros((4, 6), np.uint32),
    "one cell": lambda: _rows("00000", "01100", "01110", "00000"),
    "one cell that is the whole image": lambda: np.ones((3, 5), np.uint32),
    "one pixel": lambda: np.array([[1]], np.uint32),
    "touching cells": lambda: _rows("0112200", "0112233", "0000033"),
    "cells that touch in a corner": lambda: _rows("1100", "1100", "0022", "0022"),
    "cells with holes": lambda: _rows("1111122222", "1010120002", "1111120302", "0000020002", "0000022222"),
    "a hole that touches the outside in a corner": lambda: _rows("11100", "10100", "11010", "00111"),
    "cells of several pieces": lambda: _rows("1102201", "1100001", "0020011", "3030300"),
    "pieces that touch in a corner": lambda: _rows("1010", "0101", "1010"),
    "pieces in holes of their own cell": lambda: _rows(
        "1111111", "1000001", "1011101", "1010101", "1011101", "1000001", "1111111"
    ),
    "numbers with gaps": _spread,
    "cells at the border": lambda: _rows("1102", "1002", "0000", "3044"),
    "columns that go on in the next": lambda: _rows("0110", "1110", "1100"),
    "a crowd": _random,
    "a stack of times": lambda: np.stack([_rows("1100", "0022"), _rows("0110", "0002"), np.zeros((2, 4), np.uint32)]),
    "a stack of depths": lambda: np.stack([_rows("1100", "0022"), _rows("0110", "3002")]),
    "a stack of one": lambda: _rows("1100", "0022")[None],
    "more than 65535 cells": _many,
}


def make_scene(name):
    """Make a set of cells, about some of which something is known."""
    labels = SCENES[name]()
    axis = "" if labels.ndim == 2 else "T" if name == "a stack of times" else "Z"
    facts = {}
    for plane, own in enumerate(labels[None] if labels.ndim == 2 else labels):
        used = np.unique(own[own > 0])[:3].tolist()
        for label, known in zip(
            used, (CellFacts("automatic", 0.75, 0.5), CellFacts("manual"), CellFacts("", 1.0)), strict=False
        ):
            facts[plane, label] = known
    return CellSet(labels, axis, facts, (), (0.25, 0.5), "a")


def with_image(cells, channels=1):
    """Give a set of cells an image."""
    rng = np.random.default_rng(1)
    images = []
    for _ in range(cells.n_planes):
        pixels = rng.integers(0, 60_000, (*cells.shape, channels), np.uint16)
        images.append(Image.from_array(pixels, rgb=False))
    return CellSet(cells.labels, cells.axis, cells.facts, tuple(images), cells.pixel_size_um, cells.name)
