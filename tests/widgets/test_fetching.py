"""Fetching a sample from the menu: the window goes on meanwhile."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QApplication, QProgressDialog, QPushButton
from skimage import data
from tests.widgets.conftest import HANG_MS

from napari_cellsam.errors import ImageReadError
from napari_cellsam.widgets._fetching import open_here


@pytest.fixture
def gate(monkeypatch):
    """Let scikit-image fetch two planes of two channels, as soon as the gate is open."""
    opened = threading.Event()

    def fetch():
        assert opened.wait(HANG_MS / 1000)
        return np.ones((2, 2, 30, 40), np.uint16)

    monkeypatch.setattr(data, "cells3d", fetch)
    yield opened
    opened.set()


def dialogs():
    return [widget for widget in QApplication.topLevelWidgets() if isinstance(widget, QProgressDialog)]


def when_shown(do):
    """Do something with the dialog as soon as there is one."""

    def look():
        shown = [dialog for dialog in dialogs() if dialog.isVisible()]
        do(shown[0]) if shown else QTimer.singleShot(20, look)

    QTimer.singleShot(0, look)


def test_a_sample_that_is_here_opens_with_its_layers(viewer, gate):
    gate.set()
    viewer.open_sample("napari-cellsam", "cells3d")
    assert [layer.name for layer in viewer.layers] == ["cells3d cell", "cells3d nuclear"]
    assert np.allclose(viewer.layers[0].scale, (0.29, 0.26, 0.26))


def test_the_sample_fits_the_model_without_a_question(viewer, gate, make_session):
    gate.set()
    viewer.open_sample("napari-cellsam", "cells3d")
    session = make_session(viewer)
    session.start()
    session.settle()
    channels = session.source.channels
    assert (channels.nuclear.layer, channels.cell.layer) == ("cells3d nuclear", "cells3d cell")
    assert session.source.pixel_size_um == pytest.approx((0.26, 0.26))


def test_the_window_lives_while_a_sample_is_fetched(qtbot, gate):
    beats = []
    heart = QTimer(interval=10)
    heart.timeout.connect(lambda: beats.append(None))
    heart.start()
    when_shown(lambda dialog: gate.set())
    layers = open_here("cells3d")
    heart.stop()
    assert len(layers) == 2
    assert len(beats) >= 10


def test_the_dialog_says_what_is_fetched_and_goes_afterwards(qtbot, gate):
    said = []
    when_shown(lambda dialog: (said.append(dialog.labelText()), gate.set()))
    open_here("cells3d")
    assert said == ["Fetching the sample 'cells3d' (15.7 MB) …"]
    assert not any(dialog.isVisible() for dialog in dialogs())


def test_no_dialog_is_shown_for_what_is_here(qtbot, gate, monkeypatch):
    shown = []
    monkeypatch.setattr(QProgressDialog, "show", shown.append)
    gate.set()
    open_here("cells3d")
    assert not shown


def test_fetching_can_be_cancelled_and_says_so(qtbot, gate):
    when_shown(lambda dialog: dialog.findChild(QPushButton).click())
    with pytest.raises(ImageReadError, match="was cancelled; open it again"):
        open_here("cells3d")


def test_without_a_network_napari_is_told_what_to_do_and_nothing_is_added(viewer, monkeypatch):
    def fail():
        raise ConnectionError("no route")

    monkeypatch.setattr(data, "human_mitosis", fail)
    with pytest.raises(ImageReadError, match=r"^Connect to the network") as told:
        viewer.open_sample("napari-cellsam", "human_mitosis")
    assert told.value.__cause__ is None and told.value.__suppress_context__
    assert not len(viewer.layers)
