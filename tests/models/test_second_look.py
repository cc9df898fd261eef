"""A second look at the turned picture: what both looks see is averaged."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_cellsam.models.backend import Decoded, PicturePrompt
from napari_cellsam.models.memory_limits import DecodeWork
from napari_cellsam.models.second_look import Looks, averaged, joined, turned_boxes
from napari_cellsam.models.steps import run_steps
from napari_cellsam.types import SegmentOptions

SIZE = (40, 60)
A, NEARLY_A, B = (10, 10, 29, 29), (12, 10, 31, 29), (40, 5, 49, 14)


def boxes(*rows: tuple[float, ...]) -> np.ndarray:
    return np.array(rows, np.float32).reshape(-1, 4)


def scores(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def test_a_box_turns_with_its_pixels() -> None:
    picture = np.zeros(SIZE, bool)
    picture[3:10, 20:50] = True
    rows, columns = np.nonzero(picture[::-1, ::-1])
    expected = [columns.min(), rows.min(), columns.max(), rows.max()]
    assert turned_boxes(boxes((20, 3, 49, 9)), SIZE)[0].tolist() == expected


@given(st.lists(st.tuples(*[st.floats(0, 60, width=32)] * 4), max_size=5))
def test_turned_twice_is_as_before(rows: list[tuple[float, ...]]) -> None:
    assert turned_boxes(turned_boxes(boxes(*rows), SIZE), SIZE) == pytest.approx(boxes(*rows), abs=1e-4)


def test_what_both_looks_have_is_averaged_and_what_one_has_is_half_as_sure() -> None:
    found, sure = joined((boxes(A, B), scores(0.9, 0.6)), (boxes(NEARLY_A), scores(0.7)))
    assert found.tolist() == [[11, 10, 30, 29], list(B)]
    assert sure.tolist() == pytest.approx([0.8, 0.3])
    found, sure = joined((boxes(NEARLY_A), scores(0.7)), (boxes(A, B), scores(0.9, 0.6)))
    assert found.tolist() == [[11, 10, 30, 29], list(B)]
    assert sure.tolist() == pytest.approx([0.8, 0.3])


def test_a_box_is_joined_with_the_surest_of_those_that_are_near() -> None:
    found, sure = joined((boxes(A), scores(0.9)), (boxes(NEARLY_A, A), scores(0.5, 0.8)))
    assert found.tolist() == [list(A), list(NEARLY_A)]
    assert sure.tolist() == pytest.approx([0.85, 0.25])


@pytest.mark.parametrize("first", [(boxes(), scores()), (boxes(A), scores(0.4))])
def test_a_look_that_shows_nothing_takes_nothing_away(first: tuple[np.ndarray, np.ndarray]) -> None:
    for pair in ((first, (boxes(), scores())), ((boxes(), scores()), first)):
        found, sure = joined(*pair)
        assert found.shape == first[0].shape and found.dtype == sure.dtype == np.float32
        assert sure.tolist() == pytest.approx((first[1] / 2).tolist())


def test_answers_are_averaged_where_they_lie() -> None:
    logits = np.arange(16, dtype=np.float32).reshape(4, 4)
    answer = Decoded(logits, np.array([4, 8, 12, 16], np.float32), 0.9)
    other = Decoded(logits[::-1, ::-1] + 2, np.array([48, 24, 56, 32], np.float32), 0.7)
    mean = averaged(answer, other, SIZE)
    assert mean.logits == pytest.approx(logits + 1)
    assert mean.window.tolist() == [4, 8, 12, 16]
    assert mean.predicted_iou == pytest.approx(0.8)


def test_an_answer_over_another_window_is_laid_over_the_first() -> None:
    answer = Decoded(np.full((4, 4), 6, np.float32), np.array([0, 0, 8, 8], np.float32), 0.9)
    elsewhere = Decoded(np.full((8, 8), 2, np.float32), np.array([44, 24, 60, 40], np.float32), 0.9)
    assert averaged(answer, elsewhere, SIZE).logits == pytest.approx(np.full((4, 4), 4.0))


class _Answering:
    """A back end that is as sure of a cell as of its box, and counts what it outlines."""

    def __init__(self) -> None:
        self.n_outlined = {"first": 0, "turned": 0}

    def decode(self, features: str, prompts: list[PicturePrompt], *, whole: bool, threshold: float) -> list[Decoded]:
        self.n_outlined[features] += len(prompts)
        logits = np.full((4, 4), 4.0 if features == "first" else 8.0, np.float32)
        return [Decoded(logits, np.array([0, 0, SIZE[1], SIZE[0]], np.float32), 0.9) for _ in prompts]

    n_queries = 2

    def detect(self, features: tuple[tuple[float, ...], ...]) -> tuple[np.ndarray, np.ndarray]:
        return boxes(*features), np.linspace(0.9, 0.8, len(features), dtype=np.float32)

    def outlined_from(self, scores: np.ndarray, options: SegmentOptions) -> float:
        return 0.1

    def cell_score(self, score: float, predicted_iou: float, options: SegmentOptions) -> float | None:
        return None if score < 0.5 else score


@pytest.mark.parametrize(("turned", "n_again", "expected"), [("turned", 2, [4, 6, 6]), (None, 0, [4, 4, 4])])
def test_only_what_the_first_look_is_not_sure_of_is_outlined_again(
    turned: str | None, n_again: int, expected: list[float]
) -> None:
    backend: Any = _Answering()
    looks = Looks(backend, SIZE, "first", turned)
    work = looks.outline_steps(DecodeWork(backend), boxes(A, B, NEARLY_A), scores(0.99, 0.9, 0.2), SegmentOptions())
    answers = run_steps(work)
    assert backend.n_outlined == {"first": 3, "turned": n_again}
    assert [float(answer.logits.mean()) for answer in answers] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("first", "turned", "is_full"),
    [
        ((A,), (), False),
        ((A,), (B,), False),  # two boxes, but each look could have shown more
        ((A, B), (A, B), True),
        ((A,), (A, B), True),
        ((A, B), (A,), True),
        ((A, B), None, True),
        ((A,), None, False),
    ],
)
def test_a_picture_is_full_when_one_look_at_it_is(
    first: tuple[Any, ...], turned: tuple[Any, ...] | None, is_full: bool
) -> None:
    backend: Any = _Answering()
    seen = run_steps(Looks(backend, SIZE, first, turned).detect_steps(SegmentOptions()))
    assert seen.is_full is is_full
