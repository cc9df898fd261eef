"""The actions by which cells are reviewed, verified, measured and exported."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_cellsam.widgets._action import ActionSpec

if TYPE_CHECKING:
    from napari_cellsam.widgets._search_region import Region
    from napari_cellsam.widgets._session import Session

__all__ = ["REVIEW_ACTIONS"]


def _verify_region(session: Session) -> None:
    def mark(region: Region) -> None:
        session.verifying.mark(region, verified=True)

    session.region.draw(then=mark)


def _toggle_verified(session: Session) -> None:
    session.verifying.hide() if session.verifying.on else session.verifying.show()


REVIEW_ACTIONS = (
    ActionSpec(
        "start_review",
        "Start the review",
        "",
        "Put all cells in order, the doubtful ones first, and show the first one.",
        lambda session: session.review.start(),
    ),
    ActionSpec(
        "next_cell",
        "Next cell",
        "N",
        "Show the next cell that is still to be looked at; starts the review.",
        lambda session: session.review.next(),
    ),
    ActionSpec(
        "previous_cell", "Previous cell", "Shift-N", "Show the cell before.", lambda session: session.review.previous()
    ),
    ActionSpec(
        "approve_cell",
        "Cell is right",
        "A",
        "Find the cell under review right, and show the next one.",
        lambda session: session.review.accept(),
    ),
    ActionSpec(
        "reject_cell",
        "Cell is none",
        "R",
        "Delete the cell under review, and show the next one.",
        lambda session: session.review.reject(),
    ),
    ActionSpec(
        "redo_reviewed",
        "Outline it anew",
        "",
        "Let the model outline the cell under review anew.",
        lambda session: session.review.redo(),
    ),
    ActionSpec(
        "approve_rest",
        "All others are right",
        "",
        "Find all cells right that are still to be looked at.",
        lambda session: session.review.accept_rest(),
    ),
    ActionSpec("stop_review", "End the review", "", "Look at no cell any more.", lambda session: session.review.stop()),
    ActionSpec(
        "verify_image",
        "Image is complete",
        "",
        "Every cell of the plane is outlined: what is no cell is background for training.",
        lambda session: session.verifying.verify_image(),
    ),
    ActionSpec(
        "verify_view",
        "View is complete",
        "",
        "Every cell of what the window shows is outlined.",
        lambda session: session.verifying.verify_view(),
    ),
    ActionSpec(
        "verify_region",
        "Region is complete",
        "",
        "Draw around a region in which every cell is outlined.",
        _verify_region,
    ),
    ActionSpec(
        "unverify_image",
        "Nothing is complete",
        "",
        "Take back what was said of the plane; its cells stay.",
        lambda session: session.verifying.unverify_image(),
    ),
    ActionSpec(
        "toggle_verified",
        "Show what is complete",
        "",
        "Show the regions in which every cell is outlined.",
        _toggle_verified,
    ),
    ActionSpec(
        "measure_cells",
        "Measure cells",
        "",
        "Measure size, shape and intensity of every cell, into the table of the labels layer.",
        lambda session: session.measuring.run(),
    ),
    ActionSpec(
        "next_image",
        "Next image",
        "Shift-J",
        "Save the cells of the image, and open the next one of the folder.",
        lambda session: session.folder.next(),
    ),
    ActionSpec(
        "previous_image",
        "Previous image",
        "",
        "Save the cells of the image, and open the one before.",
        lambda session: session.folder.previous(),
    ),
    ActionSpec(
        "image_done",
        "Image is done",
        "",
        "Note that nothing is left to do on the image, save it, and open the next one.",
        lambda session: session.folder.done(),
    ),
    ActionSpec(
        "export_cells",
        "Export cells",
        "",
        "Write all cells into a new folder beside the image, as files for other programs.",
        lambda session: session.exporting.run(),
    ),
)
