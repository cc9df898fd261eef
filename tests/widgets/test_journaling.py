"""Journaling: what was accepted is on disk, and is offered when the image is opened again."""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from tests.widgets.conftest import HANG_MS, discs

from napari_cellsam.editing import journal_writer
from napari_cellsam.editing.journal import replay
from napari_cellsam.editing.journal_format import frames_in
from napari_cellsam.errors import OutputError
from napari_cellsam.widgets import _journal_keeper
from napari_cellsam.widgets._channels import ChannelMap, ChannelRef


def labels(session):
    return np.asarray(session.target.layer.data)


def click(session, y, x):
    session.prompting.click(y, x)
    session.settle()


def end(session):
    """Close a session and its labels, as closing the window does."""
    kept = labels(session).copy()
    layer = session.target.layer
    session.close()
    session.viewer.layers.remove(layer)
    return kept


def again(make_session, viewer, qtbot):
    """Begin a session on the picture anew, and wait for what it offers."""
    session = make_session(viewer)
    session.start()
    session.settle()
    return session


def test_every_step_is_in_the_journal(session):
    click(session, 20, 20)
    click(session, 60, 30)
    session.prompting.delete(20, 20)
    session.undo()
    session.automatic.run()
    session.settle()
    assert session.journaling.flush()
    replayed = replay(session.journaling.path)
    assert np.array_equal(replayed.labels, labels(session))
    assert {record.label for record in replayed.cells.values()} == {record.label for record in session.cells}
    assert [kind for kind, _ in replayed.steps][:4] == ["do", "do", "do", "undo"]


def test_no_file_is_made_before_something_is_done(session, tmp_path):
    session.set_clicking(True)
    assert session.journaling.flush()
    assert session.journaling.path is None
    assert not list(tmp_path.rglob("*.cellsam"))


def test_paint_is_in_the_journal(session):
    click(session, 20, 20)
    session.target.layer.data_setitem((np.array([90, 91]), np.array([5, 5])), 77)
    assert session.journaling.flush()
    assert replay(session.journaling.path).labels[90, 5] == 77


def test_work_on_the_same_picture_is_offered_and_continued(session, make_session, viewer, qtbot):
    click(session, 20, 20)
    click(session, 60, 30)
    path_before = None if not session.journaling.flush() else session.journaling.path
    before = end(session)

    session = again(make_session, viewer, qtbot)
    assert session.journaling.offer.summary.n_steps == 2
    session.journaling.accept()
    qtbot.waitUntil(lambda: session.has_target and len(session.cells) == 2, timeout=HANG_MS)
    assert np.array_equal(labels(session), before)
    assert session.journaling.offer is None

    session.undo()
    assert set(np.unique(labels(session))) == {0, 1}
    session.redo()
    click(session, 70, 80)
    assert np.unique(labels(session)).tolist() == [0, 1, 2, 3]
    assert session.journaling.flush()
    assert session.journaling.path == path_before
    assert np.array_equal(replay(path_before).labels, labels(session))


def test_declined_work_stays_where_it_is_and_new_work_has_a_journal_of_its_own(session, make_session, viewer, qtbot):
    click(session, 20, 20)
    assert session.journaling.flush()
    first, before = session.journaling.path, end(session)

    session = again(make_session, viewer, qtbot)
    session.journaling.decline()
    assert session.journaling.offer is None
    click(session, 60, 30)
    assert session.journaling.flush()
    assert session.journaling.path != first
    assert np.array_equal(replay(first).labels, before)


def test_work_on_another_picture_of_the_same_name_is_not_offered(session, make_session, viewer, qtbot):
    click(session, 20, 20)
    end(session)
    viewer.layers["discs"].data = discs(centres=((50, 50),))
    assert again(make_session, viewer, qtbot).journaling.offer is None


def test_the_journal_lies_beside_the_image_file(viewer, make_session, tmp_path):
    import tifffile

    folder = tmp_path / "images"
    folder.mkdir()
    tifffile.imwrite(folder / "day 1.tif", discs())
    viewer.open(folder / "day 1.tif", plugin="napari")
    session = make_session(viewer)
    session.start()
    session.settle()
    click(session, 20, 20)
    assert session.journaling.flush()
    assert session.journaling.path == folder / "day 1.tif.cellsam"


def test_a_chosen_folder_has_all_journals(session, tmp_path):
    chosen = tmp_path / "chosen"
    chosen.mkdir()
    session.store.update(journal_folder=str(chosen))
    click(session, 20, 20)
    assert session.journaling.flush()
    assert session.journaling.path == chosen / "discs.cellsam"


def test_a_layer_that_had_cells_begins_its_journal_with_them(session):
    there = np.zeros((100, 110), np.uint16)
    there[0:5, 0:5] = 40
    layer = session.viewer.add_labels(there)
    session.use_labels(layer)
    session.settle()
    click(session, 20, 20)
    assert session.journaling.flush()
    replayed = replay(session.journaling.path)
    assert replayed.labels.dtype == np.uint16
    assert np.array_equal(replayed.labels, np.asarray(layer.data))
    assert [kind for kind, _ in replayed.steps] == ["base", "base", "do"], "pixels, what is known of them, the click"


def test_two_viewers_on_one_picture_have_a_journal_each(session, make_session, make_napari_viewer_proxy):
    other_viewer = make_napari_viewer_proxy()
    other_viewer.add_image(discs(), name="discs")
    other = make_session(other_viewer)
    other.start()
    other.settle()
    click(session, 20, 20)
    click(other, 60, 30)
    assert session.journaling.flush()
    assert other.journaling.flush()
    assert session.journaling.path != other.journaling.path
    for one in (session, other):
        assert np.array_equal(replay(one.journaling.path).labels, labels(one))


def test_work_that_goes_on_in_another_window_is_not_continued(session, make_session, make_napari_viewer_proxy, qtbot):
    click(session, 20, 20)
    assert session.journaling.flush()
    other_viewer = make_napari_viewer_proxy()
    other_viewer.add_image(discs(), name="discs")
    other = again(make_session, other_viewer, qtbot)
    other.journaling.accept()
    other.settle()
    assert "another window" in other.heard[-1]
    assert not other.has_target
    end(session)
    other.journaling.accept()
    other.settle()
    assert np.unique(labels(other)).tolist() == [0, 1]


def test_a_journal_that_cannot_be_written_is_told_and_holds_nothing_up(session, monkeypatch, qtbot, tmp_path):
    in_the_way = tmp_path / "in the way"
    in_the_way.write_text("a file")
    monkeypatch.setenv("NAPARI_CELLSAM_JOURNALS_DIR", str(in_the_way / "journals"))
    click(session, 20, 20)
    qtbot.waitUntil(lambda: session.journaling.trouble is not None, timeout=HANG_MS)
    click(session, 60, 30)
    assert np.unique(labels(session)).tolist() == [0, 1, 2]
    assert any("journal" in text for text in session.heard)
    assert not session.journaling.flush()


def test_what_was_done_before_there_was_room_is_in_the_journal_later(session, monkeypatch, qtbot, tmp_path):
    own = tmp_path / "in the way"
    own.write_text("a file")
    monkeypatch.setenv("NAPARI_CELLSAM_JOURNALS_DIR", str(own))
    click(session, 20, 20)
    qtbot.waitUntil(lambda: session.journaling.trouble is not None, timeout=HANG_MS)
    own.unlink()
    click(session, 60, 30)
    assert session.journaling.flush()
    qtbot.waitUntil(lambda: session.journaling.trouble is None, timeout=HANG_MS)
    assert np.array_equal(replay(session.journaling.path).labels, labels(session))
    assert len(replay(session.journaling.path).cells) == 2


def test_where_the_first_folder_refuses_the_next_one_has_the_journal(session, monkeypatch, tmp_path):
    real = _journal_keeper.JournalWriter

    def refuse(path, *args):
        if path.parent.name == "refuses":
            raise OutputError("no")
        return real(path, *args)

    monkeypatch.setattr(_journal_keeper, "JournalWriter", refuse)
    (tmp_path / "refuses").mkdir()
    (tmp_path / "takes").mkdir()
    monkeypatch.setattr(session.journaling, "_folders", lambda _: [tmp_path / "refuses", tmp_path / "takes"])
    click(session, 20, 20)
    assert session.journaling.flush()
    assert session.journaling.path.parent == tmp_path / "takes"


def test_other_data_in_the_layer_begins_another_journal(session):
    click(session, 20, 20)
    assert session.journaling.flush()
    first = session.journaling.path
    other = np.zeros((100, 110), np.uint32)
    other[90:, 90:] = 5
    session.target.layer.data = other
    session.settle()
    click(session, 60, 30)
    assert session.journaling.flush()
    assert session.journaling.path != first
    assert np.array_equal(replay(session.journaling.path).labels, labels(session))


def test_work_is_offered_though_other_channels_were_chosen_since(make_session, viewer, qtbot):
    viewer.add_image(np.stack([discs(), discs(value=180)]), name="two")
    session = make_session(viewer)
    session.start()
    session.settle()
    session.set_channels(ChannelMap(None, ChannelRef("two", 1), False, 0))
    click(session, 20, 20)
    end(session)
    session = again(make_session, viewer, qtbot)
    session.set_channels(ChannelMap(ChannelRef("two", 0), ChannelRef("two", 1), False, 0))
    session.settle()
    assert session.journaling.offer is not None


def test_new_cells_have_new_numbers_beside_labels_that_were_there(session, make_session, viewer, qtbot):
    mine = np.zeros((100, 110), np.uint32)
    mine[15:25, 15:25], mine[55:65, 25:35], mine[80:90, 90:100] = 7, 8, 9
    layer = viewer.add_labels(mine, name="mine")
    viewer.layers.selection.active = viewer.layers["discs"]
    session.use_labels(layer)
    session.settle()
    session.prompting.delete(85, 95)
    end(session)

    session = again(make_session, viewer, qtbot)
    session.journaling.accept()
    qtbot.waitUntil(lambda: session.has_target, timeout=HANG_MS)
    click(session, 70, 80)
    assert set(np.unique(labels(session))) == {0, 7, 8, 10}  # undoing brings 9 back


def test_labels_that_are_given_other_data_go_on_under_their_own_image(session, viewer):
    click(session, 20, 20)
    first = session.target.layer
    other = viewer.add_image(discs(centres=((50, 50),)), name="other")
    viewer.layers.selection.active = other
    session.settle()
    click(session, 50, 50)
    first.data = np.asarray(first.data).astype(np.uint16)
    first.data_setitem((np.array([90]), np.array([5])), 5)
    assert session.journaling.flush()
    names = sorted(path.name for path in session.journaling.path.parent.glob("*.cellsam"))
    assert [name[:5] for name in names] == ["discs", "discs", "other"]


def test_numbers_below_0_of_another_tool_stay_what_they_are(session, viewer):
    mine = np.zeros((100, 110), np.int64)
    mine[:, :5], mine[80:90, 90:100] = -1, 9
    layer = viewer.add_labels(mine, name="mine")
    viewer.layers.selection.active = viewer.layers["discs"]
    session.use_labels(layer)
    session.settle()
    layer.data_setitem((np.array([50, 50]), np.array([4, 5])), 7)  # one of them was -1
    layer.data_setitem((np.array([60]), np.array([50])), -1)
    session.undo()
    session.undo()
    assert set(np.unique(layer.data)) <= {-1, 0, 7, 9}
    click(session, 20, 20)
    assert layer.data[20, 20] == 10
    assert session.journaling.flush()
    assert set(np.unique(replay(session.journaling.path).labels)) <= {0, 7, 9, 10}


def test_what_is_known_of_cells_and_regions_goes_along_when_the_layer_gets_another_type(session, viewer):
    session.automatic.run()
    session.settle()
    session.verifying.verify_image()
    layer = session.target.layer
    layer.data = np.asarray(layer.data).astype(np.uint16)
    click(session, 90, 5)
    session.correcting.delete(20, 20)
    assert session.journaling.flush()
    replayed = replay(session.journaling.path)
    assert replayed.summary.is_begun
    assert replayed.verified.all()
    assert {key: (r.origin, r.reviewed) for key, r in replayed.cells.items()} == {
        (r.plane, r.label): (r.origin, r.reviewed) for r in session.cells
    }


def test_a_journal_without_all_that_was_there_is_not_offered(session, make_session, viewer, qtbot, monkeypatch):
    monkeypatch.setattr(_journal_keeper, "_ROWS_AT_ONCE", 20)
    mine = ndimage.label(discs())[0].astype(np.uint32)
    layer = viewer.add_labels(mine, name="mine")
    viewer.layers.selection.active = viewer.layers["discs"]
    session.use_labels(layer)
    session.settle()
    session.prompting.delete(20, 20)
    path = session.journaling.path if session.journaling.flush() else None
    end(session)
    with path.open("rb") as file:
        ends = [(content, stop) for content, stop, _ in frames_in(file)]
    whole = path.read_bytes()
    last_of_base = max(i for i, (content, _) in enumerate(ends[1:], 1) if content.kind == "base")
    assert last_of_base > 2
    for number, (_, stop) in enumerate(ends):
        path.write_bytes(whole[:stop])
        session = again(make_session, viewer, qtbot)
        assert (session.journaling.offer is not None) == (number >= last_of_base)
        session.close()


def test_the_same_work_is_continued_in_one_window_only(session, make_session, make_napari_viewer_proxy, viewer, qtbot):
    click(session, 20, 20)
    end(session)
    one = again(make_session, viewer, qtbot)
    other_viewer = make_napari_viewer_proxy()
    other_viewer.add_image(discs(), name="discs")
    other = again(make_session, other_viewer, qtbot)
    one.journaling.accept()
    one.settle()
    other.journaling.accept()
    other.settle()
    assert one.has_target
    assert not other.has_target, "though nothing was done in the first one yet"
    assert "another window" in other.heard[-1]
    one.close()
    other.journaling.accept()
    other.settle()
    assert other.has_target


def test_journals_are_offered_though_another_folder_was_chosen_since(session, make_session, viewer, tmp_path):
    click(session, 20, 20)
    end(session)
    (tmp_path / "chosen").mkdir()
    session = make_session(viewer)
    session.prefer(journal_folder=str(tmp_path / "chosen"))
    session.start()
    session.settle()
    assert session.journaling.offer is not None


def test_work_in_a_folder_that_is_read_only_by_now_goes_on_in_a_copy(
    session, make_session, viewer, qtbot, monkeypatch, tmp_path
):
    click(session, 20, 20)
    assert session.journaling.flush()
    first = session.journaling.path
    end(session)
    before = first.read_bytes()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    session = again(make_session, viewer, qtbot)
    real = journal_writer._locked

    def refuse(path):
        if path == first:
            raise OutputError("read-only")
        return real(path)

    monkeypatch.setattr(journal_writer, "_locked", refuse)
    monkeypatch.setattr(session.journaling, "_folders", lambda _: [first.parent, elsewhere])
    session.journaling.accept()
    session.settle()
    click(session, 60, 30)
    assert session.journaling.flush()
    assert session.journaling.path.parent == elsewhere
    assert np.unique(replay(session.journaling.path).labels).tolist() == [0, 1, 2]
    assert first.read_bytes() == before


def test_what_is_still_being_undone_at_the_end_is_in_the_journal(make_session, viewer):
    places = [(y, x) for y in range(10, 390, 20) for x in range(10, 390, 20)]
    viewer.add_image(discs((400, 400), places), name="crowd")
    session = make_session(viewer)
    session.start()
    session.settle()
    session.automatic.run()
    session.settle()
    assert session.journaling.flush()
    path = session.journaling.path
    session.undo()
    assert session.writing
    session.close()
    assert not replay(path).labels.any()
