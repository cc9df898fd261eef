"""What the tests of the docks share: a model that sees discs, and a session on it, in a window."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from types import SimpleNamespace

import numpy as np
import pytest
from psygnal import Signal
from scipy import ndimage

from napari_cellsam.errors import RequestCancelledError
from napari_cellsam.service.messages import Prefetched, Trained
from napari_cellsam.types import Cell, Mask, Segmentation, SegmentOptions
from napari_cellsam.types.finetuning import Figures, FinetuneOptions, PictureFigures, TrainingProgress, TrainingRecord

HANG_MS = 20_000
DISCS = ((20, 20), (20, 60), (60, 30), (70, 80))
RADIUS = 7
N_STEPS = 8


def discs(shape=(100, 110), centres=DISCS, value=200):
    """Return a picture of discs."""
    y, x = np.indices(shape)
    picture = np.zeros(shape, np.uint8)
    for cy, cx in centres:
        picture[(y - cy) ** 2 + (x - cx) ** 2 <= RADIUS**2] = value
    return picture


def record_of(before=(6, 0, 6), after=(10, 0, 2), *, parent="discs"):
    """Return what came of a training; figures are cells found, invented and missed."""
    ious = {True: (0.8, 0.9), False: (0.6, 0.7)}
    figures = [
        Figures(
            (
                PictureFigures(
                    "day 3", found + missed, found, invented, missed, ious[(found, invented, missed) == after]
                ),
            )
        )
        for found, invented, missed in (before, after)
    ]
    return TrainingRecord(
        parent=parent,
        parent_weights="0" * 64,
        data=("a",),
        judged_on=("b",),
        replay="synthetic pictures",
        before=figures[0],
        after=figures[1],
        options=FinetuneOptions(),
        date="2026-01-01T00:00:00+00:00",
        steps=N_STEPS,
        seconds=1.0,
    )


def long_curve(n_steps):
    """Return a curve of so many steps, each of which was checked."""
    from napari_cellsam.widgets._learning_curve import LearningCurve

    curve = LearningCurve()
    for step in range(n_steps):
        losses = {"dice": 1.0 + 1 / (step + 1)}
        curve.add(TrainingProgress("joint", step, losses=losses, val_losses={"dice": 1}, f1=0.5))
    return curve


@pytest.fixture
def plot(qtbot):
    """Return a plot of learning curves that is shown."""
    from napari_cellsam.widgets._curve_plot import CurvePlot, load_library

    load_library()
    made = CurvePlot()
    qtbot.addWidget(made)
    made.prepare(found=True)
    made.show()
    return made


class FakeClient:
    """Answers as a service does: every bright piece of the picture is a cell; a click outside takes its row away."""

    model = "discs"
    diameter = None

    def __init__(self):
        self.asked = []
        self.failure = None
        self.release = threading.Event()
        self.release.set()
        self.segmented_by, self.segmented_with = [], []
        self.record = record_of()
        self.train_release = threading.Event()
        self.train_release.set()
        self.stopped = set()

    def hold(self):
        """Answer nothing until ``release`` is set."""
        self.release.clear()

    def _wait(self, call):
        if call is not None:
            call.on_cancel(self.release.set)
        assert self.release.wait(20)
        if call is not None and call.cancelled:
            raise RequestCancelledError("cancelled")
        if self.failure is not None:
            raise self.failure

    def prefetch(self, image, options=None, around=None, *, call=None):
        self.asked.append(("prefetch", image.image_id))
        return Prefetched(n_encoded=1, n_cached=0, diameter=self.diameter, seconds=0.0)

    def segment_prompts(self, image, prompts, options=None, *, logits=False, slot=None, call=None):
        self.asked.append(("prompts", len(prompts)))
        self._wait(call)
        pieces, _ = ndimage.label(image.pixels[..., 0] > 100)
        return [self._mask(pieces, prompt) for prompt in prompts]

    @staticmethod
    def _mask(pieces, prompt):
        if prompt.box_yxyx is not None and not len(prompt.inside_yx):
            y0, x0, y1, x1 = prompt.box_yxyx.astype(int)
            inside = np.zeros(pieces.shape, bool)
            inside[y0 : y1 + 1, x0 : x1 + 1] = pieces[y0 : y1 + 1, x0 : x1 + 1] > 0
        elif prompt.mask_logits is not None and not len(prompt.inside_yx):
            drawn = prompt.mask_logits
            y, x = (np.nonzero(drawn.values > 0)[i] + int(drawn.window[i]) for i in (0, 1))
            inside = np.zeros(pieces.shape, bool)
            inside[y, x] = True
        else:
            numbers = [pieces[round(float(y)), round(float(x))] for y, x in prompt.inside_yx]
            inside = np.isin(pieces, [n for n in numbers if n])
        for y, _ in prompt.outside_yx:
            inside[round(float(y))] = False
        if not inside.any():
            return Mask(np.zeros((0, 0), bool), (0, 0), 0.1)
        rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
        crop = inside[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        return Mask(crop, (int(rows[0]), int(columns[0])), 0.8)

    def segment(self, image, options=None, *, on_progress=None, on_cells=None, call=None):
        self.asked.append(("segment", image.shape))
        self.segmented_by.append(self.model)
        self.segmented_with.append(options)
        pieces, n = ndimage.label(image.pixels[..., 0] > 100)
        for number, (rows, columns) in enumerate(ndimage.find_objects(pieces), start=1):
            self._wait(call)
            mask = Mask(pieces[rows, columns] == number, (rows.start, columns.start), 0.7)
            if on_cells:
                on_cells((Cell(mask, 0.9),))
            if on_progress:
                on_progress(number, n)
        nothing = np.zeros(0, np.float32)
        return Segmentation(np.zeros(image.shape, np.uint32), nothing.reshape(0, 4), nothing, nothing, None, ())

    def train(self, train, val, name, options=None, *, on_progress=None, call=None):
        """Learn a little in each step; halfway wait for ``train_release``."""
        self.asked.append(("train", name, len(train), len(val), options.minutes))
        on_progress(TrainingProgress("before"))
        if call is not None:
            call.on_cancel(self.train_release.set)
        for step in range(1, N_STEPS + 1):
            on_progress(self._step(step))
            if step == N_STEPS // 2:
                assert self.train_release.wait(20)
            if call is not None and call.cancelled:
                raise RequestCancelledError("cancelled")
            if self.failure is not None:
                raise self.failure
            if name in self.stopped:
                break
        on_progress(TrainingProgress("after", step, 1.0))
        return Trained(name=name, record=self.record)

    @staticmethod
    def _step(step):
        checked = (
            {"val_losses": {"dice": 3.0 / step, "focal": 1.0 / step}, "f1": step / N_STEPS} if step % 2 == 0 else {}
        )
        stage = "joint" if step < N_STEPS - 1 else "masks"
        losses = {"dice": 2.0 / step, "focal": 1.0 / step}
        return TrainingProgress(stage, step, step / N_STEPS, losses, seconds_left=60.0 * (N_STEPS - step), **checked)

    def stop_training(self, name, *, call=None):
        self.asked.append(("stop_training", name))
        self.stopped.add(name)
        self.train_release.set()
        return True


class FakeConnection:
    """A connection that is ready."""

    changed = Signal()
    noted = Signal(str)

    def __init__(self, client, store):
        self.client, self.state, self.text = client, "off", "off"
        self._store = store
        self.info = self.error = self.seconds_to_ready = None
        self.failures, self.tokens, self.n_reconnected, self.n_looked_again = [], [], 0, 0

    @property
    def answering(self):
        return self._store.value.server, self.client.model

    def start(self):
        self.client.model = self._store.value.model or FakeClient.model
        self.state, self.text = "ready", f"{self.client.model} on cpu"
        self.changed.emit()

    def reconnect(self):
        self.n_reconnected += 1
        self.start()

    def look_again(self):
        self.n_looked_again += 1

    def sign_in(self, token):
        self.tokens.append(token)

    def failed(self, error):
        self.failures.append(error)

    def close(self):
        self.state = "off"


class FakeStore:
    """Preferences that are not kept."""

    changed = Signal(object)

    def __init__(self):
        self.value = SimpleNamespace(
            options=SegmentOptions(),
            keys={},
            rule="fill",
            hover=False,
            journal_folder="",
            server="",
            model="",
            training_minutes=6.0,
            use_better=True,
        )

    def update(self, **changes):
        self.value = SimpleNamespace(**{**vars(self.value), **changes})
        self.changed.emit(self.value)
        return self.value

    def close(self):
        pass


@pytest.fixture(autouse=True, scope="module")
def _quick_collections() -> Iterator[None]:
    """Leave what was there before out of the garbage collections, of which napari's fixture makes four a viewer."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture
def client():
    """Return the fake model."""
    made = FakeClient()
    yield made
    made.release.set()


@pytest.fixture
def viewer(make_napari_viewer_proxy):
    """Return a viewer as plugins get it."""
    return make_napari_viewer_proxy()


@pytest.fixture
def make_session(client, qtbot, tmp_path, monkeypatch):
    """Return a function that begins a session on a viewer."""
    monkeypatch.setenv("NAPARI_CELLSAM_JOURNALS_DIR", str(tmp_path / "journals"))
    from napari_cellsam.widgets._channel_memory import ChannelMemory
    from napari_cellsam.widgets._jobs import Jobs
    from napari_cellsam.widgets._session import Session
    from napari_cellsam.widgets._settings_places import JsonFile

    made = []

    def make(viewer):
        memory = ChannelMemory(JsonFile(tmp_path / "channels.json"))
        store = FakeStore()
        session = Session(viewer, Jobs(), FakeConnection(client, store), store, memory)
        session.heard = []
        session.said.connect(lambda text, kind: session.heard.append(text))
        session.settle = lambda: settle(session, qtbot)
        made.append(session)
        return session

    yield make
    client.release.set()
    client.train_release.set()
    for session in made:
        if session.connection.state != "off":
            session.close()


def settle(session, qtbot):
    """Wait until nothing is under way."""
    qtbot.waitUntil(
        lambda: (
            not (session.jobs.n_running or session.automatic.running or session.writing or session.training.running)
        ),
        timeout=HANG_MS,
    )


@pytest.fixture
def session(viewer, make_session):
    """Return a session on a picture of four discs."""
    viewer.add_image(discs(), name="discs")
    made = make_session(viewer)
    made.start()
    made.settle()
    return made


@pytest.fixture
def make_dock(qtbot):
    """Return a function that opens a session's dock in its viewer's window."""
    from napari_cellsam.widgets.segment_dock import SegmentDock

    opened = []

    def make(session):
        dock = SegmentDock(session.viewer, session)
        session.viewer.window.add_dock_widget(dock, name="Segment cells", area="right")
        session.settle()
        opened.append((session.viewer, dock))
        return dock

    yield make
    for viewer, dock in opened:
        if dock.is_open:
            viewer.window.remove_dock_widget(dock)


@pytest.fixture
def dock(session, make_dock):
    """Return the dock of the session on four discs."""
    return make_dock(session)
