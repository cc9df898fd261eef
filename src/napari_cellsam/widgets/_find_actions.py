"""The actions by which cells are found: clicks, boxes, scribbles, and the model by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_cellsam.widgets._action import ActionSpec

if TYPE_CHECKING:
    from napari_cellsam.widgets._session import Session

__all__ = ["FIND_ACTIONS"]


def _toggle_boxes(session: Session) -> None:
    session.boxes.hide() if session.boxes.on else session.boxes.show()


def _toggle_model_view(session: Session) -> None:
    session.model_view.hide() if session.model_view.on else session.model_view.show()


FIND_ACTIONS = (
    ActionSpec(
        "toggle_click_mode",
        "Click mode",
        "H",
        "While it is on, a click on the background outlines the cell there.",
        lambda session: session.set_clicking(not session.clicking),
    ),
    ActionSpec(
        "toggle_hover",
        "Preview under the cursor",
        "Q",
        "In click mode, outline the cell under the moving cursor before it is clicked.",
        lambda session: session.hover.toggle(),
    ),
    ActionSpec(
        "segment_image",
        "Segment the image",
        "G",
        "Find every cell of the plane that is shown. Cells that are there stay.",
        lambda session: session.automatic.run(rule=session.rule),
    ),
    ActionSpec(
        "segment_view",
        "Segment the view",
        "W",
        "Find every cell of what the window shows.",
        lambda session: session.automatic.run(region=session.view(), rule=session.rule),
    ),
    ActionSpec(
        "segment_region",
        "Segment a region",
        "Shift-R",
        "Draw around some cells in one stroke; those inside are found.",
        lambda session: session.region.draw(),
    ),
    ActionSpec(
        "segment_shape",
        "Segment the selected shape",
        "",
        "Find the cells inside the shape that is selected in your own shapes layer.",
        lambda session: session.region.use_active_shape(),
    ),
    ActionSpec(
        "segment_stack",
        "Segment all planes",
        "",
        "Find every cell of every plane of the stack, each plane by itself.",
        lambda session: session.automatic.run(planes=session.planes(), rule=session.rule),
    ),
    ActionSpec(
        "toggle_boxes",
        "Detector's boxes",
        "",
        "Show the boxes that the detector found; a threshold and edits of the boxes change the cells.",
        _toggle_boxes,
    ),
    ActionSpec(
        "draw_boxes",
        "Draw boxes",
        "Shift-B",
        "Each box that is drawn around a cell becomes the cell.",
        lambda session: session.shapes.draw_boxes(),
    ),
    ActionSpec(
        "draw_polygons",
        "Draw polygons",
        "",
        "Each polygon that is drawn around a cell becomes the cell.",
        lambda session: session.shapes.draw_polygons(),
    ),
    ActionSpec(
        "scribble",
        "Scribble",
        "",
        "A line that is drawn inside a cell becomes the cell.",
        lambda session: session.shapes.scribble(),
    ),
    ActionSpec(
        "use_prompts",
        "Use the layer's points or shapes",
        "",
        "Each point or shape of your own active layer becomes a cell; the layer stays as it is.",
        lambda session: session.shapes.use_active_layer(),
    ),
    ActionSpec(
        "toggle_model_view",
        "What the model sees",
        "",
        "Show the image as it is prepared for the model.",
        _toggle_model_view,
    ),
    ActionSpec(
        "use_new_labels",
        "New labels layer",
        "",
        "Write into a new, empty labels layer from now on.",
        lambda session: session.use_new_labels(),
    ),
    ActionSpec(
        "continue_work",
        "Continue earlier work",
        "",
        "Bring back the cells of earlier work on this image, from its journal.",
        lambda session: session.journaling.accept(),
    ),
    ActionSpec(
        "cancel", "Cancel", "", "Stop what runs; the cells that were found stay.", lambda session: session.cancel()
    ),
)
