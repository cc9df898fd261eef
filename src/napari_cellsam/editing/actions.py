"""The action: one step that a person took."""

from __future__ import annotations

from dataclasses import dataclass

from napari_cellsam.editing.edits import CropEdit
from napari_cellsam.editing.records import RecordChange
from napari_cellsam.editing.verified import Mark

__all__ = ["Action"]

_OVERHEAD_BYTES = 512  # of an action beside its pixels


@dataclass(frozen=True, eq=False)
class Action:
    """Something the user did.

    Attributes
    ----------
    title
        What the menu says, such as ``"delete cell 12"``.
    edits
        Pixels that changed, in order.
    changes
        Records that changed, in order.
    marks
        Pixels of the verified regions that changed, in order.
    group
        Actions of one group are one step however many there are: an automatic run grows while its cells come in.
    """

    title: str
    edits: tuple[CropEdit, ...] = ()
    changes: tuple[RecordChange, ...] = ()
    group: object | None = None
    marks: tuple[Mark, ...] = ()

    @property
    def n_bytes(self) -> int:
        """Memory that the action holds."""
        n_parts = 1 + len(self.edits) + len(self.marks) + len(self.changes)
        n_bytes = sum(edit.n_bytes for edit in self.edits) + sum(mark.n_bytes for mark in self.marks)
        return _OVERHEAD_BYTES * n_parts + n_bytes

    def inverse(self) -> Action:
        """Return the action that takes this one back."""
        return Action(
            self.title,
            tuple(edit.inverse() for edit in reversed(self.edits)),
            tuple(change.inverse() for change in reversed(self.changes)),
            self.group,
            tuple(edit.inverse() for edit in reversed(self.marks)),
        )

    def then(self, other: Action) -> Action:
        """Return this action and another one as one."""
        edits, changes, marks = self.edits + other.edits, self.changes + other.changes, self.marks + other.marks
        return Action(self.title, edits, changes, self.group, marks)
