"""The learning curves of a fine-tuning on disk: lines of JSON, and for TensorBoard where that is installed."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from napari_cellsam.errors import OutputError
from napari_cellsam.export.output import make_folder, whole_file
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
    """Writes learning curves, until it is left as a context.

    Parameters
    ----------
    folder
        Where to: a file `LOG_NAME`; TensorBoard is pointed at the sub-folder ``tensorboard``.
    after
        Optimizer step that the training goes on from. What is there of later ones, written before it was killed, goes;
        so all goes when it is 0.
    tensorboard
        Whether to write for TensorBoard, too; where it is installed when None.

    Raises
    ------
    OutputError
        If nothing can be written there.
    """

    def __init__(self, folder: Path, *, after: int = 0, tensorboard: bool | None = None) -> None:
        self._folder = folder
        make_folder(folder)
        with self._translated(), ExitStack() as begun:
            self._writers: list[_Writer] = [_Lines(folder / LOG_NAME, after)]
            begun.callback(self._writers[0].close)
            if has_tensorboard() if tensorboard is None else tensorboard:
                self._writers.append(_TensorBoard(folder / _FOLDER, after))
            begun.pop_all()

    def __enter__(self) -> Curves:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def add(self, progress: TrainingProgress) -> None:
        """Write where the training stands.

        Raises
        ------
        OutputError
            If it cannot be written.
        """
        with self._translated():
            for writer in self._writers:
                writer.add(progress)

    def close(self) -> None:
        """Write what waits to be written."""
        with self._translated(), ExitStack() as stack:
            for writer in self._writers:
                stack.callback(writer.close)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            reason = error.strerror or error
            raise OutputError(f"the learning curves cannot be written to {self._folder}: {reason}") from error


class _Lines:
    """One JSON document a line, null for what is no number."""

    def __init__(self, path: Path, after: int) -> None:
        kept = [line for line in _lines(path) if _step(line) <= after] if after else []
        with whole_file(path, overwrite=True) as partial:
            partial.write_text("".join(kept), encoding="utf-8")
        self._file = path.open("a", encoding="utf-8")

    def add(self, progress: TrainingProgress) -> None:
        self._file.write(json.dumps(_without_nan(asdict(progress)), allow_nan=False) + "\n")
        self._file.flush()

    def close(self) -> None:
        self._file.close()


class _TensorBoard:
    """Event files."""

    def __init__(self, folder: Path, after: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        if not after:
            for old in folder.glob("events.out.tfevents.*"):
                old.unlink(missing_ok=True)
        writer: Any = SummaryWriter
        self._writer = writer(str(folder), purge_step=after + 1 if after else None)

    def add(self, progress: TrainingProgress) -> None:
        figures = {f"train/{name}": value for name, value in progress.losses.items()}
        figures |= {f"val/{name}": value for name, value in progress.val_losses.items()}
        if progress.f1 is not None:
            figures["val/F1"] = progress.f1
        for name, value in figures.items():
            self._writer.add_scalar(name, value, progress.step)

    def close(self) -> None:
        self._writer.close()


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True) if path.is_file() else []


def _step(line: str) -> float:
    """Return the step of a line; infinity for one that was not written to its end, or is not ours."""
    try:
        return float(json.loads(line)["step"]) if line.endswith("\n") else math.inf
    except (ValueError, KeyError, TypeError):
        return math.inf


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
