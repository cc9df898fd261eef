"""Prompts are drawn from the cells that they ask for, and corrections from the largest error."""

import pytest
import torch

from napari_cellsam.training.prompts import N_DRAWN, choose_cells, correct, draw_prompts, window_targets
from napari_cellsam.training.targets import cells_of


def disc_labels(*discs, side=64):
    """Return (1, side, side) labels of discs y, x, radius."""
    y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    labels = torch.zeros(1, side, side, dtype=torch.int32)
    for number, (cy, cx, radius) in enumerate(discs, start=1):
        labels[0][(y - cy) ** 2 + (x - cx) ** 2 <= radius**2] = number
    return labels


@pytest.fixture
def cells():
    torch.manual_seed(0)
    one = disc_labels((15, 15, 9), (45, 40, 12), (15, 50, 7))
    return cells_of(torch.cat((one, disc_labels((30, 30, 20)), torch.zeros_like(one))))


def no_guess(cells):
    return torch.full_like(cells.boxes, torch.nan)


def draw(cells, **options):
    chosen = torch.arange(len(cells.areas)).repeat(50)
    return chosen, draw_prompts(cells, chosen, no_guess(cells), **options)


def test_at_most_so_many_cells_of_each_picture_are_chosen(cells):
    chosen = choose_cells(cells, 2)
    assert cells.picture[chosen].tolist() == [0, 0, 1]
    assert len(set(chosen.tolist())) == 3
    assert {tuple(sorted(choose_cells(cells, 2)[:2].tolist())) for _ in range(40)} == {(0, 1), (0, 2), (1, 2)}


def test_without_cells_none_is_chosen():
    assert len(choose_cells(cells_of(torch.zeros(2, 8, 8, dtype=torch.int32)), 3)) == 0


def test_clicks_lie_where_they_say(cells):
    chosen, prompts = draw(cells, box_share=0.0)
    assert set(prompts.labels.unique().tolist()) == {-1, 0, 1}
    for row, points, labels in zip(chosen, prompts.points, prompts.labels, strict=True):
        for (x, y), label in zip(points.round().long().tolist(), labels.tolist(), strict=True):
            if label >= 0 and 0 <= x < 64 and 0 <= y < 64:
                hit = bool(cells.index[cells.picture[row], y, x] == row + 1)
                assert hit == (label == 1)


def test_boxes_are_a_little_off(cells):
    chosen, prompts = draw(cells, box_share=1.0)
    assert (prompts.labels[:, :2] == torch.tensor([2, 3])).all() and prompts.labels.shape[1] == N_DRAWN + 1
    error = prompts.points[:, :2].flatten(1) - cells.boxes[chosen]
    size = (cells.boxes[chosen, 2:] - cells.boxes[chosen, :2] + 1).repeat(1, 2)
    assert 0.03 < float((error / size).std()) < 0.07
    assert (prompts.windows[:, :2] < prompts.points[:, 0]).all() and (
        prompts.windows[:, 2:] > prompts.points[:, 1]
    ).all()


def test_guessed_boxes_stand_for_half(cells):
    guesses = cells.boxes + 0.25
    chosen = torch.arange(len(cells.areas)).repeat(100)
    prompts = draw_prompts(cells, chosen, guesses, box_share=1.0)
    guessed = (prompts.points[:, :2].flatten(1) == guesses[chosen]).all(1).float().mean()
    assert 0.4 < float(guessed) < 0.6


def test_the_target_of_a_window_is_the_disc_in_it():
    cells = cells_of(disc_labels((32, 32, 16)))
    # The window begins at the centre of the disc: a quarter of it fills the window.
    windows = torch.tensor([[32.5, 32.5, 48.5, 48.5], [0.0, 0.0, 64.0, 64.0], [-40.0, -40.0, -8.0, -8.0]])
    target, known = window_targets(cells, torch.tensor([0, 0, 0]), windows, 16)
    assert known.shape == target.shape and known.min() == 1
    assert target.shape == (3, 16, 16) and target.min() >= 0 and target.max() <= 1
    assert target[0, 0, :12].min() == 1 and target[0, -1, -1] == 0
    assert float(target[0].mean()) == pytest.approx(torch.pi / 4, abs=0.05)
    assert float(target[1].mean()) == pytest.approx(torch.pi / 16, abs=0.01)
    assert target[2].max() == 0
    assert target[1].equal(target[1].T)


def test_other_cells_are_no_part_of_the_target():
    cells = cells_of(disc_labels((16, 16, 10), (45, 45, 10)))
    target, _ = window_targets(cells, torch.tensor([1]), torch.tensor([[0.0, 0.0, 64.0, 64.0]]), 16)
    assert target[0, :8, :8].max() == 0 and target[0, 11, 11] == 1


def corrected(answer, truth, window=(0.0, 0.0, 32.0, 32.0), unknown=None):
    cells = cells_of(disc_labels((16, 16, 10)))
    prompts = draw_prompts(cells, torch.tensor([0]), no_guess(cells))._replace(windows=torch.tensor([window]))
    logits = torch.where(answer, 4.0, -4.0)[None]
    known = torch.ones(1, 16, 16) if unknown is None else 1 - unknown.float()[None]
    return correct(prompts, logits, truth.float()[None], known), logits


def test_the_corrective_click_lies_in_the_largest_error():
    truth, answer = torch.zeros(16, 16, dtype=torch.bool), torch.zeros(16, 16, dtype=torch.bool)
    truth[2:10, 2:10] = True
    answer[2:10, 2:4] = True  # 48 pixels are missing on the right
    answer[14:16, 13:16] = True  # 6 are too many below
    prompts, logits = corrected(answer, truth)
    x, y = (prompts.points[0, -1] + 0.5) / 2  # two pixels of the picture per pixel of the mask
    assert 4 <= x < 10 and 2 <= y < 10 and prompts.labels[0, -1] == 1
    assert prompts.previous.equal(logits[:, None]) and prompts.has_previous.all()


def test_the_corrective_click_is_outside_where_too_much_was_answered():
    truth, answer = torch.zeros(16, 16, dtype=torch.bool), torch.zeros(16, 16, dtype=torch.bool)
    truth[2:6, 2:6] = True
    answer[2:16, 2:6] = True
    prompts, _ = corrected(answer, truth, (10.0, 20.0, 26.0, 36.0))
    x, y = prompts.points[0, -1] - torch.tensor([10.0, 20.0])
    assert prompts.labels[0, -1] == 0 and 2 <= x + 0.5 < 6 and 6 <= y + 0.5 < 16


def test_a_right_answer_needs_no_click():
    truth = torch.zeros(16, 16, dtype=torch.bool)
    truth[2:6, 2:6] = True
    prompts, _ = corrected(truth, truth)
    assert prompts.labels[0, -1] == -1


def test_each_correction_has_a_slot_of_its_own():
    truth, nothing = torch.zeros(16, 16, dtype=torch.bool), torch.zeros(16, 16, dtype=torch.bool)
    truth[2:10, 2:10] = True
    cells = cells_of(disc_labels((16, 16, 10)))
    prompts = draw_prompts(cells, torch.tensor([0]), no_guess(cells), n_slots=7, box_share=0.0)
    assert (prompts.labels[0, N_DRAWN:] == -1).all()
    before = prompts.points[:, :N_DRAWN].clone()
    for turn in range(3):
        logits = torch.where(nothing, 4.0, -4.0)[None]
        prompts = correct(prompts, logits, truth.float()[None], torch.ones(1, 16, 16), N_DRAWN + turn)
        assert prompts.labels[0, N_DRAWN:].tolist() == [1] * (turn + 1) + [-1] * (2 - turn)
    assert prompts.points[:, :N_DRAWN].equal(before)


def test_nobody_clicks_where_the_truth_is_unknown():
    truth, answer, unknown = (torch.zeros(16, 16, dtype=torch.bool) for _ in range(3))
    truth[2:6, 2:6] = answer[2:6, 2:6] = True
    answer[10:, 10:] = True
    assert corrected(answer, truth)[0].labels[0, -1] == 0
    unknown[10:, 10:] = True
    assert corrected(answer, truth, unknown=unknown)[0].labels[0, -1] == -1


def test_the_target_of_a_window_says_where_it_is_known():
    labels = disc_labels((16, 16, 10))
    labels[:, :, 32:] = -1
    cells = cells_of(labels)
    target, known = window_targets(cells, torch.tensor([0]), torch.tensor([[0.0, 0.0, 64.0, 64.0]]), 16)
    assert known[0, :, :8].min() == 1 and known[0, :, 8:].max() == 0 and target[0, :, 8:].max() == 0
