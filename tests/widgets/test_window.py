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

MOVES_APART_MS = 20  # vispy leaves out those that are less than 10 ms apart
READY_MS, DONE_MS = 300_000, 60_000
MARGIN = 40  # of the picture, in which nothing is done
ALONE_PX, LARGE_PX = 5, 150
NO_MODIFIER = Qt.KeyboardModifier.NoModifier


class Person:
    """Uses the window of a viewer as a person does, who looks whether what was meant has come about."""

    def __init__(self, viewer, session, qtbot):
        self.viewer, self.session, self._qtbot = viewer, session, qtbot
        self._canvas = viewer.window._qt_viewer.canvas.native  # there is no public way to it
        self._window = self._canvas.window().windowHandle()  # does not need the pointer of the screen, as widgets do
        self._told = []
        session.said.connect(lambda text, kind: self._told.append(text))

    def wait_for(self, what, condition, timeout_ms=DONE_MS):
        """Wait until a condition holds; ``what`` it is, in words."""
        try:
            self._qtbot.waitUntil(lambda: bool(condition()), timeout=timeout_ms)
        except self._qtbot.TimeoutError:
            pytest.fail(f"{what}: it did not come about. The plugin said: {self._told[-5:]}")

    def settle(self):
        """Wait until nothing is under way."""
        session = self.session
        self._qtbot.wait(10)  # what Qt was told to do as soon as it can
        self.wait_for(
            "the plugin is done",
            lambda: not (session.jobs.n_running or session.automatic.running or session.writing),
            READY_MS,
        )

    def see_all(self):
        """Make all of the picture visible, once the window has its shape."""
        sizes = []
        while len(sizes) < 10 or len(set(sizes[-10:])) > 1:
            self._qtbot.wait(20)
            sizes.append((self._canvas.width(), self._canvas.height()))
        self.viewer.reset_view()

    @property
    def camera(self):
        return camera_of(self.viewer)

    def point(self, y, x):
        camera = self.camera
        size = self._canvas.size()
        world = np.asarray(self.session.source.layer.data_to_world((y, x)))
        row, column = (world - np.asarray(camera.center)[-2:]) * camera.zoom
        point = QPoint(round(size.width() / 2 + column), round(size.height() / 2 + row))
        assert self._canvas.rect().contains(point), f"{(y, x)} is at {point}, and so not visible in {size}"
        return point

    def _is_at(self, y, x):
        """Return whether napari has the cursor within a pixel of the screen of a place."""
        there = np.asarray(self.session.to_yx(self.viewer.cursor.position))
        return np.abs(there - (y, x)).max() <= 1.1 / self.camera.zoom

    def _mouse(self, send, point, *what):
        """Let the window have a move, or what else the mouse does, at a point of the picture's part of it."""
        send(self._window, *what, self._canvas.mapTo(self._canvas.window(), point))

    def move_to(self, y, x):
        """Move the mouse, from a few pixels away: Qt leaves out a move to where the mouse is."""
        self.move(self.point(y, x) + QPoint(3, 3))
        self._glide_to(y, x)

    def _glide_to(self, y, x):
        self.move(self.point(y, x))
        self.wait_for(f"the cursor is at {(y, x)}", lambda: self._is_at(y, x))

    def move(self, point):
        self._qtbot.wait(MOVES_APART_MS)
        self._mouse(QTest.mouseMove, point)

    def hold(self, point, modifier=NO_MODIFIER):
        self._mouse(QTest.mousePress, point, Qt.MouseButton.LeftButton, modifier)

    def let_go(self, point, modifier=NO_MODIFIER):
        self._mouse(QTest.mouseRelease, point, Qt.MouseButton.LeftButton, modifier)

    def click(self, y, x, modifier=NO_MODIFIER):
        self.move_to(y, x)
        self.hold(self.point(y, x), modifier)
        self.let_go(self.point(y, x), modifier)
        self.settle()

    def drag(self, *places):
        """Press in the first place, and release in the last one; the picture must not move with it."""
        self.move_to(*places[0])
        self.hold(self.point(*places[0]))
        for start, end in pairwise(np.asarray(places, float)):
            for share in (0.25, 0.5, 0.75, 1.0):
                self._glide_to(*(start + (end - start) * share))
        self.let_go(self.point(*places[-1]))
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
    made.see_all()
    yield made
    dock.close()


def lonely(labels, n):
    """Return ``(number, (y, x) of its middle, window)`` of the roundest cells that no other one is near."""
    found = []
    for number, (rows, columns) in enumerate(ndimage.find_objects(labels), start=1):
        y0, x0, y1, x1 = rows.start, columns.start, rows.stop, columns.stop
        if min(y0, x0, labels.shape[0] - y1, labels.shape[1] - x1) < MARGIN:
            continue
        around = labels[y0 - ALONE_PX : y1 + ALONE_PX, x0 - ALONE_PX : x1 + ALONE_PX]
        inside = np.pad(labels[rows, columns] == number, 1)
        if np.isin(around, (0, number)).all() and np.count_nonzero(inside) > LARGE_PX:
            inner = ndimage.distance_transform_edt(inside)
            y, x = np.unravel_index(int(inner.argmax()), inner.shape)
            roundness = np.pi * inner.max() ** 2 / np.count_nonzero(inside)  # 1 for a disc
            found.append((roundness, number, (int(y) + y0 - 1, int(x) + x0 - 1), (y0, x0, y1, x1)))
    assert len(found) >= n, f"the picture has only {len(found)} large cells that lie alone"
    return [cell[1:] for cell in sorted(found, reverse=True)[:n]]


def middles_of_nuclei(n):
    """Return ``(y, x)`` inside round bright pieces of the sample."""
    pixels = load_sample("fluorescent_nuclei").pixels[..., 0].astype(float)
    smooth = ndimage.gaussian_filter(pixels, 2)
    pieces, _ = ndimage.label(smooth > 0.4 * smooth.max())
    return [place for _, place, _ in lonely(pieces, n)]


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
def test_control_says_what_a_cell_lacks_and_shift_what_is_too_much(person):
    one, other = middles_of_nuclei(2)
    person.press(Qt.Key.Key_H)
    person.click(*one)
    person.click(*other, Qt.KeyboardModifier.ControlModifier)
    active = person.session.prompting.active
    assert [(round(y), round(x)) for y, x in active.inside] == [one, other]
    person.click(*other, Qt.KeyboardModifier.ShiftModifier)
    active = person.session.prompting.active
    assert [(round(y), round(x)) for y, x in active.outside] == [other]
    assert np.unique(person.session.target.layer.data).tolist() == [0, 1]
    assert len(person.session.history) == 3


@pytest.mark.slow
def test_a_drag_moves_the_picture_and_makes_no_cell(person):
    person.press(Qt.Key.Key_H)
    place = middles_of_nuclei(1)[0]
    person.move_to(*place)
    start, centre = person.point(*place), np.asarray(person.camera.center)
    person.hold(start)
    person.move(start + QPoint(40, 0))
    person.let_go(start + QPoint(40, 0))
    person.wait_for("the picture moves to the right", lambda: person.camera.center[-1] < centre[-1] - 10)
    person.settle()
    assert len(person.session.cells) == 0


@pytest.mark.slow
def test_cells_are_merged_cut_reviewed_and_drawn_with_keys_and_the_mouse(person):
    session = person.session
    person.press(Qt.Key.Key_G)
    labels = session.target.layer.data
    before = labels.copy()
    (one, here, window), (other, there, _), (last, third, box) = lonely(before, 3)

    for place in (here, there):
        person.move_to(*place)
        person.press(Qt.Key.Key_T)
    person.wait_for("the cells are one", lambda: labels[here] == labels[there] == one)
    assert other not in labels
    person.press(Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    person.wait_for("they are two again", lambda: np.array_equal(labels, before))

    centre = np.asarray(person.camera.center)
    person.move_to(*here)
    person.press(Qt.Key.Key_I)
    person.drag((window[0] - 4, here[1]), (window[2] + 3, here[1]))
    person.wait_for("the cell is cut", lambda: len(np.unique(labels[before == one])) == 2)
    assert np.array_equal(person.camera.center, centre)

    person.press(Qt.Key.Key_N)
    person.wait_for("a cell is reviewed", lambda: session.review.current is not None)
    plane, label = session.review.current
    person.press(Qt.Key.Key_A)
    person.wait_for("the next one is", lambda: session.review.current not in (None, (plane, label)))
    assert session.cells.get(plane, label).reviewed

    person.see_all()
    person.move_to(*third)
    person.press(Qt.Key.Key_K)
    person.wait_for("the cell is deleted", lambda: last not in labels)
    person.press(Qt.Key.Key_B, Qt.KeyboardModifier.ShiftModifier)
    person.wait_for("boxes can be drawn", lambda: session.shapes.drawing)
    person.drag((box[0] - 2, box[1] - 2), (box[2] + 1, box[3] + 1))
    person.wait_for("the box has become a cell", lambda: labels[third] > before.max())
    found, was = labels == labels[third], before == last
    assert np.count_nonzero(found & was) > 0.7 * np.count_nonzero(found | was)


@pytest.mark.slow
def test_the_preview_under_the_cursor_is_what_a_click_makes(person):
    place = middles_of_nuclei(1)[0]
    person.press(Qt.Key.Key_H)
    person.session.hover.set_on(True)
    person.move_to(place[0] - 30, place[1] - 30)
    person.move_to(*place)
    person.settle()
    person.wait_for("there is a preview", lambda: person.session.hover.paused or _previewed(person) is not None)
    if person.session.hover.paused:
        pytest.skip("this machine decodes too slowly for previews")
    person.click(*place)
    person.wait_for("there is a cell", lambda: person.session.target.layer.data[place] == 1)


def _previewed(person):
    """Return whether an outline is shown that holds the cursor; one that was asked for on the way there stays."""
    hover = person.session.hover
    place = hover._place_at(person.viewer.cursor.position)
    return True if place is not None and hover._shows(place) else None
