"""The check that an answer is of the kind that a request has."""

from __future__ import annotations

from typing import TypeVar

from napari_cellsam.errors import MessageError

__all__ = ["expect"]

Answer = TypeVar("Answer")


def expect(kind: type[Answer], answer: object) -> Answer:
    """Return an answer, which is of the kind that a request has.

    Raises
    ------
    MessageError
        If it is of another.
    """
    if not isinstance(answer, kind):
        raise MessageError(f"the service answered with {type(answer).__name__}; expected {kind.__name__}")
    return answer
