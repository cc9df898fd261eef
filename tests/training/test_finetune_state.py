"""The state of a fine-tuning averages, keeps the best, and comes back from its file as it was."""

import math

import pytest
import torch

from napari_cellsam.errors import CheckpointError, OutputError
from napari_cellsam.training.finetune_state import FinetuneState
from napari_cellsam.training.learner import CompactLearner


@pytest.fixture
def state(tiny_compact):
    return FinetuneState.begin(CompactLearner(tiny_compact, torch.device("cpu"), "fp32", False), 1e-3)


def grow(state, by=1.0):
    with torch.no_grad():
        for parameter in state.learner.network.parameters():
            parameter.add_(by)


def test_the_average_follows_and_does_so_faster_in_the_first_steps(state):
    name, start = next(iter(state.average.items()))
    start = start.clone()
    grow(state)
    state.step = 1
    state.follow(0.98)
    torch.testing.assert_close(state.average[name], start + 1 - 2 / 11)
    state.average[name].copy_(start)
    state.step = 10_000
    state.follow(0.98)
    torch.testing.assert_close(state.average[name], start + 0.02)


def test_without_an_average_the_weights_of_now_count(state):
    grow(state)
    state.follow(0.0)
    assert all(torch.equal(state.average[name], tensor) for name, tensor in state.weights().items())


def test_what_is_frozen_is_no_part_of_the_state(tiny_compact):
    frozen = FinetuneState.begin(CompactLearner(tiny_compact, torch.device("cpu"), "fp32", True), 1e-3)
    assert frozen.average and not any(name.startswith("backbone.") for name in frozen.average)
    assert frozen.weights().keys() == frozen.average.keys()


def best_after(state, merits):
    """Return which of some merits the best weights are of."""
    name = next(iter(state.average))
    for i, merit in enumerate(merits):
        state.average[name].fill_(i)
        state.note(merit)
    return int(state.best[name].flatten()[0])


@pytest.mark.parametrize(
    ("merits", "best"),
    [((1, 3, 2), 1), ((1, 1), 1), ((math.nan, 0.1, math.nan), 1), ((math.nan, math.nan), 1), ((-math.inf, -5, -9), 1)],
)
def test_the_best_is_kept_and_of_equals_the_last(state, merits, best):
    assert best_after(state, merits) == best


def test_running_means_leave_out_what_is_infinite(state):
    for value in (1.0, math.nan, math.inf, 2.0):
        state.follow_losses({"mask": value})
    assert state.running == {"mask": pytest.approx(1.05)}


def test_what_was_left_in_the_gradients_is_gone(tiny_compact):
    learner = CompactLearner(tiny_compact, torch.device("cpu"), "fp32", False)
    next(tiny_compact.parameters()).grad = torch.ones_like(next(tiny_compact.parameters()))
    FinetuneState.begin(learner, 1e-3)
    assert all(parameter.grad is None for parameter in tiny_compact.parameters())


def test_no_file_is_no_training_to_go_on_with(state, tmp_path):
    assert not state.load(tmp_path / "checkpoint.pt", "x")


def test_a_checkpoint_of_another_network_is_refused(state, tmp_path):
    path = tmp_path / "checkpoint.pt"
    state.save(path, "x")
    content = torch.load(path, weights_only=True)
    name = next(iter(content["weights"]))
    for wrong in (
        {"weights": {name: torch.zeros(1)}},
        {"weights": content["weights"] | {name: torch.zeros(7, 7)}},
        {"best": {"other": torch.zeros(1)}},
        {"optimizer": {}},
        {"average": 3},
    ):
        torch.save(content | wrong, path)
        with pytest.raises(CheckpointError, match=r"checkpoint.pt does not fit the model .*delete it"):
            state.load(path, "x")


def test_a_pickle_that_would_run_something_is_not_run(state, tmp_path):
    class Evil:
        def __reduce__(self):
            return print, ("run",)

    path = tmp_path / "checkpoint.pt"
    torch.save({"fingerprint": Evil()}, path)
    with pytest.raises(CheckpointError, match="cannot be read") as caught:
        state.load(path, "x")
    assert "weights_only=False" not in str(caught.value)


def test_a_checkpoint_that_cannot_be_written_leaves_the_old_one(state, tmp_path, monkeypatch):
    path = tmp_path / "checkpoint.pt"
    state.save(path, "old")
    kept = path.read_bytes()

    def save(content, to):
        to.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", save)
    with pytest.raises(OutputError, match="No space left"):
        state.save(path, "new")
    assert path.read_bytes() == kept and [p.name for p in tmp_path.iterdir()] == ["checkpoint.pt"]
