"""Groups are divided once and for all."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from napari_cellsam.data.retraining.splits import split_of_next


def grown(n_groups, share):
    splits = []
    for _ in range(n_groups):
        splits.append(split_of_next(splits, share))
    return splits


def test_the_third_group_is_the_first_to_judge():
    assert grown(4, 0.2) == ["train", "train", "val", "train"]


def test_without_a_share_all_groups_are_learned_from():
    assert set(grown(30, 0.0)) == {"train"}


@given(st.floats(0.01, 0.9), st.integers(3, 80))
def test_the_share_of_judging_groups_comes_close_to_the_wanted_and_never_beyond(share, n_groups):
    n_val = grown(n_groups, share).count("val")
    assert n_val >= 1
    assert n_val == 1 or n_val <= share * n_groups + 1e-9
    assert n_val >= int(share * n_groups) - 2


@given(st.floats(0.0, 0.9), st.integers(0, 40), st.integers(0, 40))
def test_more_groups_change_nothing_for_the_earlier_ones(share, n_groups, n_more):
    assert grown(n_groups + n_more, share)[:n_groups] == grown(n_groups, share)
