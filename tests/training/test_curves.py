"""Learning curves are lines of JSON that any reader takes, and event files that TensorBoard reads."""

import json
import math

import pytest

from napari_cellsam.errors import OutputError
from napari_cellsam.training.curves import LOG_NAME, Curves, has_tensorboard
from napari_cellsam.types.finetuning import TrainingProgress


def at(step, **others):
    return TrainingProgress("joint", step, step / 10, {"mask": 1.0 / step, "box": 2.0}, **others)


def write(folder, steps, after=0, tensorboard=False):
    with Curves(folder, after=after, tensorboard=tensorboard) as curves:
        for step in steps:
            curves.add(at(step))


def read(folder):
    def refuse(word):
        raise AssertionError(f"{word} is no JSON")

    text = (folder / LOG_NAME).read_text()
    assert text.endswith("\n")
    return [json.loads(line, parse_constant=refuse) for line in text.splitlines()]


def scalars(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / "tensorboard"), size_guidance={"scalars": 0})
    events.Reload()
    return {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def test_each_line_says_where_the_training_stood(tmp_path):
    with Curves(tmp_path, tensorboard=False) as curves:
        curves.add(at(1))
        curves.add(at(2, val_losses={"mask": 0.25}, f1=0.75, seconds_left=3.0))
    first, second = read(tmp_path)
    assert first["losses"] == {"mask": 1.0, "box": 2.0} and first["f1"] is None and first["step"] == 1
    assert second["val_losses"] == {"mask": 0.25} and second["f1"] == 0.75 and second["stage"] == "joint"


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_null(tmp_path, value):
    with Curves(tmp_path, tensorboard=False) as curves:
        curves.add(at(1, val_losses={"mask": value}, f1=value))
    [line] = read(tmp_path)
    assert line["val_losses"] == {"mask": None} and line["f1"] is None


def test_lines_can_be_read_while_the_training_goes_on(tmp_path):
    with Curves(tmp_path, tensorboard=False) as curves:
        curves.add(at(1))
        assert [line["step"] for line in read(tmp_path)] == [1]


def test_a_training_that_goes_on_appends(tmp_path):
    write(tmp_path, [1, 2])
    write(tmp_path, [3], after=2)
    assert [line["step"] for line in read(tmp_path)] == [1, 2, 3]


def test_what_was_written_behind_the_checkpoint_goes(tmp_path):
    write(tmp_path, [1, 2, 3, 4])
    with (tmp_path / LOG_NAME).open("a") as file:
        file.write('{"step": 1, "sta')  # killed here
    write(tmp_path, [3], after=2)
    assert [line["step"] for line in read(tmp_path)] == [1, 2, 3]


def test_lines_that_are_not_ours_go(tmp_path):
    (tmp_path / LOG_NAME).write_bytes(b'{"step": 1}\nnonsense\n[1]\n{"step": "x"}\n\xff\xfe\n{"other": 1}\n')
    write(tmp_path, [2], after=1)
    assert [line["step"] for line in read(tmp_path)] == [1, 2]


def test_a_training_from_the_beginning_starts_anew(tmp_path):
    write(tmp_path, [1, 2])
    write(tmp_path, [1])
    assert [line["step"] for line in read(tmp_path)] == [1]


def test_a_folder_that_cannot_be_written_is_told_of(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="file"):
        Curves(tmp_path / "file")
    (tmp_path / LOG_NAME).mkdir()
    with pytest.raises(OutputError, match=LOG_NAME):
        Curves(tmp_path)


def test_a_disk_that_gets_full_is_told_of(tmp_path, monkeypatch):
    with Curves(tmp_path, tensorboard=False) as curves:
        [writer] = curves._writers

        def add(progress):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(writer, "add", add)
        with pytest.raises(OutputError, match=r"curves cannot be written.*No space left"):
            curves.add(at(1))


needs_tensorboard = pytest.mark.skipif(not has_tensorboard(), reason="needs tensorboard")


@needs_tensorboard
def test_tensorboard_reads_the_curves_and_the_lines_are_there_too(tmp_path):
    with Curves(tmp_path) as curves:
        curves.add(at(1))
        curves.add(at(2, val_losses={"mask": 0.25}, f1=0.75))
    assert scalars(tmp_path) == {
        "train/mask": [(1, 1.0), (2, 0.5)],
        "train/box": [(1, 2.0), (2, 2.0)],
        "val/mask": [(2, 0.25)],
        "val/F1": [(2, 0.75)],
    }
    assert len(read(tmp_path)) == 2


@needs_tensorboard
def test_tensorboard_shows_a_training_that_goes_on_as_one(tmp_path):
    write(tmp_path, [1, 2, 3, 4], tensorboard=True)
    write(tmp_path, [3], after=2, tensorboard=True)
    assert [step for step, _ in scalars(tmp_path)["train/mask"]] == [1, 2, 3]


@needs_tensorboard
def test_tensorboard_starts_anew_with_the_training(tmp_path):
    write(tmp_path, [1, 2, 3], tensorboard=True)
    (tmp_path / "tensorboard" / "mine.txt").touch()
    write(tmp_path, [1], tensorboard=True)
    assert [step for step, _ in scalars(tmp_path)["train/mask"]] == [1]
    assert (tmp_path / "tensorboard" / "mine.txt").exists()


def test_without_tensorboard_there_are_lines(tmp_path, monkeypatch):
    monkeypatch.setattr("napari_cellsam.training.curves.find_spec", lambda name: None)
    with Curves(tmp_path) as curves:
        curves.add(at(1))
    assert [path.name for path in tmp_path.iterdir()] == [LOG_NAME] and len(read(tmp_path)) == 1
