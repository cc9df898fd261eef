"""The plot of a learning curve: losses above, F1 of the held-out cells below."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_cellsam.widgets._section import line

if TYPE_CHECKING:
    from napari_cellsam.widgets._learning_curve import LearningCurve

__all__ = ["LIBRARY", "CurvePlot", "load_library"]

LIBRARY = "pyqtgraph"
_INTERVAL_MS = 500
_HEIGHTS = (120, 80)
_COLOURS = {"loss": "#56b4e9", "val_loss": "#e69f00", "f1": "#009e73"}
_WORDS = {"loss": "loss", "val_loss": "loss, held out", "f1": "F1, held out"}
_MARK = 6


def load_library() -> bool:
    """Import what draws, which takes a third of a second, so that a worker does it; return whether it is there."""
    try:
        importlib.import_module(LIBRARY)
    except ImportError:
        return False
    return True


class CurvePlot(QWidget):
    """Draws a learning curve, twice a second at most, from when the library is there.

    Attributes
    ----------
    n_drawn
        How often it was drawn.
    legend
        Which line is which, or what to install.
    """

    def __init__(self) -> None:
        super().__init__()
        self.n_drawn = 0
        self._curve: LearningCurve | None = None
        self._wanted = False
        self._lines: dict[str, Any] = {}
        self._plots: list[Any] = []
        self._view: Any = None
        self._colours = ("", "")
        self._drawing = QTimer(self, interval=_INTERVAL_MS, singleShot=True)
        self._drawing.timeout.connect(self._draw)
        self.legend = line()
        self._layout = QVBoxLayout(self)
        self._layout.setContentsMargins(0, 0, 0, 0)
        self._layout.setSpacing(2)
        self._layout.addWidget(self.legend)
        self.legend.setText(
            " &nbsp; ".join(
                f'<span style="color: {_COLOURS[n]}">●</span>&nbsp;{w.replace(" ", "&nbsp;")}'
                for n, w in _WORDS.items()
            )
        )

    @property
    def is_ready(self) -> bool:
        """Whether the library is there, and there is something to draw on."""
        return self._view is not None

    def prepare(self, *, found: bool) -> None:
        """Take note of whether the library was found; where it was not, say what to install."""
        if self.is_ready:
            return
        if not found:
            self.legend.setText(f"Learning curves are shown here where {LIBRARY} is installed.")
            return
        self._build()
        self._draw()

    def show_curve(self, curve: LearningCurve, colour: str) -> None:
        """Show a curve as it is now, at once if nothing was drawn lately.

        Parameters
        ----------
        curve
            What is drawn.
        colour
            Of axes and texts.
        """
        self._curve, self._colours, self._wanted = curve, (colour, self._colours[1]), True
        if not self._drawing.isActive():
            self._draw()

    def _build(self) -> None:
        """Make two plots, one above the other, with the steps below both."""
        pg = importlib.import_module(LIBRARY)
        self._view = pg.GraphicsLayoutWidget()
        self._view.setBackground(None)
        self._view.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self._view.viewport().setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self._view.setFixedHeight(sum(_HEIGHTS))
        self._view.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)  # the wheel scrolls the dock
        self.setToolTip("Losses and F1 over the steps. The model does not learn from what is held out.")
        self._plots = [self._view.addPlot(row=row, col=0) for row in range(2)]
        for plot in self._plots:
            plot.setMouseEnabled(False, False)
            plot.setMenuEnabled(False)
            plot.hideButtons()
            plot.getAxis("left").setWidth(42)
        losses, found = self._plots
        losses.getAxis("bottom").setStyle(showValues=False)
        found.setXLink(losses)
        found.setYRange(0, 1)
        found.setLabel("bottom", "step")
        losses.setLabel("left", "loss")
        found.setLabel("left", "F1")
        self._view.ci.layout.setRowStretchFactor(0, _HEIGHTS[0])
        self._view.ci.layout.setRowStretchFactor(1, _HEIGHTS[1])
        for name, plot in (("loss", losses), ("val_loss", losses), ("f1", found)):
            colour, is_dense = _COLOURS[name], name == "loss"
            marks = {} if is_dense else {"symbol": "o", "symbolSize": _MARK, "symbolPen": None, "symbolBrush": colour}
            pen = pg.mkPen(colour, width=1 if is_dense else 2)  # wide lines of many points are slow
            self._lines[name] = plot.plot(pen=pen, **marks)
        self._layout.insertWidget(0, self._view)

    def _draw(self) -> None:
        """Draw what is new."""
        if self._curve is None or not (self._wanted and self.is_ready):
            return
        self._wanted = False
        self._paint_axes()
        for name, drawn in self._lines.items():
            points = getattr(self._curve, name)
            drawn.setData([step for step, _ in points], [value for _, value in points])
        self.n_drawn += 1
        self._drawing.start()

    def _paint_axes(self) -> None:
        """Give axes and texts their colour."""
        colour, painted = self._colours
        if colour == painted:
            return
        for plot in self._plots:
            for side in ("left", "bottom"):
                axis = plot.getAxis(side)
                axis.setPen(colour)
                axis.setTextPen(colour)
        self._colours = (colour, colour)
