"""The record of a cell: where it came from, and how sure the model was."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

from napari_cellsam.editing.edits import Plane
from napari_cellsam.errors import OptionError
from napari_cellsam.types import Prompt

__all__ = ["CellRecord", "Origin", "RecordChange"]

Origin = Literal["automatic", "prompted", "edited", "manual"]
_ORIGINS = ("automatic", "prompted", "edited", "manual")


@dataclass(frozen=True, eq=False)
class CellRecord:
    """What is known of a cell.

    Attributes
    ----------
    label
        Its number in the labels layer.
    plane
        Where in the stack.
    origin
        ``"automatic"``: found by the model; ``"prompted"``: the answer to clicks, a box or a scribble; ``"edited"``:
        one of these, changed by hand; ``"manual"``: painted, or of another tool.
    detector_score, predicted_iou
        0 to 1, or None where no model spoke.
    prompts
        What the user pointed at, newest last.
    reviewed
        Whether a person has looked at it and found it right.
    """

    label: int
    plane: Plane = ()
    origin: Origin = "manual"
    detector_score: float | None = None
    predicted_iou: float | None = None
    prompts: tuple[Prompt, ...] = field(default=())
    reviewed: bool = False

    @property
    def is_replaceable(self) -> bool:
        """Whether the model found the cell by itself, and no person changed it or found it right."""
        return self.origin == "automatic" and not self.reviewed

    @property
    def edited(self) -> CellRecord:
        """The record after a person has changed the outline."""
        return replace(self, origin="edited") if self.origin in ("automatic", "prompted") else self

    def __post_init__(self) -> None:
        if self.label < 1:
            raise OptionError(f"got a record of cell {self.label}; cells are 1, 2, 3 and so on")
        if self.origin not in _ORIGINS:
            raise OptionError(f"origin is {self.origin!r}; expected one of {', '.join(_ORIGINS)}")


@dataclass(frozen=True, eq=False)
class RecordChange:
    """A record before and after; None where there was or is no cell."""

    before: CellRecord | None
    after: CellRecord | None

    def __post_init__(self) -> None:
        if self.before is None and self.after is None:
            raise OptionError("a change of a record needs the record before, or the one after")

    @property
    def key(self) -> tuple[Plane, int]:
        """Plane and number of the cell."""
        record = self.after or self.before
        assert record is not None  # noqa: S101 - refused when made
        return record.plane, record.label

    def inverse(self) -> RecordChange:
        """Return the change that takes this one back."""
        return RecordChange(self.after, self.before)
