"""The checkpoint of a training run: all that it needs to go on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from napari_cellsam.errors import CheckpointError, OutputError
from napari_cellsam.export.output import make_folder, whole_file
from napari_cellsam.models.network.compact import CompactCellSam

__all__ = ["Run", "read_checkpoint", "save_whole"]

_KEYS = frozenset({"model", "average", "optimizer", "config", "step", "spent_s"})


@dataclass
class Run:
    """A training run in progress.

    Attributes
    ----------
    model, average
        What learns, and its weights averaged over time.
    optimizer
        With its state.
    step
        Optimizer steps so far.
    spent_s
        Computing time so far, in seconds.
    """

    model: CompactCellSam
    average: CompactCellSam
    optimizer: torch.optim.Optimizer
    step: int = 0
    spent_s: float = 0.0

    @torch.no_grad()
    def follow(self, decay: float) -> None:
        """Move the averaged weights towards the model's."""
        for mean, now in zip(self.average.state_dict().values(), self.model.state_dict().values(), strict=True):
            if mean.dtype.is_floating_point:
                mean.lerp_(now, 1 - decay)
            else:
                mean.copy_(now)

    def load(self, state: dict[str, Any]) -> None:
        """Go on from what `read_checkpoint` returned.

        Raises
        ------
        CheckpointError
            If it is of a model of another size, or of another version of this program.
        """
        try:
            self.model.load_state_dict(state["model"])
            self.average.load_state_dict(state["average"])
            self.optimizer.load_state_dict(state["optimizer"])
        except (RuntimeError, ValueError, KeyError, TypeError) as error:
            raise CheckpointError(
                f"the checkpoint does not fit the model: {error}; train from the beginning"
            ) from error
        self.step, self.spent_s = state["step"], state["spent_s"]

    def save(self, path: Path) -> None:
        """Write a checkpoint whole or not at all.

        Raises
        ------
        OutputError
            If it cannot be written.
        """
        state = {
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "config": self.model.config.to_dict(),
            "step": self.step,
            "spent_s": self.spent_s,
        }
        make_folder(path.parent)
        save_whole(state, path)


def save_whole(content: dict[str, Any], path: Path) -> None:
    """Write a checkpoint whole or not at all.

    Raises
    ------
    OutputError
        If it cannot be written, as on a full disk.
    """
    with whole_file(path, overwrite=True) as partial, partial.open("wb") as file:
        try:
            torch.save(content, file)
        except RuntimeError as error:  # torch's own writer has no other for a disk that refuses
            raise OutputError(f"{path} cannot be written ({str(error).splitlines()[0]}); make room") from error


def read_checkpoint(path: Path) -> dict[str, Any] | None:
    """Return a checkpoint, or None where there is none yet.

    Raises
    ------
    CheckpointError
        If the file is broken, or no checkpoint of a training run.
    """
    if not path.is_file():
        return None
    advice = "move it away to train from the beginning"
    try:
        state = torch.load(path, weights_only=True, map_location="cpu")
    except MemoryError:
        raise
    except Exception as error:  # broken bytes make an unpickler raise nearly anything
        raise CheckpointError(f"{path} cannot be read ({error}); {advice}") from error
    if not isinstance(state, dict) or not _KEYS.issubset(state):
        raise CheckpointError(f"{path} is no checkpoint of a training run; {advice}")
    return state
