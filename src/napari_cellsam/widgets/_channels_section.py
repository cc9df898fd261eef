"""The section of the channels: what the model gets as nuclei and as whole cells, and how it sees them."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from typing import TYPE_CHECKING

from qtpy.QtCore import QSignalBlocker
from qtpy.QtWidgets import QCheckBox

from napari_cellsam.errors import ChannelError, ImageShapeError
from napari_cellsam.widgets._channel_options import (
    axes_to_choose,
    channels_of_colours,
    channels_to_choose,
)
from napari_cellsam.widgets._channels import ChannelMap, guess_channels
from napari_cellsam.widgets._choice import Choice
from napari_cellsam.widgets._section import Section, form_of, line

if TYPE_CHECKING:
    from napari_cellsam.widgets._session import Session
    from napari_cellsam.widgets._source import ImageSource

__all__ = ["ChannelsSection"]

_NONE = (None, "none")


class ChannelsSection(Section):
    """Lets the user choose the pictures that the model gets. A choice that cannot be is told, and changes nothing.

    Parameters
    ----------
    session
        What is looked at.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self.nuclear = Choice("The picture in which the nuclei are bright.")
        self.cell = Choice("The picture that shows whole cells: cytoplasm, membranes, or phase contrast.")
        self.axis = Choice("The axis of the layer on which its channels are, where the layer itself does not say so.")
        self.colour = QCheckBox("Colour picture")
        self.colour.setToolTip("Take the picture as the eye sees it, such as histology; not as three channels.")
        self.preview = QCheckBox("Show what the model sees")
        self.preview.setToolTip("Add a layer with the picture as it is prepared for the model; it follows the plane.")
        self.problem = line()
        super().__init__(
            "Channels", "What the model gets to see. It is remembered for pictures like it.", is_open=False
        )
        self.content.addWidget(self.colour)
        self._form = form_of(("Nuclei", self.nuclear), ("Whole cells", self.cell), ("Channel axis", self.axis))
        self.content.addLayout(self._form)
        self.content.addWidget(self.problem)
        self.content.addWidget(self.preview)
        self.nuclear.activated.connect(self._on_channel)
        self.cell.activated.connect(self._on_channel)
        self.axis.activated.connect(self._on_axis)
        self.colour.clicked.connect(self._on_colour)
        self.preview.clicked.connect(self._on_preview)
        self.problem.hide()
        self.refresh()

    def refresh(self) -> None:
        """Show the channels as they are now."""
        if not self.is_open:
            return
        session, source = self._session, self._session.source
        for widget in (self.nuclear, self.cell, self.axis, self.colour, self.preview):
            widget.setEnabled(source is not None)
        with QSignalBlocker(self.preview):
            self.preview.setChecked(session.model_view.on)
        if source is not None:
            self._show(source)

    def _show(self, source: ImageSource) -> None:
        channels = source.channels
        options = channels_to_choose(self._session.viewer.layers, source.layer, channels.axis)
        for choice, ref in ((self.nuclear, channels.nuclear), (self.cell, channels.cell)):
            choice.offer([_NONE, *options])
            choice.show_value(ref)
            choice.setEnabled(not channels.rgb)
        axes = axes_to_choose(source.layer)
        self.axis.offer(axes)
        self.axis.show_value(channels.axis)
        for widget in (self.axis, self._form.labelForField(self.axis)):
            widget.setVisible(len(axes) > 1)
        self.colour.setVisible(source.axes.rgb)
        with QSignalBlocker(self.colour):
            self.colour.setChecked(channels.rgb)

    def _on_channel(self) -> None:
        source = self._session.source
        if source is not None:
            axis = source.channels.axis
            self._choose(lambda: ChannelMap(self.nuclear.value, self.cell.value, axis=axis))

    def _on_axis(self) -> None:
        source = self._session.source
        if source is not None:
            layers, axis = self._session.viewer.layers, self.axis.value
            self._choose(lambda: guess_channels(layers, source.layer, axis))

    def _on_colour(self, whole: bool) -> None:
        source = self._session.source
        if source is not None:
            self._choose(lambda: ChannelMap(rgb=True) if whole else channels_of_colours(source.layer))

    def _choose(self, make: Callable[[], ChannelMap]) -> None:
        """Let the model have other channels."""
        try:
            self._session.set_channels(make())
        except (ChannelError, ImageShapeError) as error:
            self._tell(str(error))
        else:
            self._tell("")
        self.refresh()

    def _tell(self, text: str) -> None:
        self.problem.setText(escape(f"{text[:1].upper()}{text[1:]}", quote=False))
        self.problem.setVisible(bool(text))

    def _on_preview(self, on: bool) -> None:
        view = self._session.model_view
        view.show() if on else view.hide()
