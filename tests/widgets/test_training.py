"""Training: the model learns from what was corrected, and nothing is replaced before its figures are known."""

from __future__ import annotations

import pytest
import tifffile
from tests.widgets.conftest import HANG_MS, N_STEPS, discs, record_of

from napari_cellsam.data.retraining.retraining_set import RetrainingSet
from napari_cellsam.errors import ModelError, OptionError, ServiceError
from napari_cellsam.widgets._actions import find_action, run_action


@pytest.fixture
def training(session, tmp_path):
    """Return the training of a session whose cells are found, and one of which is certain."""
    session.collecting.use(tmp_path / "my cells")
    session.automatic.run()
    session.settle()
    session.correcting.grow(20, 20)
    return session.training


def stages_of(training):
    """Return the list to which the stages of a training are added."""
    stages = []
    training.progressed.connect(lambda: stages.append(training.progress.stage))
    return stages


# --- from the image to a model


def test_learning_adds_the_image_and_trains_on_the_set(session, training, client, tmp_path):
    stages = stages_of(training)
    training.learn()
    session.settle()
    assert len(RetrainingSet.open(tmp_path / "my cells").entries) == 1
    assert ("train", "my-cells-1", 1, 0, 6.0) in client.asked
    assert training.state == "done"
    assert list(dict.fromkeys(stages)) == ["before", "joint", "masks", "after"]


def test_where_nothing_is_certain_the_set_is_trained_on_as_it_is(session, training, client):
    training.learn()
    session.settle()
    session.use_new_labels()
    training.learn()
    session.settle()
    assert [asked[1:] for asked in client.asked if asked[0] == "train"] == [
        ("my-cells-1", 1, 0, 6.0),
        ("my-cells-2", 1, 0, 6.0),
    ]
    assert session.collecting.n_added == 1


def test_without_anything_to_learn_from_the_user_is_told_what_to_do(session, client, tmp_path):
    session.collecting.use(tmp_path / "nothing")
    session.training.learn()
    session.settle()
    assert session.training.state == "failed"
    assert "nothing to learn from yet" in session.heard[-1]
    assert not any(asked[0] == "train" for asked in client.asked)


def test_minutes_and_name_are_those_that_were_chosen(session, training, client):
    session.prefer(training_minutes=12.0)
    training.wanted_name = "my-nuclei"
    training.learn()
    session.settle()
    assert ("train", "my-nuclei", 1, 0, 12.0) in client.asked
    assert training.next_name == "my-cells-1", "the name was used up"


@pytest.mark.parametrize("name", ["My cells", "-a", "a" * 65, "../a"])
def test_a_name_that_no_model_can_have_is_refused_before_anything_is_done(session, training, client, name):
    with pytest.raises(ModelError, match="cannot name a model"):
        training.start(name)
    assert training.state == "idle"
    assert not any(asked[0] == "train" for asked in client.asked)


def test_a_name_that_a_model_has_is_refused(session, training):
    training.wanted_name = "taken"
    training.learn()
    session.settle()
    with pytest.raises(OptionError, match="a model called taken already"):
        training.start("taken")


def test_the_curve_has_the_losses_of_all_steps_and_the_figures_of_the_checks(session, training):
    training.learn()
    session.settle()
    steps, checks = range(1, N_STEPS + 1), (2, 4, 6, 8)
    assert dict(training.curve.loss) == pytest.approx({step: 3.0 / step for step in steps})
    assert dict(training.curve.val_loss) == pytest.approx({step: 4.0 / step for step in checks})
    assert training.curve.f1 == [(step, step / N_STEPS) for step in (2, 4, 6, 8)]


# --- while it runs


@pytest.fixture
def halfway(session, training, client, qtbot):
    """Return a training that waits halfway."""
    client.train_release.clear()
    training.learn()
    qtbot.waitUntil(lambda: training.share == 0.5, timeout=HANG_MS)
    return training


def test_what_is_being_done_and_how_long_it_takes_is_told(halfway):
    assert halfway.state == "learning"
    assert halfway.words == "learning, 4 min left"


def test_one_training_at_a_time(halfway):
    for again in (halfway.learn, halfway.start, halfway.go_back):
        with pytest.raises(OptionError, match=r"learning already|not made by training"):
            again()


def test_the_image_is_worked_on_meanwhile_and_cancelling_that_leaves_the_training_alone(session, halfway, client):
    n = len(session.cells)
    session.prompting.delete(70, 80)
    session.cancel()
    assert len(session.cells) == n - 1
    assert halfway.running
    client.train_release.set()
    session.settle()
    assert halfway.state == "done"


def test_a_training_that_is_stopped_keeps_the_best(session, halfway, client):
    halfway.stop_and_keep()
    assert halfway.words == "keeping the best"
    session.settle()
    assert ("stop_training", "my-cells-1") in client.asked
    assert halfway.progress.step == N_STEPS // 2
    assert halfway.record == client.record
    assert not halfway.stopping


def test_without_a_training_there_is_nothing_to_stop(training):
    with pytest.raises(OptionError, match="No model is learning"):
        training.stop_and_keep()


def test_a_training_that_was_not_found_goes_on(session, halfway, client, monkeypatch, qtbot):
    monkeypatch.setattr(client, "stop_training", lambda name, call=None: False)
    halfway.stop_and_keep()
    qtbot.waitUntil(lambda: not halfway.stopping, timeout=HANG_MS)
    assert "has not begun to learn" in session.heard[-1]
    assert halfway.running


def test_a_cancelled_training_goes_on_under_the_same_name_when_it_is_begun_again(session, halfway, client):
    halfway.cancel()
    assert halfway.state == "idle"
    assert "goes on from where it was" in session.heard[-1]
    assert halfway.record is None
    halfway.learn()
    session.settle()
    assert [asked[1] for asked in client.asked if asked[0] == "train"] == ["my-cells-1", "my-cells-1"]
    assert halfway.state == "done"


def test_the_end_of_the_session_cancels_the_training(session, halfway, client):
    session.close()
    assert client.train_release.is_set(), "the call was cancelled, so that the service keeps a checkpoint"
    assert not halfway.running


def test_a_training_that_fails_is_told_of_and_can_be_begun_again(session, halfway, client):
    client.failure = ServiceError("the device is gone")
    client.train_release.set()
    session.settle()
    assert halfway.state == "failed"
    assert "the device is gone" in session.heard[-1]
    client.failure = None
    halfway.learn()
    session.settle()
    assert halfway.state == "done"


# --- what comes of it


def test_a_better_model_is_used_at_once_where_that_was_chosen(session, training, client):
    training.learn()
    session.settle()
    assert session.preferences.model == "my-cells-1"
    assert training.is_used
    assert client.model == "my-cells-1"
    assert session.heard[-1] == (
        "The new model is better on 12 held-out cells. From now on, my-cells-1 finds the cells."
    )


def test_where_that_was_not_chosen_the_user_decides(session, training, client):
    session.prefer(use_better=False)
    training.learn()
    session.settle()
    assert session.preferences.model == "" and session.connection.n_reconnected == 0
    assert session.connection.n_looked_again == 1, "the new model is among those of the service"
    training.use_new()
    assert session.preferences.model == "my-cells-1" and session.connection.n_reconnected == 1


@pytest.mark.parametrize(
    ("record", "told"),
    [
        (record_of((6, 0, 6), (6, 1, 6)), "The new model is no better on 12 held-out cells."),
        (record_of((1, 0, 8), (9, 0, 0)), "Too few held-out cells (9) to tell which model is better"),
    ],
)
def test_a_model_that_is_not_known_to_be_better_is_not_used_by_itself(session, training, client, record, told):
    client.record = record
    training.learn()
    session.settle()
    assert session.preferences.model == ""
    assert told in session.heard[-1]
    training.keep_present()
    assert training.record is None and training.state == "idle"
    with pytest.raises(OptionError, match="No model was trained"):
        training.use_new()


def test_going_back_takes_the_model_before(session, training, client):
    with pytest.raises(OptionError, match="none to go back to"):
        training.go_back()
    training.learn()
    session.settle()
    assert training.lineage.parent == "discs"
    training.go_back()
    assert session.preferences.model == "discs" == client.model
    assert training.lineage.parent is None
    training.use_new()
    assert client.model == "my-cells-1"


def test_a_run_that_is_under_way_is_not_broken_off_by_the_change_of_model(session, halfway, client, qtbot):
    session.use_new_labels()
    client.hold()
    session.automatic.run()
    client.train_release.set()
    qtbot.waitUntil(lambda: halfway.state == "done", timeout=HANG_MS)
    assert session.connection.n_reconnected == 0
    client.release.set()
    session.settle()
    assert session.connection.n_reconnected == 1
    assert len(session.cells) == 4


# --- the goal


@pytest.fixture
def images(tmp_path):
    """Return a folder of two images."""
    folder = tmp_path / "monday"
    folder.mkdir()
    for number in (1, 2):
        tifffile.imwrite(folder / f"day {number}.tif", discs(centres=((20, 20), (60, 10 + 30 * number))))
    return folder


@pytest.mark.parametrize(
    ("record", "actions"),
    [
        (record_of(), ("train_model", "next_image")),
        (record_of((1, 0, 8), (9, 0, 0)), ("train_model", "use_trained", "next_image")),
    ],
    ids=["two where it is better", "three where the user has to decide"],
)
def test_from_a_corrected_image_to_the_next_one_segmented_by_the_retrained_model_takes_three_actions_at_most(
    viewer, make_session, client, images, tmp_path, qtbot, record, actions
):
    session = make_session(viewer)
    session.start()
    session.collecting.use(tmp_path / "set")
    session.folder.open(images)
    qtbot.waitUntil(lambda: session.source is not None and session.source.file_name == "day 1.tif", timeout=HANG_MS)
    session.settle()
    session.correcting.grow(20, 20)  # "I corrected this image"
    client.record = record
    assert client.segmented_by == ["discs"]

    for action in actions:
        run_action(session, find_action(action))
        session.settle()
    assert len(actions) <= 3

    qtbot.waitUntil(lambda: session.source.file_name == "day 2.tif" and len(client.segmented_by) == 2, timeout=HANG_MS)
    session.settle()
    assert client.segmented_by == ["discs", "monday-1"]
    assert len(session.cells) == 2
    assert len(RetrainingSet.open(tmp_path / "set").entries) == 1
    assert (images / "cells" / "day 1_labels.tif").exists(), "the corrected image was saved on the way"
