"""Folder work: image after image, saved, brought back, and never lost."""

from __future__ import annotations

import json
import threading

import numpy as np
import pytest
import tifffile
from filelock import FileLock
from tests.widgets.conftest import HANG_MS, discs

from napari_cellsam.editing.folder_states import FolderStates
from napari_cellsam.errors import ImageReadError, OptionError, OutputError, ServiceUnavailableError
from napari_cellsam.export.formats import read_cells
from napari_cellsam.widgets._folder_reading import read_layers
from napari_cellsam.widgets._folder_saving import cells_file

CENTRES = ((20, 20), (50, 50), (70, 80))


@pytest.fixture
def images(tmp_path):
    """Return a folder of three images, each of one disc in another place."""
    folder = tmp_path / "images"
    folder.mkdir()
    for number, centre in enumerate(CENTRES, start=1):
        tifffile.imwrite(folder / f"day {number}.tif", discs(centres=(centre,)))
    return folder


@pytest.fixture
def session(viewer, make_session):
    made = make_session(viewer)
    made.start()
    return made


@pytest.fixture
def wait(session, qtbot):
    """Return what waits until an image is open, its cells are found or brought back, and nothing is under way."""

    def wait(name):
        def ready():
            source = session.source
            return (
                source is not None
                and source.file_name == name
                and not session.jobs.n_running
                and not session.automatic.running
                and session.folder._begin is None
            )

        qtbot.waitUntil(ready, timeout=HANG_MS)

    return wait


def test_opening_a_folder_shows_its_first_image_with_its_cells(session, images, wait):
    session.folder.open(images)
    wait("day 1.tif")
    assert [path.name for path in session.folder.paths] == ["day 1.tif", "day 2.tif", "day 3.tif"]
    assert session.target.at((), 20, 20) == 1
    assert len(session.cells) == 1


def test_the_next_image_closes_the_one_before_and_its_cells_are_saved(session, images, wait):
    session.folder.open(images)
    wait("day 1.tif")
    session.folder.next()
    wait("day 2.tif")
    assert [layer.name for layer in session.viewer.layers] == ["day 2", "day 2 cells"]
    cells = read_cells(images / "cells" / "day 1_labels.tif")
    assert cells.labels[20, 20] == 1
    assert session.target.at((), 50, 50) == 1
    assert session.folder.state_of(images / "day 1.tif") == "segmented"


def test_going_back_brings_the_work_back_with_its_history(session, images, wait):
    session.folder.open(images)
    wait("day 1.tif")
    session.prompting.delete(20, 20)
    session.folder.next()
    wait("day 2.tif")
    session.folder.previous()
    wait("day 1.tif")
    assert session.target.at((), 20, 20) == 0
    session.undo()
    assert session.target.at((), 20, 20) == 1


def test_an_image_that_was_worked_on_is_in_review(session, images, wait):
    session.folder.open(images)
    wait("day 1.tif")
    session.correcting.grow(20, 20)
    session.folder.next()
    wait("day 2.tif")
    assert session.folder.state_of(images / "day 1.tif") == "in review"


def test_done_images_are_passed_over_also_after_the_folder_is_opened_again(session, images, wait):
    session.folder.open(images)
    wait("day 1.tif")
    session.folder.done()
    wait("day 2.tif")
    session.folder.done()
    wait("day 3.tif")
    session.folder.open(images)
    wait("day 3.tif")
    assert FolderStates(images)["day 2.tif"] == "done"
    session.folder.next()
    assert "last image" in session.heard[-1]
    assert list(session.viewer.layers) == []


def test_new_images_are_left_alone_if_that_is_wanted(session, images, wait):
    session.folder.segment_new = False
    session.folder.open(images)
    wait("day 1.tif")
    assert not session.has_target


def test_layers_of_the_users_stay(session, images, wait):
    session.viewer.add_image(discs(), name="mine")
    session.folder.open(images)
    wait("day 1.tif")
    session.folder.next()
    wait("day 2.tif")
    assert "mine" in session.viewer.layers


def test_the_next_image_is_looked_at_ahead(session, images, wait, client):
    session.folder.open(images)
    wait("day 1.tif")
    asked = {name for kind, name in client.asked if kind == "prefetch"}
    session.folder.next()
    wait("day 2.tif")
    shown = session.image_reader(())().image_id
    assert shown in asked


def test_a_folder_without_images_is_told(session, tmp_path):
    with pytest.raises(ImageReadError, match="no image"):
        session.folder.open(tmp_path)


def test_a_broken_image_is_told_and_the_next_one_can_be_opened(session, images, wait, qtbot):
    (images / "day 1.tif").write_bytes(b"II*\0 and nothing else")
    session.folder.open(images)
    qtbot.waitUntil(lambda: any("cannot be read" in text for text in session.heard), timeout=HANG_MS)
    session.folder.next()
    wait("day 2.tif")
    assert session.target.at((), 50, 50) == 1


def test_why_a_file_cannot_be_read_is_told_in_one_line(tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise OSError("no backend can read it\n  try this one\n  or that one")

    monkeypatch.setattr("npe2.read", refuse)
    with pytest.raises(ImageReadError, match=r"a\.png cannot be read: no backend can read it$"):
        read_layers(tmp_path / "a.png")


def test_without_a_folder_there_is_no_next_image(session):
    folder = session.folder
    for move in (folder.next, folder.previous, folder.done, lambda: folder.go(0)):
        with pytest.raises(OptionError, match="open one in the dock"):
            move()


def test_the_labels_file_is_replaced_by_newer_work(session, images, wait):
    session.folder.open(images)
    wait("day 1.tif")
    session.folder.next()
    wait("day 2.tif")
    session.folder.previous()
    wait("day 1.tif")
    session.prompting.delete(20, 20)
    session.folder.next()
    wait("day 2.tif")
    assert not read_cells(images / "cells" / "day 1_labels.tif").labels.any()


def test_states_that_are_not_understood_count_as_new(images):
    (images / "cells").mkdir()
    (images / "cells" / "states.json").write_text(json.dumps({"day 1.tif": "odd", "day 2.tif": "done"}))
    states = FolderStates(images)
    assert (states["day 1.tif"], states["day 2.tif"], states["day 3.tif"]) == ("new", "done", "new")
    (images / "cells" / "states.json").write_text("{ broken")
    assert FolderStates(images)["day 2.tif"] == "new"


def test_a_stack_of_a_folder_is_opened_as_a_stack(session, tmp_path, wait):
    folder = tmp_path / "stacks"
    folder.mkdir()
    tifffile.imwrite(folder / "time.tif", np.stack([discs(), discs(centres=((50, 50),))]))
    session.folder.open(folder)
    wait("time.tif")
    assert session.source.shape == (2, 100, 110)


def test_a_file_whose_cells_have_no_journal_is_gone_on_with(session, images, wait):
    session.folder.open(images)
    wait("day 1.tif")
    session.folder.next()
    wait("day 2.tif")
    for journal in images.glob("*.cellsam"):
        journal.unlink()
    session.folder.previous()
    wait("day 1.tif")
    assert "no journal" in session.heard[-1]
    assert session.target.at((), 20, 20) == 1
    session.target.layer.data_setitem((np.array([90]), np.array([5])), 7)
    session.folder.next()
    wait("day 2.tif")
    assert np.unique(read_cells(images / "cells" / "day 1_labels.tif").labels).tolist() == [0, 1, 7]


def test_a_file_of_cells_of_another_shape_is_never_overwritten(session, images, wait):
    (images / "cells").mkdir()
    mine = images / "cells" / "day 1_labels.tif"
    tifffile.imwrite(mine, np.ones((30, 40), np.uint16))
    before = mine.read_bytes()
    session.folder.open(images)
    wait("day 1.tif")
    assert "stays as it is" in session.heard[-1]
    session.prompting.click(20, 20)
    session.settle()
    session.folder.next()
    wait("day 2.tif")
    assert mine.read_bytes() == before
    assert read_cells(images / "cells" / "day 1 2_labels.tif").labels[20, 20] == 1


def test_the_file_of_an_image_that_another_window_works_on_is_left_to_that_window(session, images, wait):
    session.folder.open(images)
    wait("day 1.tif")
    session.folder.next()
    wait("day 2.tif")
    mine = images / "cells" / "day 1_labels.tif"
    before = mine.read_bytes()
    [journal] = images.glob("day 1*.cellsam")
    with FileLock(journal.with_name(f".{journal.name}.lock")):
        session.folder.previous()
        wait("day 1.tif")
        assert "another window" in session.heard[-1]
        session.prompting.click(20, 20)
        session.settle()
        session.folder.next()
        wait("day 2.tif")
    assert mine.read_bytes() == before
    assert read_cells(images / "cells" / "day 1 2_labels.tif").labels[20, 20] == 1


def test_states_that_two_windows_write_are_all_kept(tmp_path):
    one, other = FolderStates(tmp_path), FolderStates(tmp_path)
    one.set("a.tif", "done")
    other.set("b.tif", "segmented")
    kept = FolderStates(tmp_path)
    assert (kept["a.tif"], kept["b.tif"]) == ("done", "segmented")


def test_images_that_differ_in_the_ending_alone_have_files_of_their_own(session, images, wait):
    from skimage.io import imsave

    imsave(images / "day 1.png", discs(centres=((50, 50), (70, 80))))
    session.folder.open(images)
    for name in ("day 1.png", "day 1.tif", "day 2.tif"):
        wait(name)
        session.folder.next()
    session.settle()
    counts = {p.name: int(read_cells(p).labels.max()) for p in (images / "cells").glob("*_labels.tif")}
    assert counts == {"day 1.png_labels.tif": 2, "day 1.tif_labels.tif": 1, "day 2_labels.tif": 1}


def test_an_image_is_saved_and_closed_while_another_one_is_looked_at(session, images, wait):
    session.folder.open(images)
    wait("day 1.tif")
    session.viewer.add_image(discs(), name="filtered")
    session.settle()
    assert session.source.file_name == "filtered"
    session.folder.done()
    wait("day 2.tif")
    assert read_cells(images / "cells" / "day 1_labels.tif").labels[20, 20] == 1
    assert [layer.name for layer in session.viewer.layers] == ["filtered", "day 2", "day 2 cells"]


def test_labels_of_the_users_are_saved_and_stay(session, images, wait):
    session.folder.open(images)
    wait("day 1.tif")
    mine = np.zeros((100, 110), np.uint32)
    mine[5:9, 5:9] = 4
    layer = session.viewer.add_labels(mine, name="mine")
    session.use_labels(layer)
    session.settle()
    session.folder.next()
    wait("day 2.tif")
    assert [layer.name for layer in session.viewer.layers] == ["mine", "day 2", "day 2 cells"]
    assert read_cells(images / "cells" / "day 1_labels.tif").labels[5, 5] == 4


def test_an_image_that_is_left_while_a_large_step_is_done_again_is_saved_with_all_cells(session, tmp_path, wait):
    folder = tmp_path / "crowds"
    folder.mkdir()
    places = [(y, x) for y in range(10, 390, 20) for x in range(10, 390, 20)]
    for name in ("one.tif", "two.tif"):
        tifffile.imwrite(folder / name, discs((400, 400), places))
    session.folder.open(folder)
    wait("one.tif")
    session.undo()
    session.settle()
    session.redo()
    assert session.writing
    session.folder.segment_new = False
    session.folder.next()
    wait("two.tif")
    assert read_cells(folder / "cells" / "one_labels.tif").labels.max() == len(places)
    session.folder.previous()
    wait("one.tif")
    assert session.target.layer.data.max() == len(session.cells) == len(places)


def test_what_goes_wrong_with_saving_is_told_also_after_all_was_cancelled(session, images, wait, monkeypatch):
    from napari_cellsam.widgets import _folder_saving

    begun, release = threading.Event(), threading.Event()

    def refuse(folder):
        begun.set()
        assert release.wait(20)
        raise OutputError(f"{folder} is full")

    session.folder.open(images)
    wait("day 1.tif")
    monkeypatch.setattr(_folder_saving, "make_folder", refuse)
    session.folder.next()
    assert begun.wait(20)
    session.cancel()
    release.set()
    wait("day 2.tif")
    assert any("is full" in text for text in session.heard)


def test_cancelling_while_an_image_opens_leaves_its_journal_to_be_found(session, images, wait, qtbot):
    session.folder.open(images)
    wait("day 1.tif")
    session.correcting.grow(20, 20)
    session.folder.next()
    wait("day 2.tif")
    session.folder.previous()
    session.cancel()
    qtbot.waitUntil(lambda: session.journaling.looking, timeout=HANG_MS)
    session.cancel()
    wait("day 1.tif")
    assert not any("no journal" in text for text in session.heard)
    assert [record.origin for record in session.cells] == ["edited"]


def test_an_image_that_is_left_before_its_first_cell_is_searched_on_return(session, images, client, wait, qtbot):
    client.hold()
    session.folder.open(images)
    qtbot.waitUntil(lambda: session.automatic.running, timeout=HANG_MS)
    session.folder.next()
    client.release.set()
    wait("day 2.tif")
    assert session.folder.state_of(images / "day 1.tif") == "new"
    assert not (images / "cells" / "day 1_labels.tif").exists()
    session.folder.previous()
    wait("day 1.tif")
    assert session.target.at((), 20, 20) == 1


def test_a_service_that_fails_leaves_images_new_and_no_files(session, images, client, wait):
    client.failure = ServiceUnavailableError("the service is gone")
    session.folder.open(images)
    wait("day 1.tif")
    session.folder.next()
    wait("day 2.tif")
    assert session.folder.state_of(images / "day 1.tif") == "new"
    assert not list(images.rglob("*_labels.tif"))
    client.failure = None
    session.folder.previous()
    wait("day 1.tif")
    assert session.target.at((), 20, 20) == 1


def test_a_run_that_is_broken_off_by_leaving_finds_the_rest_on_return(session, images, client, wait, qtbot):
    tifffile.imwrite(images / "day 1.tif", discs())
    answers, wait_for_it = iter((True, True)), client._wait

    def two_only(call):
        if not next(answers, False):
            client.release.clear()
        wait_for_it(call)

    client._wait = two_only
    session.folder.open(images)
    qtbot.waitUntil(lambda: session.has_target and len(session.cells) == 2, timeout=HANG_MS)
    client._wait = wait_for_it
    session.folder.next()
    client.release.set()
    wait("day 2.tif")
    assert session.folder.state_of(images / "day 1.tif") == "new"
    session.folder.previous()
    wait("day 1.tif")
    assert len(session.cells) == 4
    session.folder.next()
    wait("day 2.tif")
    assert session.folder.state_of(images / "day 1.tif") == "segmented"


def test_clicks_without_an_answer_are_told_of_when_the_image_is_left(session, images, client, wait):
    session.folder.segment_new = False
    session.folder.open(images)
    wait("day 1.tif")
    client.hold()
    session.prompting.click(20, 20)
    session.prompting.click(50, 50)
    session.folder.next()
    client.release.set()
    wait("day 2.tif")
    assert any("2 clicks or drawings were not answered" in text for text in session.heard)


def test_the_row_that_the_user_chose_stays_until_another_image_is_opened(session, images, wait, make_dock):
    section = make_dock(session).sections["folder"]
    session.folder.open(images)
    wait("day 1.tif")
    section.refresh()
    assert section.images.currentRow() == 0
    section.images.setCurrentRow(2)
    session.changed.emit()
    section.refresh()
    assert section.images.currentRow() == 2
    session.folder.next()
    wait("day 2.tif")
    section.refresh()
    assert section.images.currentRow() == 1


def test_the_row_that_the_user_chose_stays_when_an_image_is_done(session, images, wait, make_dock):
    section = make_dock(session).sections["folder"]
    session.folder.open(images)
    wait("day 1.tif")
    section.refresh()
    section.images.setCurrentRow(2)
    session.folder._note("in review")
    section.refresh()
    assert section.images.item(0).text().startswith("◑")
    assert section.images.currentRow() == 2


def test_cells_of_an_image_that_was_removed_stay_and_this_is_told(session, images, wait):
    session.folder.open(images)
    wait("day 1.tif")
    session.viewer.layers.remove("day 1")
    session.folder.next()
    wait("day 2.tif")
    assert "day 1 cells" in session.viewer.layers
    assert any("these stay: 'day 1 cells'" in text for text in session.heard)


def test_the_cells_of_an_ome_tiff_are_called_as_segment_calls_them(tmp_path):
    images = [tmp_path / name for name in ("a.ome.tif", "b.ome.tif", "b.tif")]
    names = [cells_file(path, images).name for path in images]
    assert names == ["a_labels.tif", "b.ome.tif_labels.tif", "b.tif_labels.tif"]
