"""The state of a fine-tuning: all that it needs to go on, and the best weights so far."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from napari_cellsam.errors import CheckpointError
from napari_cellsam.export.output import make_folder, whole_file

if TYPE_CHECKING:
    from napari_cellsam.training.learner import Learner

__all__ = ["FinetuneState"]

_KEYS = frozenset(
    {"fingerprint", "weights", "average", "best", "best_merit", "optimizer", "step", "spent_s", "n_checks"}
)


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
    step, spent_s, n_checks
        Optimizer steps, seconds and checks so far.
    """

    learner: Learner
    optimizer: torch.optim.Optimizer
    average: dict[str, Tensor]
    best: dict[str, Tensor] = field(default_factory=dict)
    best_merit: float = float("-inf")
    step: int = 0
    spent_s: float = 0.0
    n_checks: int = 0

    @classmethod
    def begin(cls, learner: Learner, rate: float) -> FinetuneState:
        """Return the state before the first step."""
        groups = learner.groups(rate)
        optimizer = torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.98))
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

    def note(self, merit: float) -> None:
        """Keep the averaged weights if none were better."""
        if merit >= self.best_merit or not self.best:
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
            "best_merit": self.best_merit,
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "spent_s": self.spent_s,
            "n_checks": self.n_checks,
        }
        make_folder(path.parent)
        with whole_file(path, overwrite=True) as partial:
            torch.save(content, partial)

    def load(self, path: Path, fingerprint: str) -> bool:
        """Go on from a checkpoint, if there is one of the same training; return whether there was.

        Raises
        ------
        CheckpointError
            If the file is broken.
        """
        if not path.is_file():
            return False
        content = _read(path)
        if content["fingerprint"] != fingerprint:
            return False
        now = self.weights()
        device = next(iter(now.values())).device
        with torch.no_grad():
            for name, tensor in content["weights"].items():
                now[name].copy_(tensor)
        self.optimizer.load_state_dict(content["optimizer"])
        self.average, self.best = (
            {name: tensor.to(device) for name, tensor in content[part].items()} for part in ("average", "best")
        )
        self.best_merit, self.n_checks = content["best_merit"], content["n_checks"]
        self.step, self.spent_s = content["step"], content["spent_s"]
        return True


def _read(path: Path) -> dict[str, Any]:
    advice = "delete it to train from the beginning"
    try:
        content = torch.load(path, weights_only=True, map_location="cpu")
    except MemoryError:
        raise
    except Exception as error:  # broken bytes make an unpickler raise nearly anything
        raise CheckpointError(f"{path} cannot be read ({error}); {advice}") from error
    if not isinstance(content, dict) or not _KEYS.issubset(content):
        raise CheckpointError(f"{path} is no checkpoint of a fine-tuning; {advice}")
    return content
