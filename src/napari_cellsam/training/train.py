"""Training of the compact model: a loop that reads top to bottom."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from napari_cellsam.data.dataset import list_entries, load_pictures
from napari_cellsam.errors import CheckpointError, OptionError
from napari_cellsam.models.network.compact import CompactCellSam, CompactConfig
from napari_cellsam.training.crops import CropOptions, Crops, mosaic
from napari_cellsam.training.objective import losses

__all__ = ["Progress", "TrainOptions", "read_checkpoint", "train"]

_WARM_UP = 0.02  # share of the budget
_EMA = 0.998
_LAYOUTS = ((1, 1), (1, 1), (1, 1), (1, 2), (2, 1), (2, 2))  # of mosaics, drawn anew for every batch


@dataclass(frozen=True)
class TrainOptions:
    """How the compact model is trained.

    Attributes
    ----------
    data
        Folder that `list_entries` understands; None trains on synthetic pictures alone.
    out
        Folder for the checkpoint; training goes on from it where it exists.
    minutes
        Budget of computing time, earlier runs on the same checkpoint included; the learning rate follows it.
    masks_from
        Share of the budget after which the second stage begins: detector and encoder are frozen, the mask branch learns
        on, with corrective clicks.
    batch
        Crops per step.
    rate
        Largest learning rate.
    device
        ``"cpu"``, ``"cuda"`` or ``"mps"``.
    workers
        Processes that prepare crops.
    crops
        Which crops.
    save_minutes
        Time between checkpoints.
    """

    data: Path | None
    out: Path
    minutes: float = 120.0
    masks_from: float = 0.85
    batch: int = 12
    rate: float = 1.2e-3
    device: str = "cpu"
    workers: int = 1
    crops: CropOptions = field(default_factory=CropOptions)
    save_minutes: float = 4.0

    def __post_init__(self) -> None:
        if self.minutes <= 0 or self.batch < 1 or not 0 < self.masks_from <= 1:
            raise OptionError("minutes and batch must be positive, and masks_from more than 0 and at most 1")


@dataclass(frozen=True)
class Progress:
    """Where a training run stands.

    Attributes
    ----------
    step
        Optimizer steps so far.
    share
        Share of the budget that is spent, 0 to 1.
    losses
        Running means by name.
    crops_per_s
        Training speed of this run.
    """

    step: int
    share: float
    losses: dict[str, float]
    crops_per_s: float


def train(
    options: TrainOptions,
    config: CompactConfig | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> CompactCellSam:
    """Train a compact model and return its averaged weights.

    Stage 1 trains detector, encoder and mask branch together (the published recipe starts from SAM's encoder; this one
    starts from nothing, where the mask loss is the best teacher an encoder can have); stage 2 is the published one:
    everything frozen but the mask branch.

    Parameters
    ----------
    options
        How.
    config
        Size of a new model; a checkpoint brings its own.
    on_progress
        Called every 20 steps.
    """
    device = torch.device(options.device)
    state = read_checkpoint(options.out / "checkpoint.pt")
    config = CompactConfig.from_dict(state["config"]) if state else config or CompactConfig()
    torch.manual_seed(options.crops.seed)
    model = CompactCellSam(config).to(device, memory_format=torch.channels_last)
    average = copy.deepcopy(model).eval()
    optimizer = _optimizer(model, options.rate)
    step, spent = 0, 0.0
    if state:
        model.load_state_dict(state["model"])
        average.load_state_dict(state["average"])
        optimizer.load_state_dict(state["optimizer"])
        step, spent = state["step"], state["spent_s"]
    budget = options.minutes * 60
    batches = _batches(options, seed=options.crops.seed + step)
    begun, saved, first_step, spent_before = time.monotonic(), time.monotonic(), step, spent
    running: dict[str, float] = {}
    while spent < budget:
        share = spent / budget
        masks_only = share >= options.masks_from
        _set_mode(model, masks_only)
        for group in optimizer.param_groups:
            group["lr"] = group["base_lr"] * _schedule(share, options.masks_from)
        pictures, labels = (part.to(device, non_blocking=True) for part in next(batches))
        down, across = _LAYOUTS[int(torch.randint(len(_LAYOUTS), ()))]
        if options.batch % (down * across) == 0:
            pictures, labels = mosaic(pictures, labels, down, across)
        pictures = (pictures.float() / 255).contiguous(memory_format=torch.channels_last)
        with torch.autocast(device.type, torch.bfloat16):
            parts = losses(model, pictures, labels, masks_only=masks_only)
        total = torch.stack(list(parts.values())).sum() if parts else None
        if total is not None and bool(torch.isfinite(total)):
            total.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 8.0)
            optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        step += 1
        _follow(average, model, min(_EMA, (1 + step) / (10 + step)))
        spent = spent_before + time.monotonic() - begun
        for name, value in parts.items():
            running[name] = 0.98 * running.get(name, value.item()) + 0.02 * value.item()
        if on_progress and step % 20 == 0:
            speed = (step - first_step) * options.batch / (time.monotonic() - begun)
            on_progress(Progress(step, spent / budget, dict(running), speed))
        if time.monotonic() - saved > options.save_minutes * 60 or spent >= budget:
            _save(options.out / "checkpoint.pt", model, average, optimizer, step=step, spent_s=spent)
            saved = time.monotonic()
    return average


def _batches(options: TrainOptions, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield batches without end; another seed after every resumption, or the same crops would come again."""
    pictures = list(load_pictures(list_entries(options.data, "train"))) if options.data else []
    share = options.crops.synthetic_share if options.data else 1.0
    crops = Crops(pictures, CropOptions(options.crops.side, share, seed, options.crops.augment))
    loader = DataLoader(
        crops, batch_size=options.batch, num_workers=options.workers, prefetch_factor=4 if options.workers else None
    )
    return iter(loader)


def _optimizer(model: CompactCellSam, rate: float) -> torch.optim.AdamW:
    """Return AdamW: half the rate for attention, no decay for norms, biases and embeddings."""
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        attention = name.startswith(("cellfinder.", "masks."))
        groups.setdefault((attention, parameter.ndim > 1), []).append(parameter)
    return torch.optim.AdamW(
        [
            {"params": p, "base_lr": rate * (0.5 if attention else 1.0), "weight_decay": 0.05 if decay else 0.0}
            for (attention, decay), p in groups.items()
        ],
        lr=rate,
        betas=(0.9, 0.98),
    )


def _schedule(share: float, masks_from: float) -> float:
    """Return the factor of the learning rate: warm-up, then a cosine down to 2 % in each stage."""
    if share < masks_from:
        at = share / masks_from
        return min(1.0, share / _WARM_UP) * (0.02 + 0.98 * (0.5 + 0.5 * math.cos(math.pi * at)))
    at = (share - masks_from) / max(1 - masks_from, 1e-6)
    return 0.4 * (0.02 + 0.98 * (0.5 + 0.5 * math.cos(math.pi * at)))


def _set_mode(model: CompactCellSam, masks_only: bool) -> None:
    """Switch between the stages: in the second one only neck and mask branch learn, the rest keeps its statistics."""
    model.train()
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(not masks_only or name.startswith(("neck.", "masks.")))
    if masks_only:
        model.backbone.eval()
        model.cellfinder.eval()
        model.proposals.eval()


@torch.no_grad()
def _follow(average: nn.Module, model: nn.Module, decay: float) -> None:
    """Move the averaged weights towards the model's."""
    for mean, now in zip(average.state_dict().values(), model.state_dict().values(), strict=True):
        if mean.dtype.is_floating_point:
            mean.lerp_(now, 1 - decay)
        else:
            mean.copy_(now)


def _save(path: Path, model: nn.Module, average: nn.Module, optimizer: torch.optim.Optimizer, **numbers: Any) -> None:
    """Write a checkpoint whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    state = {"model": model.state_dict(), "average": average.state_dict(), "optimizer": optimizer.state_dict()}
    partial = path.with_suffix(".partial")
    torch.save(state | {"config": model.config.to_dict()} | numbers, partial)  # type: ignore[union-attr]
    partial.replace(path)


def read_checkpoint(path: Path) -> dict[str, Any] | None:
    """Return a checkpoint, or None where there is none yet."""
    if not path.is_file():
        return None
    try:
        state: dict[str, Any] = torch.load(path, weights_only=True, map_location="cpu")
    except Exception as error:
        raise CheckpointError(f"{path} cannot be read ({error}); move it away to train from the beginning") from error
    return state
