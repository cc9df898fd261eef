"""Losses of crops are the same however they are divided, where they are means."""

import pytest
import torch

from napari_cellsam.errors import DeviceMemoryError
from napari_cellsam.models.memory_limits import OutOfMemoryError
from napari_cellsam.training.crop_losses import CropBatch, gradient_steps, loss_steps


class Line:
    """A learner of one number: the loss of a crop is its labels' mean times that, and a random one of its own."""

    can_detect = True

    def __init__(self):
        self.network = torch.nn.Linear(1, 1, bias=False)
        self.stages = []

    def losses(self, pictures, labels, stage):
        self.stages.append(stage)
        if not len(labels):
            return {}
        return {"mean": labels.float().mean() * self.network.weight.sum(), "chance": torch.rand(())}


BATCH = CropBatch(torch.zeros(5, 3, 32, 32, dtype=torch.uint8), torch.arange(5).repeat_interleave(1024).view(5, 32, 32))


def run(steps):
    while True:
        try:
            assert next(steps) is None
        except StopIteration as end:
            return end.value


@pytest.mark.parametrize("n_at_once", [1, 2, 3, 5, 9])
def test_gradients_add_up_to_that_of_the_mean(n_at_once):
    learner = Line()
    means = run(gradient_steps(learner, BATCH, "detector", n_at_once, (0, 0)))
    assert float(learner.network.weight.grad) == pytest.approx(2.0)
    assert means["mean"] == pytest.approx(2.0 * float(learner.network.weight.detach()))
    assert learner.stages == ["detector"] * -(-5 // n_at_once)


def test_chance_follows_from_the_seed():
    draw = [run(gradient_steps(Line(), BATCH, "joint", 2, seed))["chance"] for seed in ((0, 1), (0, 1), (1, 0), (0, 2))]
    assert draw[0] == draw[1] and len(set(draw)) == 3


def test_validation_leaves_no_gradient_and_is_the_same_every_time():
    learner = Line()
    one, other = (run(loss_steps(learner, BATCH)) for _ in range(2))
    assert one == other and learner.network.weight.grad is None
    assert one["mean"] == pytest.approx(2.0 * float(learner.network.weight.detach()))
    assert learner.stages == ["joint"] * 10


def test_a_model_without_a_detector_is_validated_on_masks():
    learner = Line()
    learner.can_detect = False
    run(loss_steps(learner, BATCH))
    assert set(learner.stages) == {"masks"}


def test_a_crop_that_does_not_fit_says_what_to_do(monkeypatch):
    learner = Line()

    def losses(*parts):
        raise OutOfMemoryError("full")

    monkeypatch.setattr(learner, "losses", losses)
    with pytest.raises(DeviceMemoryError, match="smaller side"):
        run(loss_steps(learner, BATCH))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_leaves_no_gradient(monkeypatch, value):
    learner = Line()
    monkeypatch.setattr(learner, "losses", lambda *parts: {"mean": learner.network.weight.sum() * value})
    run(gradient_steps(learner, BATCH, "joint", 5, (0, 0)))
    assert learner.network.weight.grad is None


def test_crops_without_a_cell_cost_nothing(monkeypatch):
    learner = Line()
    monkeypatch.setattr(learner, "losses", lambda *parts: {})
    assert run(gradient_steps(learner, BATCH, "masks", 2, (0, 0))) == {}
    assert learner.network.weight.grad is None
