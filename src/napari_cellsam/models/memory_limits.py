"""The end of a device's memory, and what to do about it."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

from napari_cellsam.errors import DeviceMemoryError

if TYPE_CHECKING:
    from napari_cellsam.models.backend import Backend, Decoded, PicturePrompt
    from napari_cellsam.models.steps import Steps


__all__ = ["AT_ONCE", "DecodeWork", "OutOfMemoryError", "free_memory", "no_more_memory", "one_step"]

AT_ONCE = 64
"""Prompts that are decoded together at most."""

OutOfMemoryError = torch.OutOfMemoryError
"""What torch raises where a GPU's memory is full; a processor's is the operating system's business."""


def free_memory() -> None:
    """Give back what the allocator keeps for later."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def no_more_memory(what: str) -> DeviceMemoryError:
    """Return the error for a smallest step that does not fit."""
    return DeviceMemoryError(
        f"the device's memory is too small to {what}; close other programs on it, choose a smaller model or "
        "--precision bf16, or ask for --device cpu"
    )


@contextmanager
def one_step(what: str) -> Iterator[None]:
    """Say what a step that cannot be made smaller needed memory for.

    Raises
    ------
    DeviceMemoryError
        If the memory is full.
    """
    try:
        yield
    except OutOfMemoryError as error:
        free_memory()
        raise no_more_memory(what) from error


class DecodeWork:
    """Decodes prompts, as many at once as fit into memory.

    Attributes
    ----------
    n_at_once
        Halved whenever memory is full.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self.n_at_once = AT_ONCE

    def steps(
        self, features: Any, prompts: list[PicturePrompt], *, whole: bool = False, threshold: float = 0.5
    ) -> Steps[list[Decoded]]:
        """Decode prompts of one frame; as `Backend.decode`.

        Raises
        ------
        DeviceMemoryError
            If a single prompt does not fit.
        """
        answers: list[Decoded] = []
        while len(answers) < len(prompts):
            yield None
            part = prompts[len(answers) : len(answers) + self.n_at_once]
            try:
                answers += self._backend.decode(features, part, whole=whole, threshold=threshold)
            except OutOfMemoryError as error:
                if len(part) == 1:
                    raise no_more_memory("decode a single prompt") from error
                self.n_at_once = len(part) // 2
                free_memory()
        return answers
