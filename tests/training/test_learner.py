"""The learner lets each part learn in its stage, and keeps the rest to the bit."""

import pytest
import torch

from napari_cellsam.models.network.compact import CompactCellSam
from napari_cellsam.models.weights import load_network
from napari_cellsam.training.learner import CompactLearner, grouped
from napari_cellsam.types.finetuning import FinetuneOptions

MASK_BRANCH = {"neck", "masks"}


def make(network, freeze_backbone=False):
    return CompactLearner(network, torch.device("cpu"), "fp32", freeze_backbone)


def parts_that_learn(learner):
    return {name.split(".")[0] for name, p in learner.network.named_parameters() if p.requires_grad}


def parts_of(network):
    return {name.split(".")[0] for name, _ in network.named_parameters()}


def test_each_stage_teaches_its_own(tiny_compact):
    learner, everything = make(tiny_compact), parts_of(tiny_compact)
    learner.set_stage("detector")
    assert parts_that_learn(learner) == everything - MASK_BRANCH
    learner.set_stage("masks")
    assert parts_that_learn(learner) == MASK_BRANCH
    learner.set_stage("joint")
    assert parts_that_learn(learner) == everything


@pytest.mark.parametrize("stage", ["joint", "detector", "masks"])
def test_a_frozen_encoder_learns_in_no_stage(tiny_compact, stage):
    learner = make(tiny_compact, freeze_backbone=True)
    learner.set_stage(stage)
    assert "backbone" not in parts_that_learn(learner)
    taught = {id(p) for group in learner.groups(1e-3) for p in group["params"]}
    assert not any(id(p) in taught for p in tiny_compact.backbone.parameters())


@pytest.fixture
def batch():
    torch.manual_seed(1)
    labels = torch.zeros(2, 64, 64, dtype=torch.int32)
    labels[:, 10:30, 10:30], labels[:, 40:60, 20:50] = 1, 2
    return (torch.rand(2, 3, 64, 64) * 255).byte(), labels


@pytest.mark.parametrize(
    ("stage", "names"),
    [
        ("joint", {"centre", "extent", "inside", "score", "box", "mask", "quality"}),
        ("detector", {"centre", "extent", "inside", "score", "box"}),
        ("masks", {"mask", "quality"}),
    ],
)
def test_each_stage_costs_what_it_teaches(tiny_compact, batch, stage, names):
    learner = make(tiny_compact)
    learner.set_stage(stage)
    parts = learner.losses(*batch, stage)
    assert parts.keys() == names
    torch.stack(list(parts.values())).sum().backward()
    with_gradients = {name.split(".")[0] for name, p in tiny_compact.named_parameters() if p.grad is not None}
    assert with_gradients <= parts_that_learn(learner) and with_gradients


def test_norms_keep_their_statistics(tiny_compact, batch):
    learner = make(tiny_compact)
    before = {name: tensor.clone() for name, tensor in tiny_compact.named_buffers()}
    learner.losses(*batch, "joint")
    assert before and all(torch.equal(tensor, before[name]) for name, tensor in tiny_compact.named_buffers())


def test_every_parameter_learns_once_attention_slowly_and_vectors_do_not_decay(tiny_compact):
    groups = make(tiny_compact).groups(1e-3)
    taught = [id(p) for group in groups for p in group["params"]]
    assert sorted(taught) == sorted(id(p) for p in tiny_compact.parameters())
    slow = {id(p) for name, p in tiny_compact.named_parameters() if name.startswith(("cellfinder.", "masks."))}
    for group in groups:
        assert {group["base_lr"]} == {0.5e-3 if id(p) in slow else 1e-3 for p in group["params"]}
        assert {group["weight_decay"]} == {0.01 if p.ndim > 1 else 0.0 for p in group["params"]}


def test_without_what_is_frozen_there_are_no_groups(tiny_compact):
    assert grouped(tiny_compact, 1.0, [""]) == []


def test_a_twin_has_other_weights_and_shares_none(tiny_compact):
    learner = make(tiny_compact)
    name = "neck.0.weight"
    twin = learner.twin({name: torch.full_like(tiny_compact.neck[0].weight, 3.0)})
    assert (twin.network.neck[0].weight == 3).all() and not (tiny_compact.neck[0].weight == 3).any()
    twin.backend()
    assert parts_that_learn(twin) == set() and parts_that_learn(learner) == parts_of(tiny_compact)
    shared = {p.data_ptr() for p in twin.network.parameters()} & {p.data_ptr() for p in tiny_compact.parameters()}
    assert not shared


def test_crops_suit_the_diameter_of_the_network(tiny_compact):
    crops = make(tiny_compact).crop_options(FinetuneOptions(side=96, seed=5))
    assert (crops.side, crops.seed) == (96, 5)
    assert crops.augment.diameter == tiny_compact.config.diameter


def test_what_is_saved_is_loaded_again(tiny_compact, tmp_path):
    path = tmp_path / "mine.safetensors"
    make(tiny_compact).save(path)
    loaded = load_network(path).model
    assert isinstance(loaded, CompactCellSam) and loaded.config == tiny_compact.config
    torch.testing.assert_close(loaded.neck[0].weight, tiny_compact.neck[0].weight, atol=1e-3, rtol=1e-3)
