"""Devices and precisions are chosen by what the machine has."""

import pytest
import torch

from napari_cellsam.engine import load_model
from napari_cellsam.errors import CheckpointError, DeviceError, ModelNotFoundError, OptionError
from napari_cellsam.models.compact_backend import CompactBackend
from napari_cellsam.models.loading import choose_device, choose_dtype, load_backend
from napari_cellsam.training.release import save_release

CPU = torch.device("cpu")


@pytest.fixture
def machine(monkeypatch):
    """Return a function that says which devices the machine has."""

    def has(*, cuda=0, mps=False, bf16=False):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda)
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: bf16)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: bf16)
        monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)

    return has


@pytest.mark.parametrize(
    ("has", "best"), [({}, "cpu"), ({"mps": True}, "mps"), ({"cuda": 1}, "cuda"), ({"cuda": 1, "mps": True}, "cuda")]
)
def test_auto_takes_the_best_device(machine, has, best):
    machine(**has)
    assert choose_device("auto").type == best


@pytest.mark.parametrize("name", ["cuda", "cuda:0", "mps"])
def test_a_device_that_is_not_there_is_refused(machine, name):
    machine()
    with pytest.raises(DeviceError, match=f"'{name}' was asked for, but this machine has cpu only"):
        choose_device(name)


def test_a_gpu_number_that_is_not_there_is_refused(machine):
    machine(cuda=2)
    assert choose_device("cuda:1").index == 1
    with pytest.raises(DeviceError, match="2 GPUs"):
        choose_device("cuda:2")


@pytest.mark.parametrize("name", ["gpu", "", "cuda:x", "meta"])
def test_a_name_of_no_device_is_refused(machine, name):
    machine()
    with pytest.raises(DeviceError):
        choose_device(name)


def test_precision_auto_is_half_where_the_hardware_has_it(machine):
    for fast, expected in ((True, torch.bfloat16), (False, torch.float32)):
        machine(cuda=1, bf16=fast)
        assert choose_dtype("auto", torch.device("cuda")) == expected
        assert choose_dtype("auto", CPU) == expected
    assert choose_dtype("auto", torch.device("mps")) == torch.float32


def test_a_precision_that_is_named_is_taken():
    assert choose_dtype("fp32", CPU) == torch.float32 and choose_dtype("bf16", CPU) == torch.bfloat16


def test_an_unknown_precision_is_refused():
    with pytest.raises(OptionError, match="'fp8'; expected fp32, bf16 or auto"):
        choose_dtype("fp8", CPU)


def test_weights_of_a_compact_model_make_a_compact_back_end(tmp_path, tiny_compact):
    save_release(tiny_compact, tmp_path / "x.safetensors")
    backend = load_backend(tmp_path / "x.safetensors", CPU, "fp32")
    assert isinstance(backend, CompactBackend) and backend.side == 128


def test_a_model_that_does_not_exist_is_not_found():
    with pytest.raises(ModelNotFoundError, match="no_such_model"):
        load_model("no_such_model", device="cpu")


def test_a_file_that_is_no_checkpoint_is_refused(tmp_path):
    (tmp_path / "x.safetensors").write_text("not weights")
    with pytest.raises(CheckpointError):
        load_model(str(tmp_path / "x.safetensors"), device="cpu")


def test_the_broken_specification_of_another_model_is_no_hindrance(tmp_path, tiny_compact, monkeypatch):
    monkeypatch.setenv("NAPARI_CELLSAM_MODELS_DIR", str(tmp_path))
    (tmp_path / "broken.json").write_text("{")
    save_release(tiny_compact, tmp_path / "x.safetensors")
    assert load_model(str(tmp_path / "x.safetensors"), "cpu", "fp32").model_id == "x"
