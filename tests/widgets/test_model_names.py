"""The names of models that are made by training."""

from __future__ import annotations

import pytest

from napari_cellsam.errors import ModelError, OptionError
from napari_cellsam.models.spec import check_name
from napari_cellsam.widgets._model_names import free_name, refuse_taken


@pytest.mark.parametrize(
    ("base", "name"),
    [
        ("monday", "monday-1"),
        ("Plate 3 (DAPI)", "plate-3-dapi-1"),
        ("con", "con-1"),
        ("Zellen über Nacht", "zellen-ber-nacht-1"),
        ("細胞", "model-1"),
        ("", "model-1"),
        ("x" * 200, "x" * 56 + "-1"),
    ],
)
def test_any_folder_gives_a_name_that_a_model_can_have(base, name):
    assert free_name(base, ()) == name
    check_name(name)


def test_the_number_after_the_highest_is_taken_so_that_no_name_is_used_again():
    assert free_name("a", {"a-1", "a-3"}) == "a-4"
    assert free_name("a", {"a-b-7", "a-x", "a"}) == "a-1"


def test_a_name_is_refused_that_is_none_or_taken():
    refuse_taken("a-1", {"b-1"})
    with pytest.raises(ModelError, match="cannot name a model"):
        refuse_taken("A 1", ())
    with pytest.raises(OptionError, match="a model called a-1 already"):
        refuse_taken("a-1", {"a-1"})
