"""The layers of prompts: shapes drawn in ours become cells, and so do the user's own by choice."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Literal

from psygnal import Signal

from napari_cellsam.widgets._drawing_layer import DrawingLayer, Shape
from napari_cellsam.widgets._layers import same_layer
from napari_cellsam.widgets._looking import NoImageError
from napari_cellsam.widgets._own_prompts import prompts_of, shape_prompt
from napari_cellsam.widgets._shape_prompts import DrawnPrompt

if TYPE_CHECKING:
    from napari_cellsam.editing.edits import Plane
    from napari_cellsam.widgets._prompt_batch import PromptBatch
    from napari_cellsam.widgets._session import Session
    from napari_cellsam.widgets._source import ImageSource

__all__ = ["Drawing", "PromptLayers"]

Drawing = Literal["boxes", "polygons", "scribble", "scribble outside"]
"""What is drawn."""

_MODES: dict[Drawing, str] = {
    "boxes": "add_rectangle",
    "polygons": "add_polygon",
    "scribble": "add_path",
    "scribble outside": "add_path",
}
_ENCLOSING = ("rectangle", "ellipse", "polygon")
_HELP: dict[Drawing, str] = {
    "boxes": "Draw a box around each cell.",
    "polygons": "Click around a cell, corner by corner; a double click ends. The cell stays in the polygon.",
    "scribble": "Draw a line through a cell; one that begins in the active cell refines it, with Shift it takes away.",
    "scribble outside": "Draw a line through what is not part of the active cell.",
}


class PromptLayers:
    """Lets the user draw prompts, each of which becomes a cell and vanishes.

    A rectangle or an ellipse is a box; a polygon holds its cell (see `DrawnPrompt.outcome`); a line is a scribble:
    places inside the cell along it, which is the active one if the line begins in there. Shapes that are there at once
    go together, as one step; those whose question failed stay, and go with the next one, on the plane where they were
    drawn.

    ``changed`` is emitted when drawing begins or ends.

    Parameters
    ----------
    session
        What is looked at.
    """

    changed = Signal()

    def __init__(self, session: Session) -> None:
        self._session = session
        self._layer = DrawingLayer(session.viewer)
        self._drawing: Drawing | None = None
        self._under_way: list[tuple[PromptBatch, frozenset[int]]] = []
        self._planes: dict[int, Plane] = {}  # where in the stack shapes were drawn, by number
        self._layer.finished.connect(self._take)
        self._layer.gone.connect(self._on_gone)
        self._layer.left.connect(self._on_left)
        session.changed.connect(self._follow)

    @property
    def drawing(self) -> Drawing | None:
        """What is drawn now; None while nothing is."""
        return self._drawing

    def draw_boxes(self) -> None:
        """Let the user draw boxes.

        Raises
        ------
        NoImageError, ImageShapeError
            If there is no image, or the window shows no plane of it.
        """
        self._draw("boxes")

    def draw_polygons(self) -> None:
        """Let the user draw polygons; raises as `draw_boxes` does."""
        self._draw("polygons")

    def scribble(self, *, outside: bool = False) -> None:
        """Let the user draw lines through cells, or through what is not part of one; raises as `draw_boxes` does."""
        self._draw("scribble outside" if outside else "scribble")

    def stop(self) -> None:
        """Remove our layer, and make the image the active one if ours was."""
        was_drawing, self._drawing = self._drawing, None
        was_active, source = self._layer.active, self._session.source
        self._layer.remove()
        if was_active and source is not None:
            self._activate(source)
        if was_drawing:
            self.changed.emit()

    def use_active_layer(self) -> None:
        """Make a cell of each point or shape of the active layer that lies on the plane that is shown, in one step.

        Raises
        ------
        NoImageError, ImageShapeError
            If there is no image, or the active layer has no points or shapes on what is shown.
        """
        session, selection = self._session, self._session.viewer.layers.selection
        layer = selection.active
        drawn, noun, n_taken = prompts_of(session, layer)
        session.target  # noqa: B018 - is added now, as that takes the place of the active layer
        selection.active = layer
        if n_taken:
            session.say(f"{n_taken} of {n_taken + len(drawn)} {noun} lie on cells, and are left out.")
        session.prompting.prompts(drawn, _count(len(drawn), noun))

    def close(self) -> None:
        """Listen no more, and remove our layer."""
        self._session.changed.disconnect(self._follow)
        self._drawing = None
        self._layer.close()

    # --- drawing

    def _draw(self, drawing: Drawing) -> None:
        source = self._session.source
        if source is None:
            raise NoImageError("There is no image to work on: open one, and click its layer.")
        source.plane  # noqa: B018 - refuses what cannot be drawn on
        self._session.target  # noqa: B018 - is added now, as that takes the place of the active layer
        self._drawing = None  # what is heard while the layer is made ready is no news
        self._layer.open(source, _MODES[drawing])
        self._drawing = drawing
        self._session.say(_HELP[drawing])
        self.changed.emit()

    def _take(self) -> None:
        """Ask for the cells of the shapes that are finished."""
        source = self._session.source
        if source is None or not self._layer.belongs_to(source):
            return
        self._under_way = [(batch, numbers) for batch, numbers in self._under_way if batch.running]
        asked = frozenset[int]().union(*(numbers for _, numbers in self._under_way))
        shapes = [shape for shape in self._layer.shapes() if shape.number not in asked]
        height, width = source.shape[-2:]
        drawn: dict[int, DrawnPrompt] = {}
        for shape in shapes:
            prompt = shape_prompt(shape.kind, shape.corners_yx, (height, width))
            if prompt is None:
                self._session.say("The shape is too small, or beyond the image.")
            elif not self._scribbled(shape, prompt, alone=len(shapes) == 1):
                drawn[shape.number] = prompt
        self._layer.drop({shape.number for shape in shapes} - drawn.keys())
        kinds = {shape.number: shape.kind for shape in shapes}
        self._planes = {number: self._planes.get(number, self._session.plane) for number in (*drawn, *asked)}
        for plane in dict.fromkeys(self._planes[number] for number in drawn):
            numbers = frozenset(number for number in drawn if self._planes[number] == plane)
            title = _count(len(numbers), _noun({kinds[number] for number in numbers}))
            prompts, ended = [drawn[number] for number in sorted(numbers)], partial(self._ended, numbers)
            batch = self._session.prompting.prompts(prompts, title, ended, plane=plane)
            self._under_way.append((batch, numbers))

    def _ended(self, numbers: frozenset[int], well: bool) -> None:
        if well:
            self._layer.drop(numbers)

    def _scribbled(self, shape: Shape, drawn: DrawnPrompt, *, alone: bool) -> bool:
        """Take a line as clicks in a row: in the active cell, or in a new one, if it is the only one of its kind."""
        if shape.kind in _ENCLOSING:
            return False
        session = self._session
        places = tuple((float(y), float(x)) for y, x in drawn.prompt.inside_yx)
        outside = shape.outside or self._drawing == "scribble outside"
        on_cell = session.target.at(session.plane, round(places[0][0]), round(places[0][1]))
        if not (outside or on_cell or alone):
            return False
        session.prompting.scribble(places, outside=outside)
        return True

    # --- following

    def _follow(self) -> None:
        """Remove our layer when another image is worked on."""
        source = self._session.source
        if self._layer.there and (source is None or not self._layer.belongs_to(source)):
            self.stop()

    def _on_left(self) -> None:
        """Take note that the user draws no more."""
        if self._drawing is not None:
            self._drawing = None
            self.changed.emit()

    def _on_gone(self) -> None:
        """Take note that the user removed our layer."""
        self._on_left()
        if self._session.source is not None and self._session.viewer.layers.selection.active is None:
            self._activate(self._session.source)

    def _activate(self, source: ImageSource) -> None:
        layers = self._session.viewer.layers
        image = next((layer for layer in layers if same_layer(layer, source.layer)), None)
        if image is not None:
            layers.selection.active = image


def _noun(kinds: set[str]) -> str:
    if kinds <= {"rectangle"}:
        return "boxes"
    if kinds <= {"polygon"}:
        return "polygons"
    return "scribbles" if kinds <= {"path"} else "shapes"


def _count(n: int, noun: str) -> str:
    one = {"boxes": "box"}.get(noun, noun[:-1])
    return f"{n} {one if n == 1 else noun}"
