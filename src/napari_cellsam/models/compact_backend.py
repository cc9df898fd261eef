"""The compact model on its device, as the engine uses it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import groupby, islice
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.weak import WeakTensorKeyDictionary

from napari_cellsam.models.backend import Decoded, PicturePrompt
from napari_cellsam.models.feature_store import Arrays
from napari_cellsam.models.mask_windows import lay_over, with_room
from napari_cellsam.models.network.attention import RowColumnAttention
from napari_cellsam.models.network.compact import CompactCellSam, Features
from napari_cellsam.models.network.proposals import DenseMaps
from napari_cellsam.models.network.window_decoder import WindowPrompts, window_around
from napari_cellsam.types import SegmentOptions

__all__ = ["CompactBackend"]

_MULTIPLE = 32  # of a picture's sides, the coarsest stride
_AT_ONCE = 64  # prompts decoded together
_LARGEST_HALF = float(np.finfo(np.float16).max)


class _Encoded(NamedTuple):
    features: Features
    maps: DenseMaps


class CompactBackend:
    """Encode, detect and decode with a compact model.

    Parameters
    ----------
    model
        The network; it becomes the back end's own: moved to the device, into the type, and set to inference.
    device
        Where it runs.
    dtype
        ``torch.float32``, or ``torch.bfloat16`` for products in half precision.
    """

    squashes = False
    half_pixel = True
    native_zoom = 1.0
    stride = _MULTIPLE
    can_detect = True
    repeats = True

    def __init__(self, model: CompactCellSam, device: torch.device, dtype: torch.dtype) -> None:
        self.model = model.eval().requires_grad_(False).to(device).to(memory_format=torch.channels_last)
        if dtype != torch.float32:
            for module in self.model.modules():  # once, instead of at every product
                if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d | RowColumnAttention):
                    module.to(dtype)
        self.device, self.dtype = device, dtype
        self._seen = WeakTensorKeyDictionary()
        self.precision = str(dtype).removeprefix("torch.")
        self.side = model.config.field
        self.nominal_diameter = model.config.diameter
        self.n_queries = model.config.n_queries
        self.grid_side = model.masks.side
        self.defaults = SegmentOptions(
            box_score=model.config.box_score,
            score_rule="fixed",
            diameter="auto",
            scaling="tiles",
            clahe=False,  # it was trained with and without, and finds more without
            min_predicted_iou=0.3,
            min_area=12,
            overlap=0.2,
            looks=2,
        )

    @contextmanager
    def _computing(self) -> Iterator[None]:
        with torch.inference_mode(), torch.autocast(self.device.type, self.dtype, self.dtype != torch.float32):
            yield

    def measure(self, prepared: NDArray[np.float32]) -> None:
        """Return nothing: preparation has scaled the whole image already."""

    def encode(self, prepared: NDArray[np.float32], size: tuple[int, int], shared: None = None) -> _Encoded:  # noqa: ARG002 - nothing is shared
        """Return the features of a prepared region ``(3, h, w)`` as a picture of ``size``, padded to whole strides."""
        picture = torch.from_numpy(np.ascontiguousarray(prepared))[None].to(self.device)
        if tuple(picture.shape[-2:]) != size:
            picture = F.interpolate(picture, size, mode="bilinear", antialias=True).clamp_(0, 1)
        height, width = (n + -n % _MULTIPLE for n in size)
        padded = torch.empty(1, 3, height, width, device=self.device, memory_format=torch.channels_last).zero_()
        padded[..., : size[0], : size[1]] = picture
        with self._computing():
            features = self.model.encode(padded)
            return _Encoded(features, self.model.propose(features))

    def pack(self, features: _Encoded) -> Arrays:
        """Return features as arrays by name; bfloat16 becomes float16, which holds all of its digits."""
        return {name: _array(tensor) for name, tensor in _tensors(features)}

    def unpack(self, arrays: Arrays) -> _Encoded | None:
        """Return the features that arrays hold, in this model's type; None if they are not such as `pack` returns."""
        if not self._fit(arrays):
            return None

        def tensor(array: NDArray[Any], dtype: torch.dtype) -> Tensor:
            return torch.from_numpy(array).to(self.device, dtype, memory_format=torch.channels_last)

        # In memory as `encode` leaves them, or sums were taken in another order: the maps are parts of one tensor.
        maps = tensor(np.concatenate([arrays[name] for name in DenseMaps._fields], 1), torch.float32)
        n_channels = [arrays[name].shape[1] for name in DenseMaps._fields]
        return _Encoded(
            Features(*(tensor(arrays[name].copy(), self.dtype) for name in Features._fields)),
            DenseMaps(*maps.split(n_channels, 1)),
        )

    def _fit(self, arrays: Arrays) -> bool:
        """Return whether arrays have the names and shapes of one picture's features."""
        if arrays.keys() != {*Features._fields, *DenseMaps._fields} or arrays["wide"].ndim != 4:
            return False
        height, width = arrays["wide"].shape[2:]
        fine = 2 * height, 2 * width
        config = self.model.config
        shapes: dict[str, tuple[int, ...]] = dict.fromkeys(("wide", "embedding"), (1, config.width, height, width))
        shapes |= {"fine": (1, config.n_fine, *fine), "centre": (1, 1, *fine), "extent": (1, 4, *fine)}
        shapes["inside"] = (1, 2, *fine)
        return min(height, width) > 0 and all(arrays[name].shape == shape for name, shape in shapes.items())

    def n_bytes(self, features: _Encoded) -> int:
        """Return the memory that features take."""
        return sum(tensor.numel() * tensor.element_size() for _, tensor in _tensors(features))

    def detects_from(self, features: _Encoded | Arrays) -> bool:  # noqa: ARG002 - all are whole
        """Return True: prompts and detection need the same features."""
        return True

    def embedding(self, features: _Encoded) -> NDArray[np.float32]:
        """Return the mask branch's embedding ``(256, h, w)``, stride 8."""
        result: NDArray[np.float32] = features.features.embedding[0].float().cpu().numpy()
        return result

    def detect(self, features: _Encoded) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return all boxes ``(N, 4)`` x0, y0, x1, y1 and scores ``(N,)``, best first."""
        config = self.model.config
        with self._computing():
            points, proposed = self.model.proposals.peaks(features.maps, self.n_queries)
            likely = proposed[0] > config.proposal_floor
            if not bool(likely.any()):
                return np.zeros((0, 4), np.float32), np.zeros(0, np.float32)
            found = self.model.find(features.features, features.maps, points[:, likely])
        scores, boxes = found.logits[-1][0].float().sigmoid(), found.boxes[-1][0].float()
        scores, order = scores.sort(descending=True)
        return boxes[order].cpu().numpy(), scores.cpu().numpy()

    def score_cut(self, scores: NDArray[np.float32], options: SegmentOptions) -> float:  # noqa: ARG002 - has one rule
        """Return the score above which a box counts: the option itself."""
        return float(options.box_score or 0.0)

    def outlined_from(self, scores: NDArray[np.float32], options: SegmentOptions) -> float:
        """Return the score above which a box is outlined: its outline may make up for a low one."""
        return min(self.score_cut(scores, options), self.model.config.score.floor)

    def cell_score(self, score: float, predicted_iou: float, options: SegmentOptions) -> float | None:
        """Return how sure the model is of an outlined cell; None if not enough."""
        joint = self.model.config.score.of(score, predicted_iou)
        return joint if joint >= (options.box_score or 0.0) else None

    def decode(
        self,
        features: _Encoded,
        prompts: list[PicturePrompt],
        *,
        whole: bool = False,  # noqa: ARG002 - a window is always decoded whole
        threshold: float = 0.5,  # noqa: ARG002
    ) -> list[Decoded]:
        """Return one mask per prompt; a window is always decoded whole."""
        results: dict[int, Decoded] = {}
        for members in self._alike(prompts):
            with self._computing():
                asked = self._window_prompts(features, [prompts[i] for i in members])
                logits, iou = self.model.masks(features.features.embedding, features.features.fine, asked)
            arrays = (x.float().cpu().numpy() for x in (logits, asked.windows, iou.clamp(0, 1)))
            answers = (Decoded(grid, window, float(score)) for grid, window, score in zip(*arrays, strict=True))
            results.update(zip(members, answers, strict=True))
        return [results[i] for i in range(len(prompts))]

    def _window_prompts(self, features: _Encoded, prompts: list[PicturePrompt]) -> WindowPrompts:
        """Return prompts of equally many points as tensors, each with the window it is decoded in."""
        n, side = len(prompts), self.model.masks.side
        windows = window_around(self._boxes_for(features, prompts))
        n_slots = self._n_slots(prompts[0])
        points, labels = (np.stack(parts) for parts in zip(*(_points_of(p, n_slots) for p in prompts), strict=True))
        previous = told = None
        for i, prompt in enumerate(prompts):
            if prompt.logits is None or prompt.window is None:
                continue
            window = with_room(prompt.window, prompt.logits, prompt.inside)
            logits = lay_over(prompt.logits, prompt.window, window, (side, side))
            if previous is None or told is None:
                previous, told = torch.zeros(n, 1, side, side), torch.zeros(n, dtype=torch.bool)
            windows[i], previous[i, 0], told[i] = torch.from_numpy(window), torch.from_numpy(logits), True
        return WindowPrompts(
            torch.zeros(n, dtype=torch.long, device=self.device),
            windows.to(self.device),
            torch.from_numpy(points).to(self.device),
            torch.from_numpy(labels).to(self.device),
            None if previous is None else previous.to(self.device),
            None if told is None else told.to(self.device),
        )

    def _n_slots(self, prompt: PicturePrompt) -> int:
        """Return how many points a prompt is told in: at least as many as in training, where padding was seen too."""
        n_corners = 0 if prompt.box is None else 2
        return max(self.model.config.n_slots, n_corners + len(prompt.inside) + len(prompt.outside))

    def _alike(self, prompts: list[PicturePrompt]) -> Iterator[tuple[int, ...]]:
        """Yield prompts that are decoded together: of equally many points, or an answer depends on its neighbours."""
        n_slots = [self._n_slots(prompt) for prompt in prompts]
        by_slots = sorted(range(len(prompts)), key=n_slots.__getitem__)
        for _, members in groupby(by_slots, key=n_slots.__getitem__):
            while part := tuple(islice(members, _AT_ONCE)):
                yield part

    def _boxes_for(self, features: _Encoded, prompts: list[PicturePrompt]) -> Tensor:
        """Return ``(N, 4)`` the cell's likely box: the prompt's own, or what CellFinder sees at the clicks."""
        boxes = torch.zeros(len(prompts), 4)
        clicked = [i for i, prompt in enumerate(prompts) if prompt.box is None and len(prompt.inside)]
        if clicked:
            clicks = [torch.from_numpy(prompts[i].inside.copy()) for i in clicked]
            points = torch.cat(clicks)[None].to(self.device)
            tokens = self._tokens(features)
            found = self.model.find(features.features, features.maps, points, alone=True, tokens=tokens)
            seen = found.boxes[-1][0].float().cpu()
            for i, own, at in zip(clicked, seen.split([len(at) for at in clicks]), clicks, strict=True):
                mean = own.mean(0)
                boxes[i] = torch.cat((torch.minimum(mean[:2], at.amin(0)), torch.maximum(mean[2:], at.amax(0))))
        for i, prompt in enumerate(prompts):
            if prompt.box is not None:
                boxes[i] = torch.from_numpy(prompt.box.copy())
        return boxes

    def _tokens(self, features: _Encoded) -> Tensor:
        """Return what CellFinder looks at, for as long as there are features: one click follows another."""
        tokens: Tensor | None = self._seen.get(features.features.wide)
        if tokens is None:
            tokens = self._seen[features.features.wide] = self.model.tokens(features.features)
        return tokens


def _tensors(features: _Encoded) -> Iterator[tuple[str, Tensor]]:
    """Yield the features' tensors by name."""
    for part in features:
        yield from part._asdict().items()


def _array(tensor: Tensor) -> NDArray[np.float16] | NDArray[np.float32]:
    """Return a tensor as an array: float16 for half precision, unless a number is too large for it."""
    half = tensor.dtype in (torch.bfloat16, torch.float16) and bool(tensor.abs().amax() <= _LARGEST_HALF)
    array: NDArray[np.float16] = tensor.to(torch.float16 if half else torch.float32).cpu().contiguous().numpy()
    return array


def _points_of(prompt: PicturePrompt, n_slots: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return a prompt's points and box corners ``(P, 2)`` with SAM's labels ``(P,)``, padded to the slots."""
    corners = np.zeros((0, 2), np.float32) if prompt.box is None else prompt.box.reshape(2, 2)
    told = np.concatenate((corners, prompt.inside, prompt.outside))
    points, labels = np.zeros((n_slots, 2), np.float32), np.full(n_slots, -1)
    points[: len(told)] = told
    labels[: len(told)] = [2, 3][: len(corners)] + [1] * len(prompt.inside) + [0] * len(prompt.outside)
    return points, labels
