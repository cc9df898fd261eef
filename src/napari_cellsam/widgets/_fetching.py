"""The fetching of a sample picture from napari's menu, while the window goes on."""

from __future__ import annotations

from concurrent.futures import Future
from functools import partial
from threading import Thread

from qtpy.QtCore import QEventLoop, Qt, QTimer
from qtpy.QtWidgets import QApplication, QMainWindow, QProgressDialog, QWidget

from napari_cellsam.data.fetched_samples import FETCHED
from napari_cellsam.data.sample_layers import LayerData, open_fetched
from napari_cellsam.errors import ImageReadError

__all__ = ["open_cells3d", "open_here", "open_human_mitosis"]

_LOOK_MS = 20
_PATIENCE_MS = 400  # before a dialog is shown
_NEVER_MS = 2**31 - 1


def open_here(name: str) -> list[LayerData]:
    """Return the layers of a sample that is fetched; the window is drawn meanwhile, and the fetching can be cancelled.

    Parameters
    ----------
    name
        One of `napari_cellsam.data.fetched_samples.FETCHED`.

    Raises
    ------
    ImageReadError
        If it cannot be fetched, or that was cancelled; napari shows what it says.
    """
    if QApplication.instance() is None:
        return open_fetched(name)
    fetched: Future[list[LayerData]] = Future()
    Thread(target=_fetch, args=(name, fetched), name=f"napari-cellsam {name}", daemon=True).start()
    _wait(fetched, f"Fetching the sample {name!r} ({FETCHED[name].n_bytes / 1e6:.1f} MB) …")
    if not fetched.done():
        raise ImageReadError(f"The fetching of the sample {name!r} was cancelled; open it again to have it.")
    try:
        return fetched.result()
    except ImageReadError as error:
        raise ImageReadError(str(error)) from None  # napari writes all that is behind it to the terminal


def _fetch(name: str, fetched: Future[list[LayerData]]) -> None:
    try:
        fetched.set_result(open_fetched(name))
    except Exception as error:  # noqa: BLE001 - raised again in the thread that waits
        fetched.set_exception(error)


def _wait(fetched: Future[list[LayerData]], text: str) -> None:
    """Draw the window until something is fetched or the user cancels."""
    dialog = QProgressDialog(text, "Cancel", 0, 0, _window())
    dialog.setWindowModality(Qt.WindowModality.WindowModal)
    dialog.setWindowTitle("CellSAM")
    dialog.setMinimumDuration(_NEVER_MS)  # it looks at this when its bar moves, which it does not
    loop, timer, patience = QEventLoop(), QTimer(interval=_LOOK_MS), QTimer(interval=_PATIENCE_MS, singleShot=True)
    patience.timeout.connect(dialog.show)
    timer.timeout.connect(lambda: loop.quit() if fetched.done() else None)
    dialog.canceled.connect(loop.quit)
    timer.start()
    patience.start()
    loop.exec()
    timer.stop()
    patience.stop()
    dialog.close()
    dialog.deleteLater()


def _window() -> QWidget | None:
    """Return the window that the menu belongs to, whose colours a dialog takes."""
    shown = (w for w in QApplication.topLevelWidgets() if isinstance(w, QMainWindow) and w.isVisible())
    return QApplication.activeWindow() or next(shown, None)


# one function without arguments per sample, as the manifest needs
open_human_mitosis = partial(open_here, "human_mitosis")
open_cells3d = partial(open_here, "cells3d")
