"""The split of groups of pictures into those to learn from and those to be judged on."""

from __future__ import annotations

from collections.abc import Collection

from napari_cellsam.data.retraining.pictures import Split

__all__ = ["split_of_next"]

_FIRST_JUDGE = 3


def split_of_next(splits: Collection[Split], val_share: float) -> Split:
    """Choose what a new group is for.

    A group keeps its split for ever, so that no picture that a model has learned from can judge a later one. The third
    group is the first to judge; then a group joins it whenever the share of judging groups stays within the one wanted.

    Parameters
    ----------
    splits
        Of the groups so far.
    val_share
        Wanted share of groups to be judged on, 0 to 1.
    """
    n_groups, n_val = len(splits) + 1, sum(split == "val" for split in splits)
    if val_share <= 0 or n_groups < _FIRST_JUDGE:
        return "train"
    return "val" if n_val == 0 or (n_val + 1) / n_groups <= val_share else "train"
