"""The losses of SAM's mask branch on cells of whole fields, asked for by boxes and clicks."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from napari_cellsam.models.network.losses import dice_loss
from napari_cellsam.models.network.mask_decoding import FieldPrompt
from napari_cellsam.training.prompts import choose_cells
from napari_cellsam.training.targets import Cells

if TYPE_CHECKING:
    from napari_cellsam.models.network.cellsam import CellSam

__all__ = ["MaskTargets", "draw_field_prompts", "field_mask_losses", "mask_targets"]

_N_MASKS = 16  # cells per crop
_AT_ONCE = 4  # whose masks are decoded together: about 100 MB each while they learn, at published size
_CLICK_SHARE = 1 / 3  # the paper has boxes only; people click, too
_JITTER = 0.04  # of a box's sides: the detector's boxes are not exact either
_AROUND = 0.5  # of a box's sides: beyond, background weighs nothing in the cross entropy, and all in Dice


class MaskTargets(NamedTuple):
    """What masks of cells should be on the grid of the decoder's logits.

    Attributes
    ----------
    share
        ``(N, h, w)`` share of a step that the cell covers.
    known
        ``(N, h, w)`` 1 where all of a step is known, else 0.
    around
        ``(N, h, w)`` 1 in the cell's box and around it, else 0.
    """

    share: Tensor
    known: Tensor
    around: Tensor


def field_mask_losses(
    network: CellSam, embeddings: Tensor, cells: Cells, *, saves_memory: bool = False
) -> dict[str, Tensor]:
    """Return the weighted losses of masks and of their predicted quality; none where there are no cells.

    Parameters
    ----------
    network
        With the prompt encoder and mask decoder.
    embeddings
        ``(B, C, h, w)`` of the mask branch, for crops that fill the field.
    cells
        Of the crops.
    saves_memory
        Whether masks are decoded again for their gradients in place of being kept.
    """
    chosen = choose_cells(cells, _N_MASKS)
    if len(chosen) == 0:
        return {}
    mask, quality = embeddings.new_zeros(()), embeddings.new_zeros(())
    for portion in chosen.split(_AT_ONCE):
        for picture in cells.picture[portion].unique():
            some = portion[cells.picture[portion] == picture]
            prompts = draw_field_prompts(cells, some, network.side)
            logits, predicted = _decode(network, embeddings[picture], prompts, saves_memory)
            parts = _mask_losses(logits, predicted, mask_targets(cells, some, logits.shape[-1]))
            mask, quality = mask + parts[0], quality + parts[1]
    return {"mask": mask / len(chosen), "quality": quality / len(chosen)}


def _decode(
    network: CellSam, embedding: Tensor, prompts: list[FieldPrompt], saves_memory: bool
) -> tuple[Tensor, Tensor]:
    """Return logits ``(N, side, side)`` of the whole field, and predicted IoU ``(N,)``."""

    def run(embedding: Tensor) -> tuple[Tensor, Tensor]:
        answer = network.decode(embedding, prompts, whole_field=True)
        return torch.stack(answer.logits), answer.iou

    if saves_memory and embedding.requires_grad:
        again: tuple[Tensor, Tensor] = checkpoint(run, embedding, use_reentrant=False)
        return again
    return run(embedding)


def _mask_losses(logits: Tensor, predicted: Tensor, target: MaskTargets) -> tuple[Tensor, Tensor]:
    """Return the losses of masks and of their predicted IoU, summed over cells."""
    logits = logits.float()
    weight = target.known * target.around
    cross = F.binary_cross_entropy_with_logits(logits, target.share, weight, reduction="none").sum((1, 2))
    cross = cross / weight.sum((1, 2)).clamp(min=1)
    answer, truth = (logits.detach() > 0) & (target.known > 0), (target.share > 0.5) & (target.known > 0)
    iou = (answer & truth).sum((1, 2)) / (answer | truth).sum((1, 2)).clamp(min=1)
    mask = 3 * cross + dice_loss(logits, target.share, target.known)
    return mask.sum(), F.mse_loss(predicted.float(), iou, reduction="sum")


def draw_field_prompts(cells: Cells, chosen: Tensor, side: int) -> list[FieldPrompt]:
    """Draw a prompt for each chosen cell: a box that is a little off, or a click on a pixel of it.

    Parameters
    ----------
    cells
        Of the crops.
    chosen
        Rows of cells of one crop.
    side
        Pixels along the field that the crop fills.
    """
    device = chosen.device
    zoom = side / cells.index.new_tensor(cells.index.shape[:0:-1])  # x, y
    boxes = cells.boxes[chosen]
    boxes = boxes + torch.randn_like(boxes) * _JITTER * (boxes[:, 2:] - boxes[:, :2] + 1).repeat(1, 2)
    boxes = torch.cat((torch.minimum(boxes[:, :2], boxes[:, 2:]), torch.maximum(boxes[:, :2], boxes[:, 2:])), -1)
    by_click = torch.rand(len(chosen), device=device) < _CLICK_SHARE
    inside = torch.ones(1, dtype=torch.long, device=device)
    prompts = []
    for row, box, click in zip(chosen, boxes, by_click.tolist(), strict=True):
        if not click:
            prompts.append(FieldPrompt(box=box * zoom.repeat(2)))
            continue
        pixels = (cells.index[cells.picture[row]] == row + 1).nonzero()  # y, x
        point = pixels[torch.randint(len(pixels), (1,), device=device)].flip(-1)
        prompts.append(FieldPrompt(point * zoom, inside))
    return prompts


def mask_targets(cells: Cells, chosen: Tensor, n: int) -> MaskTargets:
    """Return the true masks of chosen cells on a grid of ``n`` by ``n`` steps over their crops."""
    index = cells.index[cells.picture[chosen]]
    share = F.adaptive_avg_pool2d((index == chosen[:, None, None] + 1).float(), n)
    known = 1 - F.adaptive_max_pool2d((index < 0).float(), n)
    low, high = cells.boxes[chosen, :2], cells.boxes[chosen, 2:]
    margin = (high - low + 1) * _AROUND
    size = cells.boxes.new_tensor(cells.index.shape[:0:-1])
    (x0, y0), (x1, y1) = (((edge + 0.5) / size * n).unbind(-1) for edge in (low - margin, high + margin))
    step = torch.arange(n, device=index.device) + 0.5
    across = (step >= x0[:, None]) & (step <= x1[:, None])
    down = (step >= y0[:, None]) & (step <= y1[:, None])
    return MaskTargets(share, known, (down[:, :, None] & across[:, None]).float())
