"""The pickle that holds arrays and plain values alone, read without running anything that it names."""

from __future__ import annotations

import io
import math
import pickle
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_cellsam.errors import ImageReadError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["load_plain"]

_KINDS = "biufSU"


class _Dtype:
    """What a pickle says of an array's type, without making one."""

    def __init__(self, code: Any = "", *_: Any) -> None:
        self.code = code
        self.order = "="

    def __setstate__(self, state: Any) -> None:
        self.order = state[1]

    def make(self) -> np.dtype[Any]:
        """Make the type, if it is one of plain numbers or text."""
        if not isinstance(self.code, str) or self.code[:1] not in _KINDS or self.order not in ("<", ">", "=", "|"):
            raise ImageReadError(f"it holds an array of type {self.code!r}; only numbers and text are read")
        return np.dtype(self.code).newbyteorder(self.order)  # type: ignore[arg-type]


class _Array:
    """What a pickle says of an array, without making one."""

    def __init__(self, *_: Any) -> None:
        self.state: tuple[Any, ...] | None = None

    def __setstate__(self, state: Any) -> None:
        self.state = tuple(state)

    def make(self) -> Any:
        """Make the array."""
        if self.state is None:
            return np.zeros(0)
        _, shape, dtype, is_fortran, content = self.state
        return _make_array(content, dtype, shape, "F" if is_fortran else "C")


def _make_array(content: Any, dtype: Any, shape: Any, order: str = "C") -> NDArray[Any]:
    """Make an array of bytes, which must be as many as its shape says."""
    if not isinstance(dtype, _Dtype):
        raise ImageReadError("it holds an array without a type")
    kind = dtype.make()
    if not isinstance(content, (bytes, bytearray)) or math.prod(shape) * kind.itemsize != len(content):
        raise ImageReadError(f"it holds an array of shape {shape} whose bytes are not that many")
    return np.frombuffer(content, kind).reshape(shape, order=order)  # type: ignore[call-overload,no-any-return]


def _make_scalar(dtype: Any, content: Any = b"") -> Any:
    """Make a number of bytes."""
    return _make_array(content, dtype, (1,))[0]


def _latin(text: Any, encoding: Any = "latin1") -> bytes:
    """Turn text back into the bytes that old protocols write as such."""
    if encoding != "latin1" or not isinstance(text, str):
        raise ImageReadError("it holds bytes in an unknown encoding")
    return text.encode("latin1")


_KNOWN: dict[tuple[str, str], Any] = {("numpy", "dtype"): _Dtype, ("numpy", "ndarray"): _Array}
_KNOWN |= {("_codecs", "encode"): _latin}
for _core in ("numpy.core", "numpy._core"):
    _KNOWN[f"{_core}.multiarray", "_reconstruct"] = _Array
    _KNOWN[f"{_core}.multiarray", "scalar"] = _make_scalar
    _KNOWN[f"{_core}.numeric", "_frombuffer"] = _make_array


class _Unpickler(pickle.Unpickler):
    """A machine that knows no class or function but the few stand-ins above."""

    def find_class(self, module: str, name: str) -> Any:
        """Return the stand-in, or refuse."""
        if (module, name) not in _KNOWN:
            raise ImageReadError(f"it wants to run {module}.{name}, which may do harm; such files are not read")
        return _KNOWN[module, name]


def load_plain(content: bytes) -> Any:
    """Load what `pickle.dump` wrote: arrays of numbers or text, and dicts, lists, text and numbers around them.

    Nothing that the content names is imported or run.

    Parameters
    ----------
    content
        The pickle.

    Raises
    ------
    ImageReadError
        If it names anything else, or is broken.
    """
    try:
        return _settle(_Unpickler(io.BytesIO(content), encoding="latin1").load(), 0)
    except ImageReadError:
        raise
    except Exception as error:  # whatever a broken pickle makes the machine stumble over
        raise ImageReadError(f"it is broken or cut off: {error!r}") from error


def _settle(value: Any, depth: int) -> Any:
    """Replace stand-ins by arrays, in what may be nested a few times."""
    if depth > 16:
        raise ImageReadError("it is nested too deeply")
    if isinstance(value, _Array):
        return _settle_array(value)
    if isinstance(value, dict):
        return {key: _settle(item, depth + 1) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_settle(item, depth + 1) for item in value]
    return value


def _settle_array(value: _Array) -> Any:
    """Make an array; one of objects is the list of them."""
    dtype = value.state[2] if value.state else None
    if isinstance(dtype, _Dtype) and str(dtype.code).startswith("O") and value.state:
        return _settle(value.state[4], 1)
    return value.make()
