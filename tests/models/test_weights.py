"""Tests of reading checkpoints."""

from __future__ import annotations

import hashlib
import json
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from napari_cellsam.errors import CheckpointError
from napari_cellsam.models.network.cellfinder import CellFinderConfig
from napari_cellsam.models.network.cellsam import CellSam, CellSamConfig
from napari_cellsam.models.network.vit import VitConfig
from napari_cellsam.models.weights import inspect_checkpoint, load_checkpoint, load_network

State = dict[str, torch.Tensor]

VIT = VitConfig(width=16, depth=2, n_heads=2, n_hidden=24, global_blocks=(1,), window=3, side=64, n_out=16)
FINDER = CellFinderConfig(n_in=16, width=32, n_hidden=48, n_encoder=1, n_decoder=2, n_anchors=5)
CONFIG = CellSamConfig(VIT, FINDER, n_mask_hidden=40, n_iou_hidden=24, n_mask_in=8)
BODY, HEAD = "cellfinder.decode_head.backbone.body.", "cellfinder.decode_head.transformer."


def _model(config: CellSamConfig = CONFIG) -> CellSam:
    torch.manual_seed(0)
    model = CellSam(config)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter)
    return model


def _published(model: CellSam, branch: str) -> State:
    """Return the tensors of a model under the names of the published files."""
    state: State = {}
    for name, tensor in model.state_dict().items():
        if name.startswith("detector_encoder."):
            state[BODY + name.removeprefix("detector_encoder.")] = tensor
        elif name.startswith("cellfinder.input_proj."):
            state[f"cellfinder.decode_head.input_proj.0.{name.removeprefix('cellfinder.input_proj.')}"] = tensor
        elif name.startswith(("cellfinder.class_embed.", "cellfinder.bbox_embed.")):
            _, head, rest = name.split(".", 2)
            state |= {f"{HEAD}{head}.{i}.{rest}": tensor for i in range(2)}
        elif name.startswith("cellfinder."):
            state[HEAD + name.removeprefix("cellfinder.")] = tensor
        else:
            state[branch + name] = tensor
    return state


@pytest.fixture
def adv() -> State:
    """Tensors of the layout with a mask branch of its own; the third copy differs from it."""
    state = _published(_model(), "model_cp.")
    third = {k.replace("model_cp.", "model."): v + 1 for k, v in state.items() if k.startswith("model_cp.")}
    return state | third


@pytest.fixture
def plain() -> State:
    """Tensors of the layout whose mask branch is the first one."""
    return _published(_model(), "model.")


def _save(content: Any, folder: Path, name: str = "weights.pt") -> Path:
    torch.save(content, folder / name)
    return folder / name


def _same(model: torch.nn.Module, other: torch.nn.Module) -> bool:
    a, b = model.state_dict(), other.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def test_the_layout_with_a_mask_branch_of_its_own_uses_it(adv: State, tmp_path: Path) -> None:
    network = load_network(_save(adv, tmp_path))
    assert network.architecture == "cellsam"
    assert _same(network.model, _model())
    assert network.model.config == CONFIG  # type: ignore[comparison-overlap]
    assert not network.model.training and not any(p.requires_grad for p in network.model.parameters())


def test_the_plain_layout_uses_the_first_branch(plain: State, tmp_path: Path) -> None:
    network = load_network(_save(plain, tmp_path))
    assert _same(network.model, _model())
    assert network.model.config == replace(CONFIG, layout="plain")  # type: ignore[comparison-overlap]


def test_sam_alone_loads_without_a_detector(tmp_path: Path) -> None:
    model = _model(replace(CONFIG, finder=None, layout="sam"))
    path = _save(model.state_dict() | {"pixel_mean": torch.zeros(3, 1, 1)}, tmp_path)
    assert _same(load_network(path).model, model)
    info = inspect_checkpoint(path)
    assert (info.architecture, info.variant, info.can_detect) == ("sam", "vit", False)


@pytest.mark.parametrize("variant", ["adv", "plain"])
def test_names_in_a_published_file_and_in_the_network_tell_of_each_other(variant: str) -> None:
    from napari_cellsam.models.layouts import published_names, recognise

    model = _model(replace(CONFIG, layout=variant))  # type: ignore[arg-type]
    state = model.state_dict()
    keys = published_names(state, variant, 2)
    assert keys.keys() == _published(model, "model_cp." if variant == "adv" else "model.").keys()
    layout = recognise({key: tuple(state[name].shape) for key, name in keys.items()})
    assert layout.variant == variant and layout.keys.keys() == state.keys()
    assert all(keys[key] == name for name, key in layout.keys.items())


@pytest.mark.parametrize("kind", ["vit_b", "vit_l", "vit_h"])
def test_sams_sizes_are_told_by_their_shapes(kind: str) -> None:
    from segment_anything import sam_model_registry

    from napari_cellsam.models.layouts import recognise

    with torch.device("meta"):
        sam = sam_model_registry[kind]()
        layout = recognise({key: tuple(tensor.shape) for key, tensor in sam.state_dict().items()})
        model = CellSam(CellSamConfig.from_dict(layout.config))
    assert layout.variant == kind and layout.config["finder"] is None
    assert {k: v.shape for k, v in model.state_dict().items()} == {k: v.shape for k, v in sam.state_dict().items()}
    assert model.config.vit.global_blocks == tuple(
        i for i, block in enumerate(sam.image_encoder.blocks) if block.window_size == 0
    )


@pytest.mark.parametrize("wrap", [lambda s: {"state_dict": s}, lambda s: {"model": s, "epoch": 3}, lambda s: s])
@pytest.mark.parametrize("prefix", ["", "module.", "module.module."])
def test_wrappers_and_prefixes_are_taken_off(wrap: Any, prefix: str, plain: State, tmp_path: Path) -> None:
    path = _save(wrap({prefix + key: tensor for key, tensor in plain.items()}), tmp_path)
    assert load_checkpoint(path).state.keys() == _model().state_dict().keys()


@pytest.mark.parametrize("legacy", [False, True])
def test_both_formats_of_pytorch_are_read(legacy: bool, plain: State, tmp_path: Path) -> None:
    torch.save(plain, tmp_path / "w.pth", _use_new_zipfile_serialization=not legacy)
    assert _same(load_network(tmp_path / "w.pth").model, _model())


def test_published_tensors_are_read_from_safetensors(plain: State, tmp_path: Path) -> None:
    save_file({key: tensor.clone() for key, tensor in plain.items()}, tmp_path / "w.safetensors")
    assert _same(load_network(tmp_path / "w.safetensors").model, _model())


def test_half_precision_files_become_full_precision(plain: State, tmp_path: Path) -> None:
    model = load_network(_save({key: tensor.half() for key, tensor in plain.items()}, tmp_path)).model
    assert {p.dtype for p in model.parameters()} == {torch.float32}


def test_our_own_files_say_what_they_are(tmp_path: Path) -> None:
    model = _model(replace(CONFIG, layout="plain"))
    header = {"format": "napari-cellsam", "architecture": "cellsam", "config": json.dumps(model.config.to_dict())}
    save_file({k: v.clone() for k, v in model.state_dict().items()}, tmp_path / "w.safetensors", header)
    network = load_network(tmp_path / "w.safetensors")
    assert _same(network.model, model)
    assert network.model.config == model.config


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ({"architecture": "unet", "config": "{}"}, "design 'unet'"),
        ({"architecture": "cellsam", "config": "{"}, "not JSON"),
        ({"architecture": "cellsam", "config": "[1]"}, "config is list"),
        ({"architecture": "cellsam", "config": "{}"}, "no size of the design"),
        ({"architecture": "compact", "config": '{"field": 512}'}, "no size of the design"),
    ],
)
def test_a_wrong_header_is_refused(header: dict[str, str], message: str, tmp_path: Path) -> None:
    save_file({"a": torch.zeros(1)}, tmp_path / "w.safetensors", {"format": "napari-cellsam"} | header)
    with pytest.raises(CheckpointError, match=message):
        load_network(tmp_path / "w.safetensors")


def test_tensors_that_both_encoders_have_are_held_once(plain: State, tmp_path: Path) -> None:
    for key in [key for key in plain if key.startswith(BODY)]:
        plain[key] = plain["model.image_encoder." + key.removeprefix(BODY)].clone()
    plain[f"{BODY}blocks.0.norm1.bias"] = plain[f"{BODY}blocks.0.norm1.bias"] + 1
    model = load_network(_save(plain, tmp_path)).model
    for _ in range(2):
        one, other = (dict(getattr(model, name).named_parameters()) for name in ("detector_encoder", "image_encoder"))
        assert [key for key in one if one[key] is not other[key]] == ["blocks.0.norm1.bias"]
        model = model.double()  # as a move to another device
    assert {p.dtype for p in model.parameters()} == {torch.float64}


def test_the_network_outlives_its_file(plain: State, tmp_path: Path) -> None:
    path = _save(plain, tmp_path)
    model = load_network(path).model
    path.write_bytes(b"\0" * path.stat().st_size)
    assert _same(model, _model())


def test_inspection_counts_and_names(adv: State, tmp_path: Path) -> None:
    path = _save(adv, tmp_path)
    info = inspect_checkpoint(path)
    assert (info.architecture, info.variant, info.can_detect) == ("cellsam", "adv", True)
    assert info.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert info.n_parameters == sum(t.numel() for t in _model().state_dict().values())


@pytest.mark.parametrize(
    ("key", "change", "message"),
    [
        ("model.mask_decoder.iou_token.weight", None, r"1 missing \(mask_decoder.iou_token.weight\)"),
        (f"{HEAD}class_embed.0.extra", torch.zeros(2), r"1 unexpected \(cellfinder.class_embed.extra\)"),
        ("model.image_encoder.surplus", torch.zeros(2), r"1 unexpected \(image_encoder.surplus\)"),
        ("surplus", torch.zeros(2), r"1 unexpected \(surplus\)"),
        (
            "model.prompt_encoder.no_mask_embed.weight",
            torch.zeros(1, 8),
            r"no_mask_embed.weight is \(1, 8\), expected \(1, 16\)",
        ),
        ("model.image_encoder.pos_embed", None, "lack the tensor image_encoder.pos_embed"),
        ("model.image_encoder.pos_embed", torch.zeros(3), "shapes that no network"),
        ("model.image_encoder.blocks.0.attn.rel_pos_h", torch.zeros(9, 8), "3 of the wrong shape .*rel_pos_w is"),
        (f"{HEAD}position.weight", torch.full((5, 2), torch.nan), "NaN or infinity"),
        ("model.mask_decoder.iou_token.weight", torch.full((1, 16), torch.inf), "iou_token.weight .* NaN or infinity"),
        ("model.mask_decoder.iou_token.weight", torch.zeros(1, 16, dtype=torch.int32), "type torch.int32"),
        ("model.mask_decoder.iou_token.weight", "text", "holds str under"),
    ],
)
def test_tensors_that_do_not_fit_are_named(key: str, change: Any, message: str, plain: State, tmp_path: Path) -> None:
    if change is None:
        del plain[key]
    else:
        plain[key] = change
    with pytest.raises(CheckpointError, match=message):
        load_network(_save(plain, tmp_path))


def test_weights_of_another_design_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"another design.*layer1.weight"):
        load_network(_save({"layer1.weight": torch.zeros(2)}, tmp_path))


class _Bomb:
    """Runs code when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.trace,)


@pytest.mark.parametrize("legacy", [False, True])
def test_a_pickle_bomb_does_not_go_off(legacy: bool, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    torch.save({"a": _Bomb(trace)}, tmp_path / "w.pt", _use_new_zipfile_serialization=not legacy)
    (tmp_path / "bare.pt").write_bytes(pickle.dumps(_Bomb(trace)))
    for name in ("w.pt", "bare.pt"):
        with pytest.raises(CheckpointError, match=r"could run code|broken"):
            load_network(tmp_path / name)
    assert not trace.exists()


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
@pytest.mark.parametrize("kind", ["pt", "safetensors"])
def test_a_truncated_file_is_refused(share: float, kind: str, plain: State, tmp_path: Path) -> None:
    path = tmp_path / f"w.{kind}"
    if kind == "pt":
        torch.save(plain, path)
    else:
        save_file({key: tensor.clone() for key, tensor in plain.items()}, path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(CheckpointError, match="Fetch it again"):
        load_network(path)


@pytest.mark.parametrize("content", [[torch.zeros(2)], {}, {"epoch": 3}, 5, {1: torch.zeros(1)}])
def test_a_file_without_named_tensors_is_refused(content: Any, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="expected tensors by name"):
        load_network(_save(content, tmp_path))


def test_a_text_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "w.pt").write_text("not weights")
    with pytest.raises(CheckpointError, match=r"could run code|broken"):
        load_network(tmp_path / "w.pt")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"nothing.pt is not a file"):
        load_network(tmp_path / "nothing.pt")


def test_a_small_file_that_claims_much_memory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="claim"):
        load_network(_save({"image_encoder.pos_embed": torch.zeros(1).expand(10**12)}, tmp_path))
