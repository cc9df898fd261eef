"""The names of models that are made by training: where they come from, and the next free number."""

from __future__ import annotations

import re
from collections.abc import Collection

from napari_cellsam.errors import OptionError
from napari_cellsam.models.spec import check_name

__all__ = ["free_name", "refuse_taken"]

_LONGEST = 56  # of 64, so that a number fits behind it
_FALLBACK = "model"


def free_name(base: str, taken: Collection[str]) -> str:
    """Return a name that a model can have and none has: the base with the number after the highest one.

    Gaps are not filled, so that a new model is never called as one that was removed, and that others are made from.

    Parameters
    ----------
    base
        Any text, such as the name of a folder.
    taken
        Names that models have, or had.
    """
    stem = re.sub(r"[^a-z0-9]+", "-", base.lower()).strip("-")[:_LONGEST].strip("-") or _FALLBACK
    numbers = (re.fullmatch(rf"{stem}-([0-9]{{1,6}})", name) for name in taken)
    return f"{stem}-{1 + max((int(found[1]) for found in numbers if found), default=0)}"


def refuse_taken(name: str, taken: Collection[str]) -> None:
    """Refuse a name that no new model can have.

    Raises
    ------
    ModelError
        If it cannot name a model.
    OptionError
        If another model has it.
    """
    check_name(name)
    if name in taken:
        raise OptionError(f"there is a model called {name} already; choose another name for the new one")
