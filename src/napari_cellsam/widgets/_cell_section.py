"""The section of the cell that is worked on, of its colours, and of the layer that cells are written into."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_cellsam.errors import CellsamError
from napari_cellsam.widgets._choice import Choice
from napari_cellsam.widgets._features import COLOURINGS, legend_of
from napari_cellsam.widgets._section import Section, form_of, line, row_of

if TYPE_CHECKING:
    from napari.layers import Labels

    from napari_cellsam.widgets._action_buttons import ActionButtons
    from napari_cellsam.widgets._features import Features
    from napari_cellsam.widgets._session import Session

__all__ = ["AT_CURSOR", "CellSection"]

AT_CURSOR = ("take_up_cell", "redo_cell", "delete_cell")
"""Actions on the cell under the cursor, for which a key is needed: a button would take the cursor away."""


class CellSection(Section):
    """Tells of the active cell, which keys do what under the cursor, and where cells go.

    Parameters
    ----------
    session
        What is worked on.
    buttons
        Of the actions.
    features
        Of the cells.
    """

    def __init__(self, session: Session, buttons: ActionButtons, features: Features) -> None:
        self._session, self._buttons, self._features = session, buttons, features
        self.about, self.keys, self.legend = line(), line(), line()
        self.keys.setToolTip("Point at a cell, and press the key.")
        self.colour = Choice("By what cells are coloured.", COLOURINGS.items())
        self.into = Choice("The labels layer that cells are written into; yours is used only if you choose it.")
        super().__init__("Cells", "The cell that is worked on, and how cells are shown and kept.")
        self.content.addWidget(self.about)
        self.content.addLayout(row_of(buttons["accept_cell"], buttons["restore_cell"]))
        self.content.addWidget(self.keys)
        self.content.addLayout(form_of(("Colour", self.colour)))
        self.content.addWidget(self.legend)
        self.content.addLayout(form_of(("Write into", self.into)))
        self.colour.activated.connect(self._on_colour)
        self.colour.currentIndexChanged.connect(self._on_colour)
        self.into.activated.connect(self._on_into)
        self.refresh()

    def refresh(self) -> None:
        """Show what is so now."""
        self.about.setText(self._about())
        rows = "".join(f"<br>{self._buttons.help(action_id)}" for action_id in AT_CURSOR)
        self.keys.setText(f"With the cursor on a cell:{rows}")
        self._buttons["accept_cell"].setEnabled(self._session.prompting.active is not None)
        self._buttons["restore_cell"].setEnabled(self._session.prompting.active is not None)
        legend = legend_of(self._features.by)
        self.legend.setText(legend)
        self.legend.setVisible(bool(legend))
        layers = self._layers()
        self.into.offer([*((layer.unique_id, layer.name) for layer in layers), (None, "New layer")])
        used = self._session.target.layer if self._session.has_target else None
        self.into.show_value(None if used is None else used.unique_id)

    def _about(self) -> str:
        active = self._session.prompting.active
        if active is None:
            return "No cell is taken up."
        record = self._session.cells.get(active.plane, active.label)
        iou = "" if record is None or record.predicted_iou is None else f", predicted IoU {record.predicted_iou:.2f}"
        n = len(active.inside)
        clicks = f"{n} click{'' if n == 1 else 's'} inside, {len(active.outside)} outside"
        return f"Cell {active.label}: {clicks}{iou}."

    def _layers(self) -> list[Labels]:
        """Return the labels layers that cells may go into: those of ours that only show something are none."""
        from napari.layers import Labels

        return [
            layer
            for layer in self._session.viewer.layers
            if isinstance(layer, Labels) and "cells_of" in layer.metadata.get("napari-cellsam", {"cells_of": None})
        ]

    def _on_colour(self) -> None:
        if self.colour.value != self._features.by:
            self._features.colour_by(self.colour.value)
            self.refresh()

    def _on_into(self) -> None:
        session, chosen = self._session, self.into.value
        layer = next((layer for layer in self._layers() if layer.unique_id == chosen), None)
        try:
            session.use_new_labels() if layer is None else session.use_labels(layer)
        except CellsamError as error:
            session.say(str(error), "warning")
        self.refresh()
