"""The command train, on synthetic pictures, for a moment."""

from __future__ import annotations

from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
import torch

from napari_cellsam.cli import main
from napari_cellsam.data.synthetic import synthesize
from napari_cellsam.errors import OptionError
from napari_cellsam.models.weights import inspect_checkpoint, load_network
from napari_cellsam.training.train import TrainOptions

SHORT = (
    *("--minutes", "0.05", "--side", "64", "--batch", "2", "--workers", "0"),
    *("--device", "cpu", "--precision", "fp32"),
)


def _run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["train", *arguments])
    return int(ended.value.code or 0)


@pytest.mark.slow
def test_training_leaves_weights_that_segment_can_use(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run("--out", str(tmp_path), *SHORT) == 0
    assert "compact.safetensors" in capsys.readouterr().out
    info = inspect_checkpoint(tmp_path / "compact.safetensors")
    assert (info.architecture, info.can_detect) == ("compact", True)


def test_a_side_that_is_no_multiple_of_32_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run("--out", str(tmp_path), "--side", "100") == 1
    assert "multiple of 32" in capsys.readouterr().err


def test_an_emphasis_without_a_number_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run("--out", str(tmp_path), "--emphasis", "phase") == 1
    assert "WORD=FACTOR" in capsys.readouterr().err


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    """Return a data set with a picture to learn from, and one to validate on."""
    folder = tmp_path / "data"
    lines = ["source\tfile\tsplit\tarchetype\tmodality"]
    for seed, split in enumerate(("train", "val")):
        made = synthesize("fluorescent_nuclei", (160, 160), np.random.default_rng(seed))
        for kind in ("images", "masks"):
            (folder / "made" / kind).mkdir(parents=True, exist_ok=True)
        iio.imwrite(folder / "made" / "images" / f"{split}.png", (made.pixels[..., 0] * 255).clip(0, 255).astype("u1"))
        iio.imwrite(folder / "made" / "masks" / f"{split}.png", made.labels.astype(np.uint16))
        lines.append(f"made\t{split}.png\t{split}\tnuclei\tfluorescence")
    (folder / "index.tsv").write_text("\n".join(lines), encoding="utf-8")
    return folder


@pytest.mark.slow
def test_scores_are_fitted_to_the_validation_pictures(
    tmp_path: Path, labelled: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--start", "compact", "--rate", "1e-9", *SHORT, "--minutes", "0.01")  # statistics move with each step
    assert _run(str(labelled), "--out", str(tmp_path / "run"), *options) == 0
    assert "weights of detector and outline" in capsys.readouterr().out
    score = load_network(tmp_path / "run" / "compact.safetensors").model.config.score
    assert score.floor == 0.2 and score.outline > 0


@pytest.mark.slow
def test_weights_that_find_nothing_are_written_all_the_same(
    tmp_path: Path, labelled: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run(str(labelled), "--out", str(tmp_path / "run"), *SHORT) == 0
    assert "scores stay the detector's: 0 of" in capsys.readouterr().err
    config = load_network(tmp_path / "run" / "compact.safetensors").model.config
    assert config.score == type(config.score)()


def test_the_gpu_that_was_chosen_is_the_one_that_learns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def refuse(options: TrainOptions, on_progress: object) -> None:
        asked.append(options.device)
        raise OptionError("enough")

    monkeypatch.setattr("napari_cellsam.training.train.train", refuse)
    monkeypatch.setattr("napari_cellsam.models.loading.choose_device", torch.device)
    assert _run("--out", str(tmp_path), "--device", "cuda:1") == 1
    assert asked == ["cuda:1"]
