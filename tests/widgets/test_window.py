"""A person's work from end to end: a real window, real mouse and keys, the compact model in its own process."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest
from scipy import ndimage

from napari_cellsam.data.samples import load_sample
from napari_cellsam.export.label_tiff import read_labels
from napari_cellsam.widgets._camera import camera_of

READY_MS = 120_000
NO_MODIFIER = Qt.KeyboardModifier.NoModifier


class Person:
    """Uses the window of a viewer as a person does."""

    def __init__(self, viewer, session, qtbot):
        self.viewer, self.session, self._qtbot = viewer, session, qtbot
        self._canvas = viewer.window._qt_viewer.canvas.native  # there is no public way to it

    def settle(self):
        session = self.session
        self._qtbot.waitUntil(
            lambda: not (session.jobs.n_running or session.automatic.running or session.writing), timeout=READY_MS
        )

    @property
    def camera(self):
        return camera_of(self.viewer)

    def _point(self, y, x):
        camera = self.camera
        size = self._canvas.size()
        world = np.asarray(self.session.source.layer.data_to_world((y, x)))
        row, column = (world - np.asarray(camera.center)[-2:]) * camera.zoom
        return QPoint(round(size.width() / 2 + column), round(size.height() / 2 + row))

    def move_to(self, y, x):
        for apart in (2, 1, 0):  # Qt makes the first of moves that follow each other an entering of the window
            QTest.mouseMove(self._canvas, self._point(y, x) + QPoint(apart, apart))
            self._qtbot.wait(30)

    def click(self, y, x, button=Qt.MouseButton.LeftButton):
        point = self._point(y, x)
        QTest.mouseMove(self._canvas, point)
        QTest.mousePress(self._canvas, button, NO_MODIFIER, point)
        QTest.mouseRelease(self._canvas, button, NO_MODIFIER, point)
        self.settle()

    def drag(self, *places):
        points = [self._point(*place) for place in places]
        QTest.mouseMove(self._canvas, points[0])
        QTest.mousePress(self._canvas, Qt.MouseButton.LeftButton, NO_MODIFIER, points[0])
        for start, end in pairwise(points):
            for share in (0.25, 0.5, 0.75, 1.0):
                QTest.mouseMove(self._canvas, start + (end - start) * share)
                self._qtbot.wait(20)
        QTest.mouseRelease(self._canvas, Qt.MouseButton.LeftButton, NO_MODIFIER, points[-1])
        self._qtbot.wait(50)
        self.settle()

    def press(self, key, modifier=NO_MODIFIER):
        self._canvas.setFocus()
        QTest.keyClick(self._canvas, key, modifier)
        self.settle()


@pytest.fixture
def person(make_napari_viewer, qtbot, tmp_path, monkeypatch):
    for name in ("CACHE", "CONFIG", "JOURNALS"):
        monkeypatch.setenv(f"NAPARI_CELLSAM_{name}_DIR", str(tmp_path / name))
    viewer = make_napari_viewer(show=True)
    viewer.window.resize(1200, 800)
    viewer.open_sample("napari-cellsam", "fluorescent_nuclei")
    _, dock = viewer.window.add_plugin_dock_widget("napari-cellsam", "Segment cells")
    qtbot.waitUntil(lambda: dock.session.connection.state == "ready", timeout=READY_MS)
    made = Person(viewer, dock.session, qtbot)
    made.settle()
    yield made
    dock.close()


def middles_of_nuclei(n):
    """Return ``(y, x)`` inside the largest bright pieces of the sample."""
    pixels = load_sample("fluorescent_nuclei").pixels[..., 0].astype(float)
    smooth = ndimage.gaussian_filter(pixels, 2)
    pieces, _ = ndimage.label(smooth > 0.4 * smooth.max())
    inner = ndimage.distance_transform_edt(pieces > 0)
    inner[:60] = inner[-60:] = 0
    inner[:, :60] = inner[:, -60:] = 0
    places = []
    for _ in range(n):
        y, x = np.unravel_index(int(inner.argmax()), inner.shape)
        places.append((int(y), int(x)))
        inner[max(y - 60, 0) : y + 60, max(x - 60, 0) : x + 60] = 0
    return places


@pytest.mark.slow
def test_cells_are_clicked_found_undone_deleted_and_saved(person, tmp_path):
    places = middles_of_nuclei(3)
    person.press(Qt.Key.Key_H)
    assert person.session.clicking
    for y, x in places:
        person.click(y, x)
    labels = person.session.target.layer.data
    assert sorted(int(labels[place]) for place in places) == [1, 2, 3]
    areas = np.bincount(labels.ravel())[1:]
    assert (areas > 50).all()
    assert (areas < 5000).all()

    person.press(Qt.Key.Key_G)
    assert len(person.session.cells) > 80
    assert sorted(int(labels[place]) for place in places) == [1, 2, 3]

    control = Qt.KeyboardModifier.ControlModifier
    person.press(Qt.Key.Key_Z, control)
    assert len(person.session.cells) == 3
    assert len(np.unique(labels)) == 4
    person.press(Qt.Key.Key_Z, control | Qt.KeyboardModifier.ShiftModifier)
    n_cells = len(person.session.cells)
    assert n_cells > 80

    person.move_to(*places[0])
    person.press(Qt.Key.Key_K)
    assert int(labels[places[0]]) == 0
    assert len(person.session.cells) == n_cells - 1

    [path] = person.session.target.layer.save(str(tmp_path / "cells.tif"))
    assert np.array_equal(read_labels(path), labels)


@pytest.mark.slow
def test_a_drag_moves_the_picture_and_makes_no_cell(person):
    person.press(Qt.Key.Key_H)
    canvas, start = person._canvas, person._point(*middles_of_nuclei(1)[0])
    QTest.mousePress(canvas, Qt.MouseButton.LeftButton, NO_MODIFIER, start)
    QTest.mouseMove(canvas, start + QPoint(40, 0))
    QTest.mouseRelease(canvas, Qt.MouseButton.LeftButton, NO_MODIFIER, start + QPoint(40, 0))
    person.settle()
    assert len(person.session.cells) == 0


@pytest.mark.slow
def test_cells_are_merged_cut_reviewed_and_drawn_with_keys_and_the_mouse(person):
    session, (here, there, third) = person.session, middles_of_nuclei(3)
    person.press(Qt.Key.Key_G)
    labels = session.target.layer.data
    before = labels.copy()
    one, other = int(labels[here]), int(labels[there])
    assert one
    assert other

    for place in (here, there):
        person.move_to(*place)
        person.press(Qt.Key.Key_T)
    assert int(labels[here]) == int(labels[there]) == one
    person.press(Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    assert np.array_equal(labels, before)

    rows, columns = np.nonzero(before == one)
    centre = np.asarray(person.camera.center)
    person.move_to(*here)
    person.press(Qt.Key.Key_I)
    person.drag((rows.min() - 4, here[1]), (rows.max() + 4, here[1]))
    assert len(np.unique(labels[before == one])) == 2
    assert np.array_equal(person.camera.center, centre)

    person.press(Qt.Key.Key_N)
    plane, label = session.review.current
    person.press(Qt.Key.Key_A)
    assert session.cells.get(plane, label).reviewed
    assert session.review.current != (plane, label)

    session.viewer.reset_view()
    person.move_to(*third)
    person.press(Qt.Key.Key_K)
    assert int(labels[third]) == 0
    rows, columns = np.nonzero(before == before[third])
    person.press(Qt.Key.Key_B, Qt.KeyboardModifier.ShiftModifier)
    person.drag((rows.min() - 2, columns.min() - 2), (rows.max() + 2, columns.max() + 2))
    assert int(labels[third]) > before.max()
    found = labels == labels[third]
    assert np.count_nonzero(found & (before == before[third])) > 0.7 * np.count_nonzero(
        found | (before == before[third])
    )


@pytest.mark.slow
def test_the_preview_under_the_cursor_is_what_a_click_makes(person, qtbot):
    place = middles_of_nuclei(1)[0]
    person.press(Qt.Key.Key_H)
    person.session.hover.set_on(True)
    person.move_to(place[0] - 30, place[1] - 30)
    person.move_to(*place)
    person.settle()
    qtbot.waitUntil(lambda: person.session.hover.paused or _previewed(person) is not None, timeout=READY_MS)
    if person.session.hover.paused:
        pytest.skip("this machine decodes too slowly for previews")
    person.click(*place)
    assert int(person.session.target.layer.data[place]) == 1


def _previewed(person):
    y, x = person.session.to_yx(person.viewer.cursor.position)
    return person.session.hover.seen(person.session.plane, y, x)
