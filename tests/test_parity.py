"""Tests that a checkpoint of the published layout gives the numbers that the published package computes with it."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from napari_cellsam.cli import main
from napari_cellsam.data.prepare import prepare
from napari_cellsam.engine import load_model
from napari_cellsam.models.network.cellsam import CellSam, FieldBoxes, adaptive_cut
from napari_cellsam.models.network.inputs import detector_input, mask_input, squash
from napari_cellsam.models.network.mask_decoding import DecodedMasks, FieldPrompt
from napari_cellsam.models.weights import load_network
from napari_cellsam.types import Image, Prompt, SegmentOptions

pytestmark = [pytest.mark.slow, pytest.mark.shared]

SEED = 1
FIELD = 1024
CASES = ["512x512x1", "1200x700x2", "384x640x1_plain"]
MakeCheckpoint = Callable[[bool], Path]


class Run(NamedTuple):
    """What we compute in one case, and what is expected of it."""

    expected: dict[str, NDArray[np.float32]]
    prepared: torch.Tensor
    detector: torch.Tensor
    mask: torch.Tensor
    features: torch.Tensor
    embedding: torch.Tensor
    found: tuple[torch.Tensor, torch.Tensor]
    boxes: FieldBoxes
    masks: DecodedMasks


@pytest.fixture(scope="module")
def recipe(shared_dir: Path) -> ModuleType:
    """The program that makes the checkpoint and the pictures."""
    spec = importlib.util.spec_from_file_location("make_checkpoint", shared_dir / "parity" / "make_checkpoint.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def make_checkpoint(recipe: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MakeCheckpoint]:
    """Make each layout's file once, and remove it in the end: it has a gigabyte."""
    folder, made = tmp_path_factory.mktemp("checkpoints"), {}

    def make(plain: bool) -> Path:
        if plain not in made:
            made[plain] = folder / f"{'plain' if plain else 'adv'}.pt"
            tensors = recipe.state_dict(SEED, plain)
            torch.save({key: torch.from_numpy(value) for key, value in tensors.items()}, made[plain])
        return made[plain]

    yield make
    for path in made.values():
        path.unlink()


@pytest.fixture(scope="module", params=CASES)
def run(request: pytest.FixtureRequest, shared_dir: Path, recipe: ModuleType, make_checkpoint: MakeCheckpoint) -> Run:
    with np.load(shared_dir / "parity" / f"expected_seed{SEED}_{request.param}.npz") as file:
        expected = dict(file)
    height, width, channels = (int(n) for n in expected["shape"])
    model = load_network(make_checkpoint(bool(expected["plain"]))).model
    assert isinstance(model, CellSam)
    prepared = torch.from_numpy(prepare(Image.from_array(recipe.test_image(SEED, height, width, channels))))
    field, scale = squash(prepared, FIELD), model.measure_scale(prepared)
    prompts = torch.from_numpy(expected["prompt_boxes_xyxy"]).float() * torch.tensor(
        [FIELD / width, FIELD / height] * 2
    )
    with torch.inference_mode():
        features, embedding = model.encode_detector(prepared), model.encode_mask(prepared)
        return Run(
            expected,
            prepared,
            detector_input(field, scale, model.config.layout),
            mask_input(field, scale, model.config.layout),
            features,
            embedding,
            model.find(features),
            model.detect(features),
            model.decode(embedding, [FieldPrompt(box=box) for box in prompts], whole_field=True),
        )


def _agree(ours: torch.Tensor, expected: NDArray[np.float32], tolerance: float) -> None:
    np.testing.assert_allclose(ours.numpy(), expected, rtol=0, atol=tolerance)


def test_the_prepared_picture_agrees(run: Run) -> None:
    _agree(run.prepared.permute(1, 2, 0)[::8, ::8], run.expected["prepared"], 1e-5)


def test_the_inputs_of_both_networks_agree(run: Run) -> None:
    _agree(run.detector[:, ::16, ::16], run.expected["detector_input"], 1e-5)
    _agree(run.mask[:, ::16, ::16], run.expected["mask_input"], 2e-5)


def test_both_image_encoders_agree(run: Run) -> None:
    _agree(run.features[::16, ::4, ::4], run.expected["features"], 1e-4)
    _agree(run.embedding[::8, ::4, ::4], run.expected["embedding"], 1e-4)


def test_every_query_agrees(run: Run) -> None:
    logits, boxes = run.found
    _agree(logits, run.expected["query_logits"], 2e-3)
    _agree(boxes, run.expected["query_boxes_cxcywh"], 1e-3)


def test_scores_and_their_adaptive_cut_agree(run: Run) -> None:
    _agree(run.boxes.scores, run.expected["scores"], 5e-4)
    assert abs(adaptive_cut(run.boxes.scores, 0.4) - run.expected["adaptive_cut"]) <= 5e-4


def test_boxes_lie_in_the_field_where_their_queries_say(run: Run) -> None:
    expected = run.expected["query_boxes_cxcywh"][run.boxes.queries.numpy()] * FIELD
    corners = np.concatenate((expected[:, :2] - expected[:, 2:] / 2, expected[:, :2] + expected[:, 2:] / 2), 1)
    _agree(run.boxes.boxes, corners, 1.5e-3 * FIELD)


def test_masks_and_their_predicted_iou_agree(run: Run) -> None:
    logits = torch.stack(run.masks.logits)
    assert logits.shape == (4, 256, 256)
    _agree(logits[:, ::4, ::4], run.expected["mask_logits_256"], 1e-4)
    _agree(run.masks.iou, run.expected["predicted_iou"], 2e-5)


@pytest.mark.parametrize("case", CASES)
def test_the_engine_gives_the_same_numbers_with_weights_that_were_added(
    case: str,
    shared_dir: Path,
    recipe: ModuleType,
    make_checkpoint: MakeCheckpoint,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    with np.load(shared_dir / "parity" / f"expected_seed{SEED}_{case}.npz") as file:
        expected = dict(file)
    height, width, channels = (int(n) for n in expected["shape"])
    monkeypatch.setenv("NAPARI_CELLSAM_MODELS_DIR", str(tmp_path))
    with pytest.raises(SystemExit) as ended:
        main(["models", "add", str(make_checkpoint(bool(expected["plain"]))), "official", "--link"])
    assert ended.value.code in (0, None)
    model = load_model("official", device="cpu", precision="fp32")
    image = Image.from_array(recipe.test_image(SEED, height, width, channels))
    _agree(torch.from_numpy(model.embed(image).array[::8, ::4, ::4].copy()), expected["embedding"], 1e-4)
    found = model.detect(image, box_score=0.0)
    _agree(torch.from_numpy(found.scores), expected["scores"], 5e-4)
    centres, sides = expected["query_boxes_cxcywh"][:, :2], expected["query_boxes_cxcywh"][:, 2:]
    all_boxes = np.concatenate((centres - sides / 2, centres + sides / 2), 1) * np.array([width, height] * 2)
    nearest = np.abs(found.boxes[:50, None, [1, 0, 3, 2]] - all_boxes).max(-1).min(1)
    assert nearest.max() <= 1.5e-3 * max(height, width)
    prompts = [Prompt(box=box[[1, 0, 3, 2]]) for box in expected["prompt_boxes_xyxy"]]
    masks = model.segment_prompts(image, prompts, SegmentOptions(scaling="squash"), logits=True)
    _agree(torch.from_numpy(np.stack([m.logits for m in masks])[:, ::4, ::4].copy()), expected["mask_logits_256"], 1e-4)
    _agree(torch.tensor([m.score for m in masks]), np.clip(expected["predicted_iou"], 0, 1), 2e-5)
