"""The layouts of checkpoints: which design a list of tensor names and shapes is, and where its tensors belong."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from napari_cellsam.errors import CheckpointError

__all__ = ["Layout", "published_names", "recognise"]

Shapes = Mapping[str, tuple[int, ...]]

_DETECTOR = "cellfinder.decode_head."
_OWN_BRANCH, _FIRST_BRANCH = "model_cp.", "model."
_RENAMED = (
    (f"{_DETECTOR}backbone.body.", "detector_encoder."),
    (f"{_DETECTOR}input_proj.0.", "cellfinder.input_proj."),
    (f"{_DETECTOR}transformer.", "cellfinder."),
)
_HEAD = re.compile(r"(cellfinder\.(?:class|bbox)_embed)\.(\d+)\.(.+)")  # one head per decoder layer
_HEADS = re.compile(r"cellfinder\.((?:class|bbox)_embed)\.(.+)")
_CONSTANTS = ("pixel_mean", "pixel_std")
_SAM_NAMES = {(768, 12): "vit_b", (1024, 24): "vit_l", (1280, 32): "vit_h"}
_PUBLISHED_WINDOW = 14
_GROUPS = 32  # of CellFinder's first norm


@dataclass(frozen=True)
class Layout:
    """Where the tensors of a file belong.

    Attributes
    ----------
    architecture
        ``"cellsam"`` or ``"sam"``.
    variant
        ``"adv"`` or ``"plain"`` of CellSAM, ``"vit_b"``, ``"vit_l"``, ``"vit_h"`` or ``"vit"`` of SAM.
    config
        Size of the network, as `CellSamConfig.to_dict` writes it.
    keys
        Name in the file of each tensor, by its name in the network.
    """

    architecture: str
    variant: str
    config: dict[str, Any]
    keys: dict[str, str]


def recognise(shapes: Shapes) -> Layout:
    """Tell the design of a checkpoint by the names and shapes of its tensors.

    Raises
    ------
    CheckpointError
        If it is none that we know, or lacks what its size is read from.
    """
    if any(key.startswith(_DETECTOR) for key in shapes):
        variant = "adv" if any(key.startswith(_OWN_BRANCH) for key in shapes) else "plain"
        keys = _cellsam_keys(shapes, variant)
    elif any(key.startswith("image_encoder.") for key in shapes):
        keys = {key: key for key in shapes if key not in _CONSTANTS}
        variant = "sam"
    else:
        some = ", ".join(list(shapes)[:3])
        raise CheckpointError(
            f"these weights are of another design: their tensors are named {some}, ...; expected CellSAM "
            "(cellfinder.*, model.*) or SAM (image_encoder.*)"
        )
    named = {name: shapes[key] for name, key in keys.items()}
    try:
        config = _config(named, variant)
    except KeyError as error:
        raise CheckpointError(f"these weights lack the tensor {error.args[0]}, which tells the size") from error
    except (IndexError, ValueError, ZeroDivisionError) as error:
        raise CheckpointError(f"these weights have shapes that no network of this design has: {error}") from error
    if variant != "sam":
        return Layout("cellsam", variant, config, keys)
    vit = config["vit"]
    return Layout("sam", _SAM_NAMES.get((vit["width"], vit["depth"]), "vit"), config, keys)


def published_names(names: Iterable[str], variant: str, n_heads: int) -> dict[str, str]:
    """Return the names of tensors in a file that is laid out as the published ones, with those in the network.

    Parameters
    ----------
    names
        Of the network's tensors.
    variant
        As in `Layout`.
    n_heads
        Copies of CellFinder's heads, one per decoder layer: they are the same.

    Returns
    -------
    dict
        What `recognise` understands. The first branch of ``"adv"``, which nothing is computed with, is left out.
    """
    if variant not in ("adv", "plain"):
        return {name: name for name in names}
    branch = _OWN_BRANCH if variant == "adv" else _FIRST_BRANCH
    keys: dict[str, str] = {}
    for name in names:
        prefix, replacement = next(((new, old) for old, new in _RENAMED if name.startswith(new)), ("", branch))
        key = replacement + name.removeprefix(prefix)
        head = _HEADS.fullmatch(name)
        copies = [f"{_RENAMED[-1][0]}{head[1]}.{i}.{head[2]}" for i in range(n_heads)] if head else [key]
        keys |= dict.fromkeys(copies, name)
    return keys


def _cellsam_keys(shapes: Shapes, variant: str) -> dict[str, str]:
    """Return file names by network names; what the network does not use is left out, what nobody knows stays."""
    branch = _OWN_BRANCH if variant == "adv" else _FIRST_BRANCH
    renamed = ((branch, ""), *_RENAMED)
    keys: dict[str, str] = {}
    last: dict[str, int] = {}
    for key in shapes:
        prefix, replacement = next((pair for pair in renamed if key.startswith(pair[0])), ("", ""))
        name = replacement + key.removeprefix(prefix)
        if name.startswith(_FIRST_BRANCH) or name in _CONSTANTS:
            continue  # a third copy, which is not used
        if head := _HEAD.fullmatch(name):
            name = f"{head[1]}.{head[3]}"
            if int(head[2]) < last.get(name, -1):
                continue  # the last layer's head is the one that is read
            last[name] = int(head[2])
        keys[name] = key
    return keys


def _config(shapes: Shapes, variant: str) -> dict[str, Any]:
    """Return the size of a network from the shapes of its tensors."""
    return {
        "vit": _vit(shapes, "image_encoder."),
        "finder": None if variant == "sam" else _finder(shapes),
        "layout": variant,
        "n_mask_hidden": shapes["mask_decoder.transformer.layers.0.mlp.lin1.weight"][0],
        "n_iou_hidden": shapes["mask_decoder.iou_prediction_head.layers.0.weight"][0],
        "n_mask_tokens": shapes["mask_decoder.mask_tokens.weight"][0],
        "n_mask_layers": _count(shapes, "mask_decoder.transformer.layers."),
        "n_mask_in": shapes["prompt_encoder.mask_downscaling.3.weight"][0],
    }


def _vit(shapes: Shapes, prefix: str) -> dict[str, Any]:
    _, n_tokens, _, width = shapes[f"{prefix}pos_embed"]
    patch = shapes[f"{prefix}patch_embed.proj.weight"][2]
    depth = _count(shapes, f"{prefix}blocks.")
    reach = [(shapes[f"{prefix}blocks.{i}.attn.rel_pos_h"][0] + 1) // 2 for i in range(depth)]
    windows = {n for n in reach if n != n_tokens}
    n_heads, rest = divmod(width, shapes[f"{prefix}blocks.0.attn.rel_pos_h"][1])
    if len(windows) > 1 or rest:
        raise ValueError(f"windows of {sorted(windows)} tokens, {width} channels in {n_heads} heads")
    return {
        "width": width,
        "depth": depth,
        "n_heads": n_heads,
        "n_hidden": shapes[f"{prefix}blocks.0.mlp.lin1.weight"][0],
        "global_blocks": tuple(i for i, n in enumerate(reach) if n == n_tokens),
        "window": windows.pop() if windows else _PUBLISHED_WINDOW,
        "side": n_tokens * patch,
        "patch": patch,
        "n_out": shapes[f"{prefix}neck.0.weight"][0],
    }


def _finder(shapes: Shapes) -> dict[str, Any]:
    width, n_in = shapes["cellfinder.input_proj.0.weight"][:2]
    if width % _GROUPS:
        raise ValueError(f"CellFinder has {width} channels, which {_GROUPS} does not divide")
    return {
        "n_in": n_in,
        "width": width,
        "n_hidden": shapes["cellfinder.encoder_layers.0.ffn.linear1.weight"][0],
        "n_encoder": _count(shapes, "cellfinder.encoder_layers."),
        "n_decoder": _count(shapes, "cellfinder.decoder_layers."),
        "n_anchors": shapes["cellfinder.position.weight"][0],
        "n_classes": shapes["cellfinder.class_embed.weight"][0],
    }


def _count(shapes: Shapes, prefix: str) -> int:
    """Return the number of layers whose names begin with a prefix and a number."""
    numbers = {key.removeprefix(prefix).split(".", 1)[0] for key in shapes if key.startswith(prefix)}
    return 1 + max((int(n) for n in numbers if n.isdigit()), default=-1)
