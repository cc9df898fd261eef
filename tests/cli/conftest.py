"""A model that needs no weights, and the command line in this process."""

import errno
import json
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from scipy import ndimage

from napari_cellsam import cli
from napari_cellsam.types import Segmentation


@dataclass
class FakeModel:
    """Takes everything above 100 for cells, in one tile."""

    options: list = field(default_factory=list)
    images: list = field(default_factory=list)
    loaded: list = field(default_factory=list)

    def segment(self, image, options, *, on_progress=None):
        self.images.append(image)
        self.options.append(options)
        labels, n = ndimage.label(image.pixels[:, :, image.cell or 0] > 100)
        boxes = [(s[0].start, s[1].start, s[0].stop - 1, s[1].stop - 1) for s in ndimage.find_objects(labels)]
        if on_progress:
            on_progress(1, 1)
        return Segmentation(
            labels.astype(np.uint32),
            np.array(boxes, np.float32).reshape(-1, 4),
            np.linspace(0.9, 0.5, n, dtype=np.float32),
            np.full(n, 0.8, np.float32),
            notes=("no cells were found",) if n == 0 else (),
        )


@pytest.fixture
def set_loader(monkeypatch):
    """Return a function that puts a loader in the place of the engine, so that these tests need no torch."""

    def replace(load_model):
        engine = ModuleType("napari_cellsam.engine")
        engine.load_model = load_model
        monkeypatch.setitem(sys.modules, "napari_cellsam.engine", engine)

    return replace


@pytest.fixture
def model(set_loader):
    """Return the model that the command line loads, whatever it asks for."""
    fake = FakeModel()

    def load_model(name, device="auto", precision="auto"):
        fake.loaded.append((name, device, precision))
        return fake

    set_loader(load_model)
    return fake


@dataclass
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def document(self):
        """Return what was printed as JSON."""
        return json.loads(self.out)


@pytest.fixture
def run(capsys):
    """Return a function that runs the command line."""

    def run_command(*arguments):
        with pytest.raises(SystemExit) as ended:
            cli.main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Ended(ended.value.code or 0, captured.out, captured.err)

    return run_command


@pytest.fixture
def forbid(monkeypatch):
    """Return a function that forbids to look at places, also for somebody who may do everything."""
    forbidden = set()

    def check(path):
        if str(path) in forbidden:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))

    def guard(owner, name):
        real = getattr(owner, name)

        def guarded(path, *args, **kwargs):
            check(path)
            return real(path, *args, **kwargs)

        monkeypatch.setattr(owner, name, guarded)

    for name in ("open", "iterdir"):
        guard(Path, name)
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: str(path) not in forbidden and access(path, mode))
    return lambda *paths: forbidden.update(map(str, paths))


@pytest.fixture
def picture():
    """Return a picture with two cells."""
    pixels = np.zeros((12, 10), np.uint8)
    pixels[1:4, 1:4] = 200
    pixels[6:10, 5:9] = 150
    return pixels
