"""Errors as an answer carries them, and back."""

from __future__ import annotations

from napari_cellsam import errors
from napari_cellsam.errors import CellsamError, ServiceError, ServiceInternalError
from napari_cellsam.service.messages import Failure

__all__ = ["error_of", "failure_of"]

_LONGEST = 2000


def failure_of(error: BaseException) -> Failure:
    """Return an error as an answer carries it.

    Of errors that nobody foresaw only the kind is told: their text may hold what is none of the client's business.
    """
    known = next((kind for kind in type(error).__mro__ if _is_ours(kind)), None)
    if known is not None:
        return Failure(error=known.__name__, message=_legible(str(error)))
    return Failure(
        error=ServiceInternalError.__name__,
        message=f"the service failed at this request ({type(error).__name__}); its log says more",
    )


def error_of(failure: Failure) -> CellsamError:
    """Return the error that an answer carries; one that this version does not know is a `ServiceError`."""
    message = _legible(failure.message)
    kind = getattr(errors, failure.error, None) if failure.error in errors.__all__ else None
    if kind is None:
        return ServiceError(f"{_legible(failure.error[:80])}: {message}")
    error: CellsamError = kind(message)
    return error


def _is_ours(kind: type) -> bool:
    """Whether a class is one of the tree, not just another one's of the same name."""
    return kind.__name__ in errors.__all__ and getattr(errors, kind.__name__) is kind


def _legible(text: str) -> str:
    """Return a text that can be sent and shown: halves of characters, and what steers a terminal, become ?."""
    return "".join(char if char.isprintable() or char == "\n" else "?" for char in text[:_LONGEST])
