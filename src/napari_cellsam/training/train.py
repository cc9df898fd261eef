"""Training of the compact model: a loop that reads top to bottom."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from napari_cellsam.data.dataset import list_entries, load_pictures
from napari_cellsam.errors import OptionError
from napari_cellsam.models.loading import choose_dtype
from napari_cellsam.models.network.compact import CompactCellSam, CompactConfig
from napari_cellsam.models.weights import load_network
from napari_cellsam.training.checkpoint import Run, read_checkpoint
from napari_cellsam.training.crops import CropOptions, Crops, mosaic
from napari_cellsam.training.objective import losses

__all__ = ["Progress", "TrainOptions", "train"]

_WARM_UP = 0.02  # share of the budget
_EMA = 0.998
_CORRECTED = 0.25  # share of the first stage's steps that correct masks, where the first weights know how to
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
        on, with corrective clicks. 0 for nothing but the second stage.
    start
        Weights of a compact model that a new run begins with; what its design lacked begins as if it were not there.
        None for random ones.
    batch
        Crops per step.
    rate
        Largest learning rate.
    device
        ``"cpu"``, ``"cuda"`` or ``"mps"``.
    precision
        ``"fp32"``, ``"bf16"``, or ``"auto"``: bf16 where the hardware computes in it.
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
    masks_from: float = 0.9
    batch: int = 12
    rate: float = 1.2e-3
    device: str = "cpu"
    precision: str = "auto"
    workers: int = 1
    crops: CropOptions = field(default_factory=CropOptions)
    save_minutes: float = 4.0
    start: Path | None = None

    def __post_init__(self) -> None:
        if not self.minutes > 0 or self.batch < 1 or self.workers < 0 or not 0 <= self.masks_from <= 1:
            raise OptionError(
                f"got {self.minutes} minutes, batches of {self.batch}, {self.workers} workers and masks from "
                f"{self.masks_from}; expected positive minutes and batches, and masks from 0 to 1"
            )


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

    Raises
    ------
    CheckpointError
        If there is a checkpoint that cannot be read.
    DatasetError
        If the training pictures cannot be used.
    """
    device = torch.device(options.device)
    path = options.out / "checkpoint.pt"
    run = _start(read_checkpoint(path), options, config, device)
    batches = _batches(options, seed=options.crops.seed + run.step)
    begun = saved = time.monotonic()
    first_step, spent_before, budget = run.step, run.spent_s, options.minutes * 60
    running: dict[str, float] = {}
    while run.spent_s < budget:
        parts = _learn(run, next(batches), options, run.spent_s / budget)
        run.spent_s = spent_before + time.monotonic() - begun
        for name, value in parts.items():
            if math.isfinite(value):
                running[name] = 0.98 * running.get(name, value) + 0.02 * value
        if on_progress and run.step % 20 == 0:
            speed = (run.step - first_step) * options.batch / (time.monotonic() - begun)
            on_progress(Progress(run.step, run.spent_s / budget, dict(running), speed))
        if time.monotonic() - saved > options.save_minutes * 60 or run.spent_s >= budget:
            run.save(path)
            saved = time.monotonic()
    return run.average


def _start(
    state: dict[str, Any] | None, options: TrainOptions, config: CompactConfig | None, device: torch.device
) -> Run:
    """Return a new run, or one that goes on from a checkpoint."""
    if state:
        config = CompactConfig.from_dict(state["config"])
    torch.manual_seed(options.crops.seed)
    begun = options.start if state is None else None
    model: CompactCellSam = _grown(begun) if begun else CompactCellSam(config or CompactConfig())
    model.to(device)
    model.to(memory_format=torch.channels_last)
    run = Run(model, copy.deepcopy(model).eval(), _optimizer(model, options.rate))
    if state:
        run.load(state)
    return run


def _grown(path: Path) -> CompactCellSam:
    """Return a model of today's design with the weights of a file, which may be of an earlier one."""
    network = load_network(path)
    if network.architecture != "compact":
        raise OptionError(f"{path} holds a {network.architecture} model; expected a compact one to start from")
    early: Any = network.model
    today = CompactConfig()
    model = CompactCellSam(replace(early.config, n_retouch=today.n_retouch, n_slots=today.n_slots))
    model.load_state_dict(model.state_dict() | early.state_dict())
    return model


def _learn(run: Run, batch: Sequence[Tensor], options: TrainOptions, share: float) -> dict[str, float]:
    """Take one step on a batch, at a share of the budget; return the losses."""
    model, device = run.model, torch.device(options.device)
    masks_only = share >= options.masks_from
    _set_mode(model, masks_only)
    for group in run.optimizer.param_groups:
        group["lr"] = group["base_lr"] * _schedule(share, options.masks_from)
    pictures, labels = (part.to(device, non_blocking=True) for part in batch)
    down, across = _LAYOUTS[int(torch.randint(len(_LAYOUTS), ()))]
    if options.batch % (down * across) == 0:
        pictures, labels = mosaic(pictures, labels, down, across)
    pictures = (pictures.float() / 255).contiguous(memory_format=torch.channels_last)
    dtype = choose_dtype(options.precision, device)
    corrected = options.start is not None and float(torch.rand(())) < _CORRECTED
    with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
        parts = losses(model, pictures, labels, masks_only=masks_only, corrected=corrected)
    total = torch.stack(list(parts.values())).sum() if parts else None
    if total is not None and bool(torch.isfinite(total)):
        total.backward()
        norm = nn.utils.clip_grad_norm_(model.parameters(), 8.0)
        if bool(norm.isfinite()):  # a finite loss may have a gradient that is not: it would end all weights
            run.optimizer.step()
    run.optimizer.zero_grad(set_to_none=True)
    run.step += 1
    run.follow(min(_EMA, (1 + run.step) / (10 + run.step)))
    return {name: value.item() for name, value in parts.items()}


def _batches(options: TrainOptions, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield batches without end; another seed after every resumption, or the same crops would come again."""
    pictures = list(load_pictures(list_entries(options.data, "train"))) if options.data else []
    share = options.crops.synthetic_share if options.data else 1.0
    crops = Crops(pictures, replace(options.crops, synthetic_share=share, seed=seed))
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
