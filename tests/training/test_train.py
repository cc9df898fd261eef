"""Training runs within its budget, goes on from its checkpoint, and what it made can be shipped."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from napari_cellsam.engine import Model, load_model
from napari_cellsam.errors import CheckpointError, OptionError
from napari_cellsam.models.compact_backend import CompactBackend
from napari_cellsam.models.network.compact import CompactCellSam, CompactConfig
from napari_cellsam.models.weights import Network
from napari_cellsam.training.checkpoint import read_checkpoint
from napari_cellsam.training.crops import CropOptions
from napari_cellsam.training.objective import losses
from napari_cellsam.training.release import averaged_model, save_release
from napari_cellsam.training.train import TrainOptions, _learn, _optimizer, _schedule, train


@pytest.fixture
def options(tmp_path):
    # fp32: torch 2.15's bf16 convolutions of few channels corrupt memory on some processors
    crops = CropOptions(side=64)
    return TrainOptions(None, tmp_path / "run", minutes=1.5 / 60, batch=2, precision="fp32", workers=0, crops=crops)


def states(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def test_training_keeps_its_budget_and_goes_on_from_its_checkpoint(options, tiny_config):
    told = []
    first = train(options, tiny_config, told.append)
    state = read_checkpoint(options.out / "checkpoint.pt")
    assert state["step"] >= 1 and 1.5 <= state["spent_s"] < 60
    assert all(torch.equal(state["average"][name], tensor) for name, tensor in first.state_dict().items())
    again = train(options)  # the budget is spent: nothing happens, and the size comes from the checkpoint
    assert all(torch.equal(a, b) for a, b in zip(first.state_dict().values(), again.state_dict().values(), strict=True))
    train(replace(options, minutes=(state["spent_s"] + 0.5) / 60))
    more = read_checkpoint(options.out / "checkpoint.pt")
    assert more["step"] > state["step"] and more["spent_s"] > state["spent_s"]
    assert all(bool(tensor.isfinite().all()) for tensor in more["average"].values())


def test_a_model_of_an_early_design_can_be_gone_on_from(options, tiny_config, tmp_path):
    early = CompactCellSam(replace(tiny_config, n_retouch=0, n_slots=5)).eval()
    save_release(early, tmp_path / "early.safetensors")
    trained = train(replace(options, start=tmp_path / "early.safetensors", masks_from=0.0))
    assert (trained.config.n_retouch, trained.config.n_slots) == (CompactConfig().n_retouch, CompactConfig().n_slots)
    kept = {name: weight.detach().half().float() for name, weight in early.named_parameters() if weight.ndim > 1}
    same = {name for name, weight in kept.items() if torch.equal(weight, trained.state_dict()[name])}
    assert same == {name for name in kept if not name.startswith(("neck.", "masks."))}


def test_a_model_of_another_design_is_nothing_to_start_from(options, tmp_path, monkeypatch):
    monkeypatch.setattr("napari_cellsam.training.train.load_network", lambda path: Network("sam", torch.nn.Identity()))
    with pytest.raises(OptionError, match="expected a compact one to start from"):
        train(replace(options, start=tmp_path / "sam.pth"))


def test_the_second_stage_changes_neck_and_masks_only(options, tiny_compact):
    from napari_cellsam.training.checkpoint import Run

    run = Run(tiny_compact, tiny_compact, _optimizer(tiny_compact, 1e-2))
    labels = torch.zeros(2, 64, 64, dtype=torch.int32)
    labels[:, 10:40, 10:40] = 1
    pictures = (torch.rand(2, 3, 64, 64) * 255).byte()
    before = states(tiny_compact)
    _learn(run, (pictures, labels), options, share=0.95)
    changed = {name for name, tensor in states(tiny_compact).items() if not torch.equal(tensor, before[name])}
    assert changed and all(name.startswith(("neck.", "masks.")) for name in changed)
    _learn(run, (pictures, labels), options, share=0.1)
    changed = {name for name, tensor in states(tiny_compact).items() if not torch.equal(tensor, before[name])}
    assert any(name.startswith("backbone.") for name in changed)


def test_a_gradient_that_is_no_number_changes_nothing(options, tiny_compact, monkeypatch):
    from napari_cellsam.training.checkpoint import Run

    def broken(*args, **kwargs):
        parts = losses(*args, **kwargs)
        next(iter(parts.values())).register_hook(lambda gradient: gradient * float("nan"))
        return parts

    run = Run(tiny_compact, tiny_compact, _optimizer(tiny_compact, 1e-2))
    labels = torch.zeros(2, 64, 64, dtype=torch.int32)
    labels[:, 10:40, 10:40] = 1
    before = {name: weight.detach().clone() for name, weight in tiny_compact.named_parameters()}
    monkeypatch.setattr("napari_cellsam.training.train.losses", broken)
    parts = _learn(run, ((torch.rand(2, 3, 64, 64) * 255).byte(), labels), options, share=0.1)
    assert parts and np.isfinite(list(parts.values())).all()
    assert all(torch.equal(weight, before[name]) for name, weight in tiny_compact.named_parameters())


def test_the_learning_rate_warms_up_and_falls_in_both_stages():
    rates = [_schedule(share, 0.8) for share in (0.0, 0.01, 0.02, 0.4, 0.79, 0.8, 0.9, 0.999)]
    assert rates[0] == 0 and rates[0] < rates[1] < rates[2] and rates[2] > rates[3] > rates[4]
    assert rates[5] == pytest.approx(0.4) and rates[5] > rates[6] > rates[7] > 0
    assert _schedule(0.999, 1.0) < 0.05  # without a second stage


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04 half a zip"])
def test_a_broken_checkpoint_is_not_overwritten_but_reported(options, content):
    options.out.mkdir()
    path = options.out / "checkpoint.pt"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="move it away"):
        train(options)
    assert path.read_bytes() == content


@pytest.mark.parametrize("content", [{"model": {}}, [1, 2], {"step": 3}])
def test_a_file_of_something_else_is_no_checkpoint(options, content):
    options.out.mkdir()
    torch.save(content, options.out / "checkpoint.pt")
    with pytest.raises(CheckpointError, match="no checkpoint of a training run"):
        train(options)


def test_a_checkpoint_of_another_version_is_refused(options, tiny_config, tiny_compact):
    options.out.mkdir()
    state = {"model": {}, "average": {}, "optimizer": {}, "config": tiny_config.to_dict(), "step": 1, "spent_s": 0.0}
    torch.save(state, options.out / "checkpoint.pt")
    with pytest.raises(CheckpointError, match="does not fit"):
        train(options)
    with pytest.raises(CheckpointError, match="do not fit"):
        averaged_model(options.out / "checkpoint.pt")


def test_without_a_checkpoint_there_is_nothing_to_release(tmp_path):
    with pytest.raises(CheckpointError, match="train first"):
        averaged_model(tmp_path / "checkpoint.pt")


@pytest.mark.parametrize(
    "wrong", [{"minutes": 0}, {"minutes": float("nan")}, {"batch": 0}, {"masks_from": -0.1}, {"workers": -1}]
)
def test_options_outside_their_range_are_refused(tmp_path, wrong):
    with pytest.raises(OptionError):
        TrainOptions(None, tmp_path, **wrong)


def test_a_release_finds_the_same_as_the_model_it_was_made_of(tmp_path, tiny_compact):
    model = tiny_compact
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1) if parameter.ndim > 1 else None
    path = tmp_path / "small.safetensors"
    save_release(model, path, box_score=0.25)
    loaded = load_model(str(path), device="cpu", precision="fp32")
    assert loaded.defaults.box_score == 0.25 and loaded.model_id == "small"
    original = Model(CompactBackend(model, torch.device("cpu"), torch.float32), "original")
    picture = np.random.default_rng(0).random((90, 70), np.float32)
    expected, found = (m.detect(picture, box_score=0.0) for m in (original, loaded))
    assert len(expected) > 0 and abs(len(expected) - len(found)) <= 0.05 * len(expected)
    top = min(len(expected), len(found), 20)
    assert np.allclose(found.scores[:top], expected.scores[:top], atol=0.01)
    assert path.stat().st_size < 2.5 * sum(p.numel() for p in model.parameters()) + 50_000


def test_weights_beyond_half_precision_are_not_written(tmp_path, tiny_compact):
    with torch.no_grad():
        tiny_compact.query_wide.weight[0, 0] = 1e6
    with pytest.raises(CheckpointError, match="half precision"):
        save_release(tiny_compact, tmp_path / "x.safetensors")
    assert list(tmp_path.iterdir()) == []
