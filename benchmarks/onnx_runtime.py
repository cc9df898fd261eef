"""Time the compact model's encoder and mask decoder in torch and in ONNX Runtime, alternately, in the same run.

Usage: python benchmarks/onnx_runtime.py [--threads 2] [--cells 64]
It needs onnx, onnxruntime and onnxscript.

The encoder, with its dense head, sees a synthetic picture of 512 x 512 pixels. The decoder is what follows the cutting
of windows and the encoding of prompts; it is given random numbers, which take the same time. int8 is ONNX Runtime's
static quantization, of weights by channel, calibrated on two more pictures. Printed per part: milliseconds, the fastest
of all turns since other work only adds, and how far the first output is from that of torch in fp32 (norm of the
difference by norm).
"""

from __future__ import annotations

import copy
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import onnxruntime
import torch
import typer
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from torch import Tensor, nn

from napari_cellsam.data.synthetic import synthesize
from napari_cellsam.models.network.compact import CompactCellSam
from napari_cellsam.models.network.window_decoder import WindowDecoder
from napari_cellsam.models.registry import find_weights
from napari_cellsam.models.weights import load_network

_SIDE = 512
_TURNS = 12
_PAUSE_S = 0.1  # before each turn: threads of the turn before still spin for a while
_IN_HALF = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)  # whose weights the service holds in bf16

Inputs = tuple[Tensor, ...]
Run = Callable[[], Any]


class Encoder(nn.Module):
    """Image encoder and dense head."""

    def __init__(self, model: CompactCellSam) -> None:
        super().__init__()
        self.model = model

    def forward(self, picture: Tensor) -> Inputs:
        """Return the head's maps and the features of ``(1, 3, H, W)``."""
        features = self.model.encode(picture)
        return (*self.model.propose(features), *features)


class Decoder(nn.Module):
    """The mask decoder behind the cutting of windows and the encoding of prompts."""

    def __init__(self, masks: WindowDecoder) -> None:
        super().__init__()
        self.masks = masks
        self.register_buffer("position", masks.prompt_encoder.get_dense_pe().detach())

    def forward(self, tokens: Tensor, skip: Tensor, sparse: Tensor, marks: Tensor) -> Inputs:
        """Return mask logits ``(N, side, side)`` and predicted IoU ``(N, 1)``."""
        masks, decoder, n = self.masks, self.masks.mask_decoder, len(tokens)
        dense = masks.prompt_encoder.no_mask_embed.weight[:, :, None, None] + masks.retouch.of_tokens(marks)
        queries = torch.cat((decoder.iou_token.weight, decoder.mask_tokens.weight))[None].expand(n, -1, -1)
        queries = torch.cat((queries, sparse), 1)
        hidden, tokens = decoder.transformer(tokens + dense, self.position.expand(n, -1, -1, -1), queries)
        grid = tokens.transpose(1, 2).unflatten(2, (masks.n_tokens, masks.n_tokens))
        first, norm, activation, second, last = decoder.output_upscaling
        grid = second(activation(norm(first(grid)))) + skip
        grid = last(grid + masks.retouch.of_pixels(torch.cat((grid, skip, marks), 1)))
        weights = decoder.output_hypernetworks_mlps[0](hidden[:, 1])
        return torch.einsum("nc,nchw->nhw", weights, grid.to(weights.dtype)), decoder.iou_prediction_head(hidden[:, 0])


@dataclass(frozen=True, eq=False)
class Part:
    """A part of the model, with what it is given; the first inputs are timed, the others calibrate int8."""

    name: str
    module: nn.Module
    inputs: tuple[Inputs, ...]


class Calibration(CalibrationDataReader):
    """Hands inputs to the quantization."""

    def __init__(self, feeds: list[dict[str, NDArray[Any]]]) -> None:
        self._feeds = iter(feeds)

    def get_next(self) -> dict[str, NDArray[Any]] | None:
        """Return the next inputs by name, or None."""
        return next(self._feeds, None)


def parts_of(model: CompactCellSam, n_cells: int) -> list[Part]:
    """Return the two parts."""
    rng, noise = np.random.default_rng(0), torch.Generator().manual_seed(0)
    pictures = [synthesize("fluorescent_nuclei", (_SIDE, _SIDE), rng).pixels.astype(np.float32) for _ in range(3)]
    planes = [torch.from_numpy(p.reshape(_SIDE, _SIDE, -1)[..., 0] / p.max()) for p in pictures]
    seen = [(torch.stack((torch.zeros_like(x), torch.zeros_like(x), x))[None],) for x in planes]
    width, config, side = model.config.width, model.config, model.masks.side
    shapes = (
        (n_cells, width, config.n_tokens, config.n_tokens),
        (n_cells, width // 8, side, side),
        (n_cells, config.n_slots, width),
        (n_cells, 3, side, side),
    )
    asked = [tuple(torch.randn(shape, generator=noise) for shape in shapes) for _ in range(3)]
    encoder, decoder = Encoder(model).eval(), Decoder(model.masks).eval()
    return [Part("encoder", encoder, tuple(seen)), Part("decoder", decoder, tuple(asked))]


def in_torch(module: nn.Module, inputs: Inputs, dtype: torch.dtype) -> Run:
    """Return what runs a module as the service does."""
    given = [x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 and len(x) == 1 else x for x in inputs]

    def run() -> list[NDArray[np.float32]]:
        with torch.inference_mode(), torch.autocast("cpu", dtype, dtype != torch.float32):
            return [x.float().numpy() for x in module(*given)]

    return run


def in_half(module: nn.Module) -> nn.Module:
    """Return a copy whose products' weights are held in bf16."""
    result = copy.deepcopy(module)
    for part in result.modules():
        if isinstance(part, _IN_HALF):
            part.to(torch.bfloat16)
    return result


def in_onnx(part: Part, folder: Path, threads: int) -> dict[str, Run]:
    """Return what runs a part in ONNX Runtime, by precision."""
    plain, cleaned, quantized = (folder / f"{part.name}-{kind}.onnx" for kind in ("fp32", "cleaned", "int8"))
    with torch.no_grad():
        torch.onnx.export(part.module, part.inputs[0], plain, dynamo=True, external_data=False, verbose=False)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    names = [x.name for x in onnxruntime.InferenceSession(plain, options).get_inputs()]
    feeds = [{name: x.numpy() for name, x in zip(names, given, strict=True)} for given in part.inputs]
    quant_pre_process(plain, cleaned)
    # activations without a sign: what processors multiply fastest
    calibration = Calibration(feeds[1:])
    quantize_static(cleaned, quantized, calibration, per_channel=True, activation_type=QuantType.QUInt8)
    runs: dict[str, Run] = {}
    for kind, path in (("ONNX Runtime fp32", plain), ("ONNX Runtime int8", quantized)):
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        runs[kind] = lambda session=session: session.run(None, feeds[0])
    return runs


def main(
    threads: Annotated[int, typer.Option(min=1, help="Threads of each.")] = 2,
    cells: Annotated[int, typer.Option(min=1, help="That are decoded at once.")] = 64,
) -> None:
    """Print the table."""
    torch.set_num_threads(threads)
    model = load_network(find_weights("compact")).model.eval()
    with tempfile.TemporaryDirectory() as folder:
        for part in parts_of(model, cells):
            runs = in_onnx(part, Path(folder), threads)
            runs["torch fp32"] = in_torch(part.module, part.inputs[0], torch.float32)
            runs["torch bf16"] = in_torch(in_half(part.module), part.inputs[0], torch.bfloat16)
            seconds: dict[str, list[float]] = {kind: [] for kind in runs}
            for _ in range(_TURNS):
                for kind, run in runs.items():
                    seconds[kind].append(timed(run))
            truth = runs["torch fp32"]()[0]
            for kind, times in sorted(seconds.items()):
                off = float(np.linalg.norm(runs[kind]()[0] - truth) / np.linalg.norm(truth))
                print(f"{part.name:8} {kind:18} {min(times) * 1e3:7.1f} ms   off by {off:.4f}")


def timed(run: Run) -> float:
    """Return the seconds that something takes."""
    time.sleep(_PAUSE_S)
    begun = time.perf_counter()
    run()
    return time.perf_counter() - begun


if __name__ == "__main__":
    typer.run(main)
