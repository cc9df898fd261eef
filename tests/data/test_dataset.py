"""Folders of labelled pictures are listed, checked and prepared."""

import imageio.v3 as imageio
import numpy as np
import pytest

from napari_cellsam.data.dataset import as_picture, list_entries, load_pictures, median_diameter
from napari_cellsam.errors import DatasetError
from napari_cellsam.types import Image

COLUMNS = "source\tfile\tsplit\tarchetype\tmodality\n"


def write_pair(folder, name="a.png", shape=(40, 30)):
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
        picture = np.zeros(shape, np.uint8)
        picture[5:15, 5:15] = 200 if kind == "images" else 1
        imageio.imwrite(folder / kind / name, picture)


@pytest.fixture
def indexed(tmp_path):
    write_pair(tmp_path / "one", "a.png")
    write_pair(tmp_path / "one", "b.png")
    (tmp_path / "index.tsv").write_text(
        COLUMNS + "one\ta.png\ttrain\tnuclei\tfluorescence\none\tb.png\tval\tyeast\tphase\n"
    )
    return tmp_path


def test_an_index_tells_splits_and_groups(indexed):
    entries = list_entries(indexed)
    assert [(e.split, e.group, e.source) for e in entries] == [
        ("train", "one/nuclei/fluorescence", "one"),
        ("val", "one/yeast/phase", "one"),
    ]
    assert [e.image.name for e in list_entries(indexed, "val")] == ["b.png"]


def test_a_pair_of_folders_is_a_data_set_for_training(tmp_path):
    write_pair(tmp_path)
    (tmp_path / "images" / ".DS_Store").write_bytes(b"")
    assert [(e.mask.name, e.split) for e in list_entries(tmp_path)] == [("a.png", "train")]


def test_a_split_without_pictures_is_refused(indexed):
    with pytest.raises(DatasetError, match="no labelled pictures of split 'test'"):
        list_entries(indexed, "test")


def test_a_folder_of_something_else_is_refused(tmp_path):
    with pytest.raises(DatasetError, match=r"neither an index.tsv nor the folders"):
        list_entries(tmp_path)


def test_an_index_without_the_columns_is_refused(tmp_path):
    (tmp_path / "index.tsv").write_text("file\nx.png\n")
    with pytest.raises(DatasetError, match="expected archetype, file, modality, source, split"):
        list_entries(tmp_path)


def test_an_empty_index_is_refused(tmp_path):
    (tmp_path / "index.tsv").write_text("")
    with pytest.raises(DatasetError, match="columns None"):
        list_entries(tmp_path)


def test_missing_files_are_counted_and_one_is_named(indexed):
    (indexed / "one" / "masks" / "b.png").unlink()
    with pytest.raises(DatasetError, match=r"1 files .* missing, first .*b.png"):
        list_entries(indexed)


def test_pictures_are_prepared_with_and_without_clahe(indexed):
    picture = next(load_pictures(list_entries(indexed)))
    assert picture.channels.shape == (2, 2, 40, 30) and picture.channels.dtype == np.uint8
    assert not picture.channels[:, 0].any()
    assert picture.channels[0, 1, 10, 10] == 255 and picture.channels[0, 1, 0, 0] == 0
    assert picture.labels.dtype == np.int32 and picture.labels.sum() == 100
    assert picture.diameter == pytest.approx(np.sqrt(400 / np.pi))


def test_a_mask_of_another_size_is_refused(indexed):
    imageio.imwrite(indexed / "one" / "masks" / "a.png", np.zeros((5, 5), np.uint8))
    with pytest.raises(DatasetError, match=r"\(5, 5\) but its image \(40, 30\)"):
        list(load_pictures(list_entries(indexed)))


def test_large_numbers_of_cells_become_small_ones():
    labels = np.zeros((20, 20), np.uint32)
    labels[2:6, 2:6], labels[10:16, 10:16] = 40_000, 4_000_000_000
    picture = as_picture(Image.from_array(np.eye(20)), labels, "group")
    assert np.unique(picture.labels).tolist() == [0, 1, 2]
    assert (picture.labels == 2).sum() == 36


def test_without_cells_there_is_no_diameter():
    assert median_diameter(np.zeros((5, 5), int)) == 0
