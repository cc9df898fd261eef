"""A data set that is empty."""

from __future__ import annotations

import pytest

from napari_cellsam.data.retraining.retraining_set import RetrainingSet


@pytest.fixture
def dataset(tmp_path):
    return RetrainingSet.create(tmp_path / "set")
