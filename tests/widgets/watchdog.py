"""The watchdog: how long the GUI thread was kept from its event loop, and by whom."""

from __future__ import annotations

import gc
import sys
import threading
import time
import traceback
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
from qtpy.QtCore import QTimer

import napari_cellsam

__all__ = ["CountingArray", "Gap", "Watchdog"]

_OURS = str(Path(napari_cellsam.__file__).parent)
_SUSPICIOUS_S = 0.025  # after which the stack is looked at
_LOOKING_S = 0.005


@dataclass(frozen=True)
class Gap:
    """Time between two turns of the event loop.

    Attributes
    ----------
    wall_s
        All of it, whoever had the processor.
    ours_s
        Processor time of the GUI thread in functions of ours, and what they called.
    apart_s
        Of that, in the functions of others that were to be counted apart.
    ours
        The functions of ours that the event loop called, and their seconds.
    stacks
        What ran, as seen from another thread.
    """

    wall_s: float
    ours_s: float
    apart_s: float
    ours: tuple[tuple[str, float], ...] = ()
    stacks: tuple[str, ...] = field(default=(), repr=False)

    @property
    def net_s(self) -> float:
        """Processor time that is ours alone."""
        return self.ours_s - self.apart_s


class Watchdog:
    """Measures gaps in the event loop between ``with`` and its end; in the GUI thread.

    Processor time, and not that of the clock, tells what is ours, so a machine that is busy with other things changes
    nothing. What the measuring itself costs is measured first, and taken away.

    Parameters
    ----------
    apart
        Names of functions of others, such as napari's ``add_labels``, whose time is counted apart; as is that in which
        Python collects garbage, which it does wherever it likes.
    profile
        Whether our own time is measured. It slows Python down, so leave it when the clock matters; then a gap is ours
        if a function of ours was seen on the stack.
    """

    def __init__(self, apart: Collection[str] = (), *, profile: bool = True) -> None:
        self.gaps: list[Gap] = []
        self._apart, self._profiles = frozenset(apart), profile
        self._spans: list[tuple[str, float, float]] = []
        self._stacks: list[str] = []
        self._thread = threading.get_ident()
        self._collecting_s, self._collecting_since_s = [0.0], 0.0
        self._over = threading.Event()
        self._beat = time.perf_counter()
        self._timer = QTimer()
        self._timer.setInterval(0)
        self._timer.timeout.connect(self._on_beat)
        self._looker = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Watchdog:
        traceback.format_stack()  # reads the sources of what is called, which the first look has no time for
        self._beat = time.perf_counter()
        self._timer.start()
        self._looker.start()
        if self._profiles:
            gc.callbacks.append(self._on_collecting)
            sys.setprofile(_profiler(self._spans, self._apart, _cost_of_an_event(), self._collecting_s))
        return self

    def __exit__(self, *_: object) -> None:
        if self._profiles:
            sys.setprofile(None)
            gc.callbacks.remove(self._on_collecting)
        self._on_beat()
        self._timer.stop()
        self._timer.deleteLater()
        self._over.set()
        self._looker.join()

    @property
    def longest(self) -> Gap:
        """The gap in which most processor time was ours alone."""
        return max(self.gaps, key=lambda gap: gap.net_s)

    @property
    def longest_wall_s(self) -> float:
        """The longest gap by the clock, whoever made it."""
        return max(gap.wall_s for gap in self.gaps)

    @property
    def longest_ours_wall_s(self) -> float:
        """The longest time by the clock in a gap, as far as functions of ours were seen in it; 0 if none was."""
        return max(map(_seen_s, self.gaps), default=0.0)

    def longest_ours_stack(self) -> str:
        """Return what of ours was seen in that gap, for people."""
        gap = max(self.gaps, key=_seen_s)
        ours = dict.fromkeys(stack for stack in gap.stacks if _OURS in stack)
        return f"{1000 * _seen_s(gap):.0f} of {1000 * gap.wall_s:.0f} ms\n" + "\n".join(ours)

    def report(self, least_s: float = 0.02) -> str:
        """Return the gaps in which so much time was ours, longest first, for people."""
        long = sorted((gap for gap in self.gaps if gap.ours_s >= least_s), key=lambda gap: -gap.ours_s)
        return "\n".join(
            f"{1000 * gap.net_s:.0f} ms ours, {1000 * gap.apart_s:.0f} apart, {1000 * gap.wall_s:.0f} by the clock: "
            + ", ".join(f"{name} {1000 * seconds:.0f}" for name, seconds in gap.ours)
            for gap in long
        )

    def _on_beat(self) -> None:
        now = time.perf_counter()
        spans, stacks = self._spans[:], tuple(self._stacks)
        self._spans.clear()
        self._stacks.clear()
        ours, apart = sum(span[1] for span in spans), sum(span[2] for span in spans)
        named = tuple((name, seconds) for name, seconds, _ in spans)
        self.gaps.append(Gap(now - self._beat, ours, apart, named, stacks))
        self._beat = now

    def _on_collecting(self, phase: str, _: Any) -> None:
        if threading.get_ident() == self._thread:
            if phase == "start":
                self._collecting_since_s = time.thread_time()
            else:
                self._collecting_s[0] += time.thread_time() - self._collecting_since_s

    def _look(self) -> None:
        """Note what the GUI thread does while it does not come back, in a thread of its own."""
        while not self._over.wait(_LOOKING_S):
            if time.perf_counter() - self._beat > _SUSPICIOUS_S:
                frame = sys._current_frames().get(self._thread)
                self._stacks.append("".join(traceback.format_stack(frame)) if frame else "")


def _seen_s(gap: Gap) -> float:
    """Return the part of a gap in which functions of ours were seen."""
    return gap.wall_s * sum(_OURS in stack for stack in gap.stacks) / max(len(gap.stacks), 1)


def _profiler(
    spans: list[tuple[str, float, float]], apart: Collection[str], cost_s: float, collecting_s: Sequence[float]
) -> Any:
    """Return a profile function that notes each call of ours that nothing of ours encloses."""
    outer: FrameType | None = None
    inner: FrameType | None = None
    began_s = inner_began_s = apart_s = collected_s = 0.0
    n_events = n_inner_events = 0
    clock = time.thread_time

    def profile(frame: FrameType, event: str, _: Any) -> None:
        nonlocal outer, inner, began_s, inner_began_s, apart_s, collected_s, n_events, n_inner_events
        if outer is None:
            if event == "call" and frame.f_code.co_filename.startswith(_OURS):
                outer, n_events, apart_s, began_s, collected_s = frame, 0, 0.0, clock(), collecting_s[0]
            return
        n_events += 1
        if event == "return":
            if frame is outer:
                seconds = clock() - began_s - n_events * cost_s
                apart_s = min(apart_s + collecting_s[0] - collected_s, seconds)
                spans.append((f"{Path(frame.f_code.co_filename).stem}.{frame.f_code.co_name}", seconds, apart_s))
                outer = None
            elif frame is inner:
                apart_s += clock() - inner_began_s - (n_events - n_inner_events) * cost_s
                inner = None
        elif event == "call" and inner is None and frame.f_code.co_name in apart:
            inner, n_inner_events, inner_began_s = frame, n_events, clock()

    return profile


def _cost_of_an_event() -> float:
    """Return the processor time that profiling adds to each call and return."""

    def run() -> float:
        began_s = time.thread_time()
        for _ in range(20_000):
            abs(0)  # calls of Python's own functions cost a little more, so too little is taken away, never too much
        return time.thread_time() - began_s

    bare_s = min(run() for _ in range(3))
    spans: list[tuple[str, float, float]] = []
    profile = _profiler(spans, (), 0.0, (0.0,))
    enclosing = compile("enter()", f"{_OURS}/watchdog", "exec")
    profiled: list[float] = []

    def enter() -> None:
        profiled.append(run())

    for _ in range(3):
        sys.setprofile(profile)
        exec(enclosing, {"enter": enter})  # as if a function of ours called it
        sys.setprofile(None)
    return max(min(profiled) - bare_s, 0.0) / 40_000


class CountingArray:
    """An array that counts what is read of it and written to it, by threads.

    Parameters
    ----------
    pixels
        The array.
    """

    def __init__(self, pixels: np.ndarray) -> None:
        self._pixels = pixels
        self.shape, self.dtype, self.ndim, self.size = pixels.shape, pixels.dtype, pixels.ndim, pixels.size
        self._gui_thread = threading.get_ident()
        self.n_read_by_gui = self.n_read_by_others = self.n_written = 0

    def __getitem__(self, index: Any) -> np.ndarray:
        part = np.asarray(self._pixels[index])
        self._count(part)
        return part.copy()

    def __setitem__(self, index: Any, value: Any) -> None:
        self._pixels[index] = value
        self.n_written += int(np.asarray(self._pixels[index]).nbytes)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        self._count(self._pixels)
        return np.array(self._pixels, dtype, copy=True if copy is None else copy)

    def __len__(self) -> int:
        return len(self._pixels)

    def _count(self, part: np.ndarray) -> None:
        if threading.get_ident() == self._gui_thread:
            self.n_read_by_gui += part.nbytes
        else:
            self.n_read_by_others += part.nbytes

    def forget(self) -> None:
        """Count from 0 again."""
        self.n_read_by_gui = self.n_read_by_others = self.n_written = 0
