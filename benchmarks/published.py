"""Time the published size, step by step, beside segment-anything's own modules with the same weights in the same run.

Usage: python benchmarks/published.py [--weights FILE] [--threads 2] [--boxes 200] [--precision fp32 bf16]
Without weights they are random, which takes the same time.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from napari_cellsam.models.network.cellsam import CellSam, CellSamConfig
from napari_cellsam.models.network.inputs import mask_input, squash
from napari_cellsam.models.network.mask_decoding import FieldPrompt
from napari_cellsam.models.weights import load_network

Result = dict[str, torch.Tensor]

FEW = 8  # prompts that segment-anything decodes one at a time, as the published package does


def main() -> None:
    """Print a table of seconds per step and of the distance between precisions."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--boxes", type=int, default=200)
    parser.add_argument("--precision", nargs="+", choices=["fp32", "bf16"], default=["fp32", "bf16"])
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    model = load_network(arguments.weights).model if arguments.weights else CellSam(CellSamConfig()).eval()
    assert isinstance(model, CellSam)
    picture, prompts = _picture(), _prompts(arguments.boxes)
    results = {}
    with torch.inference_mode():
        if "fp32" in arguments.precision:
            print("segment-anything, fp32")
            _time_plain(model, picture, prompts)
            print("ours, fp32")
            results["fp32"] = _time_ours(model, picture, prompts)
        if "bf16" in arguments.precision:
            model.use_bfloat16()
            print("ours, bf16")
            results["bf16"] = _time_ours(model, picture, prompts)
    if len(results) == 2:
        _print_distances(results["fp32"], results["bf16"])


def _print_distances(full: Result, half: Result) -> None:
    for name, one in full.items():
        error = half[name] - one
        rms, size = error.square().mean().sqrt(), one.square().mean().sqrt()
        print(f"bf16 - fp32  {name:10} rms {rms:.2e} of {size:.2e}, at most {error.abs().max():.2e}")


def _picture() -> torch.Tensor:
    picture = torch.rand(3, 512, 512)
    picture[0] = 0
    return picture


def _prompts(n: int) -> list[FieldPrompt]:
    """Return boxes of 30 to 80 pixels of the field."""
    corner, size = torch.rand(n, 2) * 900, 30 + 50 * torch.rand(n, 2)
    return [FieldPrompt(box=box) for box in torch.cat((corner, corner + size), 1)]


def _time_ours(model: CellSam, picture: torch.Tensor, prompts: list[FieldPrompt]) -> Result:
    features = _clock("detector's encoder", lambda: model.encode_detector(picture))
    embedding = _clock("mask branch's encoder", lambda: model.encode_mask(picture))
    _clock("anchors, once per model", lambda: model.cellfinder and model.cellfinder.anchor_start())
    logits, boxes = _clock("boxes", lambda: model.find(features))
    # Random weights know no cells, so no mask ends at its crop: none is decoded twice, as with true masks.
    found = _clock("masks", lambda: model.decode(embedding, prompts, edge_logit=float("inf")))
    masks = torch.cat([crop.flatten() for crop in found.logits])
    named = {"features": features, "embedding": embedding, "logits": logits, "boxes": boxes, "masks": masks}
    return named | {"iou": found.iou}


def _time_plain(model: CellSam, picture: torch.Tensor, prompts: list[FieldPrompt]) -> None:
    seen = mask_input(squash(picture, model.side), model.measure_scale(picture), model.config.layout)[None]
    model.image_encoder(seen)  # the process's first heavy work, which the other does not pay for either
    embedding = _clock("mask branch's encoder", lambda: model.image_encoder(seen))
    codes, few = model.prompt_encoder.get_dense_pe(), prompts[:FEW]

    def decode() -> None:
        for prompt in few:
            assert prompt.box is not None
            sparse, dense = model.prompt_encoder(None, prompt.box[None], None)
            model.mask_decoder(embedding, codes, sparse, dense, multimask_output=False)

    _clock("masks", decode, len(prompts) / len(few))


def _clock(name: str, work: Callable[[], Any], times: float = 1) -> Any:
    """Do some work and print its seconds, on the wall and of the processor, which other programs disturb less."""
    wall, processor = time.perf_counter(), time.process_time()
    result = work()
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    print(f"  {name:24}{wall * times:8.2f} s wall{processor * times:8.2f} s of cores", flush=True)
    return result


if __name__ == "__main__":
    main()
