"""The state of a fine-tuning: all that it needs to go on, and the best weights so far."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from napari_cellsam.errors import CheckpointError
from napari_cellsam.export.output import make_folder
from napari_cellsam.training.checkpoint import save_whole

if TYPE_CHECKING:
    from napari_cellsam.training.learner import Learner

__all__ = ["FinetuneState"]

_SMOOTH = 0.95
_ADVICE = "delete it to train from the beginning"
_NUMBERS = ("best_merit", "step", "spent_s", "checked_step", "checked_at_s", "checking_s")
_KEYS = frozenset({"fingerprint", "weights", "average", "best", "optimizer", "running", *_NUMBERS})


@dataclass
class FinetuneState:
    """A fine-tuning in progress.

    Attributes
    ----------
    learner
        What learns.
    optimizer
        With its state.
    average
        Weights averaged over steps, of what learns, by name.
    best
        The averaged weights with the highest merit; none before the first check.
    best_merit
        How good they are.
    step, spent_s
        Optimizer steps and seconds so far.
    checked_step, checked_at_s
        The same, when the model was last judged.
    checking_s
        Seconds that went into judging so far.
    running
        Running means of the losses, by name.
    """

    learner: Learner
    optimizer: torch.optim.Optimizer
    average: dict[str, Tensor]
    best: dict[str, Tensor] = field(default_factory=dict)
    best_merit: float = float("-inf")
    step: int = 0
    spent_s: float = 0.0
    checked_step: int = 0
    checked_at_s: float = 0.0
    checking_s: float = 0.0
    running: dict[str, float] = field(default_factory=dict)

    @classmethod
    def begin(cls, learner: Learner, rate: float) -> FinetuneState:
        """Return the state before the first step."""
        groups = learner.groups(rate)
        optimizer = torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.98))
        optimizer.zero_grad()  # a training that was broken off in the midst of a step leaves something behind
        taught = {id(parameter) for group in groups for parameter in group["params"]}
        average = {name: p.detach().clone() for name, p in learner.network.named_parameters() if id(p) in taught}
        return cls(learner, optimizer, average)

    def weights(self) -> dict[str, Tensor]:
        """Return the weights of now, of what learns, by name."""
        return {name: p.detach() for name, p in self.learner.network.named_parameters() if name in self.average}

    @torch.no_grad()
    def follow(self, decay: float) -> None:
        """Move the averaged weights towards those of now; less reluctantly in the first steps."""
        decay = min(decay, (1 + self.step) / (10 + self.step))
        for name, now in self.weights().items():
            self.average[name].lerp_(now, 1 - decay)

    def follow_losses(self, losses: dict[str, float]) -> None:
        """Move the running means of losses; what is infinite does not count."""
        for name, value in losses.items():
            if math.isfinite(value):
                self.running[name] = _SMOOTH * self.running.get(name, value) + (1 - _SMOOTH) * value

    def note(self, merit: float) -> None:
        """Keep the averaged weights if none were better; NaN is worse than all."""
        merit = float("-inf") if math.isnan(merit) else merit
        if merit >= self.best_merit:
            self.best_merit = merit
            self.best = {name: tensor.clone() for name, tensor in self.average.items()}

    def save(self, path: Path, fingerprint: str) -> None:
        """Write a checkpoint whole or not at all.

        Raises
        ------
        OutputError
            If it cannot be written.
        """
        content = {
            "fingerprint": fingerprint,
            "weights": self.weights(),
            "average": self.average,
            "best": self.best,
            "optimizer": self.optimizer.state_dict(),
            "running": self.running,
        } | {name: getattr(self, name) for name in _NUMBERS}
        make_folder(path.parent)
        save_whole(content, path)

    def load(self, path: Path, fingerprint: str) -> bool:
        """Go on from a checkpoint, if there is one of the same training; return whether there was.

        Raises
        ------
        CheckpointError
            If the file is broken, or does not fit the network.
        """
        if not path.is_file():
            return False
        content = _read(path)
        if content["fingerprint"] != fingerprint:
            return False
        try:
            self._take(content)
        except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
            raise CheckpointError(f"{path} does not fit the model ({_first_line(error)}); {_ADVICE}") from error
        return True

    @torch.no_grad()
    def _take(self, content: dict[str, Any]) -> None:
        now = self.weights()
        shapes = {name: tensor.shape for name, tensor in now.items()}
        for part in (content["average"], content["weights"], content["best"] or now):
            if {name: tensor.shape for name, tensor in part.items()} != shapes:
                raise ValueError("it holds other tensors")
        for name, tensor in now.items():
            tensor.copy_(content["weights"][name])
            self.average[name].copy_(content["average"][name])
        self.best = {name: tensor.to(now[name].device) for name, tensor in content["best"].items()}
        self.optimizer.load_state_dict(content["optimizer"])
        self.running = dict(content["running"])
        for name in _NUMBERS:
            setattr(self, name, content[name])


def _read(path: Path) -> dict[str, Any]:
    try:
        content = torch.load(path, weights_only=True, map_location="cpu")
    except MemoryError:
        raise
    except Exception as error:  # broken bytes make an unpickler raise nearly anything
        raise CheckpointError(f"{path} cannot be read ({_first_line(error)}); {_ADVICE}") from error
    if not isinstance(content, dict) or not _KEYS.issubset(content):
        raise CheckpointError(f"{path} is no checkpoint of a fine-tuning; {_ADVICE}")
    return content


def _first_line(error: Exception) -> str:
    """Return what an error says, without torch's advice to load unsafely."""
    return (str(error) or type(error).__name__).splitlines()[0]
