"""The learning curves of a fine-tuning on disk: for TensorBoard where that is installed, else lines of JSON."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from napari_cellsam.errors import OutputError
from napari_cellsam.export.output import make_folder
from napari_cellsam.types.finetuning import TrainingProgress

__all__ = ["LOG_NAME", "Curves", "has_tensorboard"]

LOG_NAME = "curves.jsonl"
_FOLDER = "tensorboard"


class _Writer(Protocol):
    def add(self, progress: TrainingProgress) -> None: ...
    def close(self) -> None: ...


def has_tensorboard() -> bool:
    """Tell whether TensorBoard's writer is installed."""
    return find_spec("tensorboard") is not None


class Curves:
    """Writes learning curves.

    Parameters
    ----------
    folder
        Where to; TensorBoard is pointed at its sub-folder ``tensorboard``.
    keep
        Whether to go on behind what is there.
    tensorboard
        Whether to write for TensorBoard; where it is installed when None.

    Raises
    ------
    OutputError
        If nothing can be written there.
    """

    def __init__(self, folder: Path, *, keep: bool = False, tensorboard: bool | None = None) -> None:
        use = has_tensorboard() if tensorboard is None else tensorboard
        make_folder(folder)
        try:
            self._writer: _Writer = _TensorBoard(folder / _FOLDER, keep) if use else _Lines(folder / LOG_NAME, keep)
        except OSError as error:
            raise OutputError(f"the learning curves cannot be written to {folder}: {error}") from error

    def add(self, progress: TrainingProgress) -> None:
        """Write where the training stands."""
        self._writer.add(progress)

    def close(self) -> None:
        """Write what waits to be written."""
        self._writer.close()


class _Lines:
    """One JSON document a line."""

    def __init__(self, path: Path, keep: bool) -> None:
        self._file = path.open("a" if keep else "w", encoding="utf-8")

    def add(self, progress: TrainingProgress) -> None:
        self._file.write(json.dumps(asdict(progress)) + "\n")
        self._file.flush()

    def close(self) -> None:
        self._file.close()


class _TensorBoard:
    """Event files."""

    def __init__(self, folder: Path, keep: bool) -> None:
        from torch.utils.tensorboard import SummaryWriter

        if not keep and folder.is_dir():
            for old in folder.glob("events.out.tfevents.*"):
                with suppress(FileNotFoundError):
                    old.unlink()
        writer: Any = SummaryWriter
        self._writer = writer(str(folder))

    def add(self, progress: TrainingProgress) -> None:
        for kind, losses in (("train", progress.losses), ("val", progress.val_losses)):
            for name, value in losses.items():
                self._writer.add_scalar(f"{kind}/{name}", value, progress.step)
        if progress.f1 is not None:
            self._writer.add_scalar("val/F1", progress.f1, progress.step)

    def close(self) -> None:
        self._writer.close()
