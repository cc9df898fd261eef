"""Models of published design learn, and only where they should."""

import copy

import numpy as np
import pytest
import torch

from napari_cellsam.data.retraining.pictures import RetrainingPicture
from napari_cellsam.errors import CheckpointError, OptionError, OutputError, UnsupportedTaskError
from napari_cellsam.models.network.cellfinder import CellFinderConfig
from napari_cellsam.models.network.cellsam import CellSam, CellSamConfig
from napari_cellsam.models.network.vit import VitConfig
from napari_cellsam.models.weights import Network, inspect_checkpoint, load_network
from napari_cellsam.training.finetune import Finetuning, FinetuningPlace
from napari_cellsam.training.learner import CompactLearner
from napari_cellsam.training.learners import learner_of
from napari_cellsam.training.lessons import Lessons
from napari_cellsam.training.published_learner import PublishedLearner
from napari_cellsam.types import Image
from napari_cellsam.types.finetuning import FinetuneOptions

VIT = VitConfig(width=32, depth=2, n_heads=2, n_hidden=48, global_blocks=(1,), window=14, side=128, n_out=32)
FINDER = CellFinderConfig(n_in=32, width=32, n_hidden=48, n_encoder=1, n_decoder=2, n_anchors=30)
CONFIG = CellSamConfig(VIT, FINDER, n_mask_hidden=40, n_iou_hidden=24, n_mask_in=8)
CPU = torch.device("cpu")
EDGE = 32  # what is right of it is unknown in `half_known`


def network(finder=FINDER, layout="adv"):
    torch.manual_seed(0)
    model = CellSam(CellSamConfig(VIT, finder, layout, n_mask_hidden=40, n_iou_hidden=24, n_mask_in=8))
    for name, parameter in model.named_parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=1 / parameter[0].numel() ** 0.5)
        elif not name.endswith("weight"):
            torch.nn.init.normal_(parameter, std=0.05)
    if finder:
        torch.nn.init.uniform_(model.cellfinder.position.weight)
    return model.eval().requires_grad_(False)


def learner(**options):
    return PublishedLearner(network(), CPU, **options)


def scene(seed=0, side=64):
    """Return one picture (1, 3, side, side) uint8 and labels of bright discs on a dim ground."""
    rng = np.random.default_rng(seed)
    y, x = np.indices((side, side))
    labels = np.zeros((side, side), np.int32)
    while labels.max() < 6 * (side // 64) ** 2:
        cy, cx, radius = rng.uniform(6, side - 6), rng.uniform(6, side - 6), rng.uniform(5, 8)
        disc = (y - cy) ** 2 + (x - cx) ** 2 <= radius**2
        if not labels[disc].any():
            labels[disc] = labels.max() + 1
    picture = np.zeros((1, 3, side, side), np.uint8)
    picture[0, 2] = np.clip(50 + 150 * (labels > 0) + rng.normal(0, 8, labels.shape), 0, 255)
    return torch.from_numpy(picture), torch.from_numpy(labels)[None]


def half_known():
    pictures, labels = scene()
    beyond = labels[:, :, EDGE:].unique()
    labels[torch.isin(labels, beyond[beyond > 0])] = -1
    labels[:, :, EDGE:] = -1
    return pictures, labels


def train(taught, stage, n_steps, batch):
    """Return the losses of every step."""
    taught.set_stage(stage)
    optimizer = torch.optim.AdamW(taught.groups(3e-2), lr=1.0)
    for group in optimizer.param_groups:
        group["lr"] = group["base_lr"]
    told = []
    for _ in range(n_steps):
        torch.manual_seed(0)
        parts = taught.losses(*batch, stage)
        sum(parts.values()).backward()
        torch.nn.utils.clip_grad_norm_(taught.network.parameters(), taught.max_norm)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        told.append({name: part.item() for name, part in parts.items()})
    return told


def changed(before, after):
    return {name for name, tensor in after.state_dict().items() if not torch.equal(tensor, before[name])}


def test_the_detector_learns_and_nothing_else_changes():
    taught = learner()
    before = copy.deepcopy(taught.network.state_dict())
    told = train(taught, "detector", 40, scene())
    assert told[-1].keys() == {"score", "box", "overlap"}
    assert told[-1]["score"] < 0.7 * told[0]["score"]
    assert told[-1]["box"] + told[-1]["overlap"] < 0.7 * (told[0]["box"] + told[0]["overlap"])
    names = changed(before, taught.network)
    assert {"cellfinder.class_embed.weight", "cellfinder.position.weight", "cellfinder.input_proj.0.weight"} < names
    assert all(name.startswith("cellfinder.") for name in names)


def test_the_mask_branch_learns_by_its_neck_alone():
    taught = learner()
    before = copy.deepcopy(taught.network.state_dict())
    told = train(taught, "masks", 40, scene())
    assert told[-1].keys() == {"mask", "quality"}
    assert told[-1]["mask"] < 0.7 * told[0]["mask"]
    neck = {name for name in before if name.startswith("image_encoder.neck.")}
    assert changed(before, taught.network) == neck


def test_both_learn_in_the_joint_stage_and_the_encoders_blocks_never_do():
    taught = learner()
    before = copy.deepcopy(taught.network.state_dict())
    train(taught, "joint", 2, scene())
    names = changed(before, taught.network)
    assert any(name.startswith("cellfinder.") for name in names)
    assert any(name.startswith("image_encoder.neck.") for name in names)
    assert all(name.startswith(("cellfinder.", "image_encoder.neck.")) for name in names)
    taught_ones = {id(p) for group in taught.groups(1.0) for p in group["params"]}
    learnable = {name for name, p in taught.network.named_parameters() if id(p) in taught_ones}
    assert learnable == {name for name, p in taught.network.named_parameters() if p.requires_grad} >= names


def gradients(saves_memory):
    taught = learner(saves_memory=saves_memory)
    taught.set_stage("joint")
    torch.manual_seed(0)
    sum(taught.losses(*scene(), "joint").values()).backward()
    return {name: p.grad for name, p in taught.network.named_parameters() if p.grad is not None}


def test_layers_that_are_computed_again_give_the_same_gradients():
    kept, again = gradients(saves_memory=False), gradients(saves_memory=True)
    assert kept.keys() == again.keys() and len(kept) > 20
    for name, gradient in kept.items():
        assert torch.allclose(gradient, again[name], rtol=1e-4, atol=1e-5), name


def test_layers_are_computed_again_only_where_memory_is_to_be_saved():
    n_runs = {}
    for saves_memory in (False, True):
        taught = learner(saves_memory=saves_memory)
        taught.set_stage("joint")
        runs = []
        taught.network.cellfinder.encoder_layers[0].register_forward_pre_hook(lambda *_, runs=runs: runs.append(1))
        sum(taught.losses(*scene(), "joint").values()).backward()
        n_runs[saves_memory] = len(runs)
    assert n_runs == {False: 1, True: 2}


def test_masks_get_no_gradient_where_nothing_is_known(monkeypatch):
    kept = []
    decode = CellSam.decode

    def call(self, *args, **options):
        answer = decode(self, *args, **options)
        for logits in answer.logits:
            logits.retain_grad()
        kept.extend(answer.logits)
        return answer

    monkeypatch.setattr(CellSam, "decode", call)
    taught = learner(saves_memory=False)
    taught.set_stage("masks")
    sum(taught.losses(*half_known(), "masks").values()).backward()
    assert kept
    for logits in kept:
        assert logits.grad[:, : EDGE // 2].any(), "what is known teaches"
        assert not logits.grad[:, EDGE // 2 :].any()


def test_a_crop_of_which_nothing_is_known_teaches_nothing():
    taught = learner()
    taught.set_stage("joint")
    pictures, labels = scene()
    parts = taught.losses(pictures, torch.full_like(labels, -1), "joint")
    assert parts.keys() == {"score", "box", "overlap"}
    assert all(float(part.detach()) == 0 for part in parts.values())


def test_a_crop_without_cells_teaches_background():
    taught = learner()
    taught.set_stage("joint")
    pictures, labels = scene()
    parts = taught.losses(pictures, torch.zeros_like(labels), "joint")
    assert float(parts["score"].detach()) > 0
    sum(parts.values()).backward()
    assert taught.network.cellfinder.class_embed.weight.grad.any()


def test_several_crops_are_learned_from_together():
    taught = learner()
    taught.set_stage("joint")
    (one, its), (other, others) = scene(0), scene(1)
    parts = taught.losses(torch.cat((one, other)), torch.cat((its, others)), "detector")
    alone = [taught.losses(*batch, "detector") for batch in ((one, its), (other, others))]
    for name, part in parts.items():  # both have as many cells
        assert float(part.detach()) == pytest.approx(sum(float(a[name].detach()) for a in alone) / 2, rel=1e-4)


def test_half_precision_is_near():
    batch = scene()
    told = {}
    for precision in ("auto", "bf16"):
        taught = learner(precision=precision)
        torch.manual_seed(0)
        told[precision] = {name: float(part) for name, part in taught.losses(*batch, "joint").items()}
        assert {p.dtype for p in taught.network.parameters()} == {torch.float32}
    assert told["bf16"] != told["auto"]
    assert told["bf16"] == {name: pytest.approx(value, rel=0.15, abs=0.05) for name, value in told["auto"].items()}


@pytest.mark.parametrize("layout", ["adv", "plain"])
def test_a_saved_network_is_read_back_with_equal_weights_and_layout(tmp_path, layout):
    model = network(layout=layout)
    for part in ("patch_embed", "blocks"):  # as in published files, where the detector's encoder is the other's copy
        model.detector_encoder.get_submodule(part).load_state_dict(model.image_encoder.get_submodule(part).state_dict())
    PublishedLearner(model, CPU).save(tmp_path / "w.safetensors")
    read = load_network(tmp_path / "w.safetensors")
    assert read.architecture == "cellsam" and inspect_checkpoint(tmp_path / "w.safetensors").variant == layout
    assert_equal(model, read.model)
    prepared = scene()[0][0].float() / 255
    with torch.inference_mode():
        ours, theirs = (m.find(m.encode_detector(prepared)) for m in (model, read.model))
        assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))
        assert torch.equal(model.encode_mask(prepared), read.model.encode_mask(prepared))
    # Tensors that are one in memory now are written twice, and read again.
    PublishedLearner(read.model, CPU).save(tmp_path / "again.safetensors")
    assert_equal(model, load_network(tmp_path / "again.safetensors").model)


def assert_equal(one, other):
    a, b = one.state_dict(), other.state_dict()
    assert a.keys() == b.keys()
    assert all(torch.equal(tensor, b[name]) for name, tensor in a.items())


def test_sam_alone_learns_masks_and_stays_sam(tmp_path):
    taught = PublishedLearner(network(finder=None, layout="sam"), CPU)
    assert not taught.can_detect
    assert taught.losses(*scene(), "joint").keys() == {"mask", "quality"}
    told = train(taught, "masks", 20, scene())
    assert told[-1]["mask"] < told[0]["mask"]
    taught.save(tmp_path / "w.safetensors")
    assert load_network(tmp_path / "w.safetensors").architecture == "sam"
    with pytest.raises(UnsupportedTaskError, match="cannot find cells"):
        taught.losses(*scene(), "detector")


def test_broken_weights_are_not_written(tmp_path):
    taught = learner()
    with torch.no_grad():
        taught.network.cellfinder.class_embed.bias[0] = torch.nan
    with pytest.raises(CheckpointError, match="NaN or infinity"):
        taught.save(tmp_path / "w.safetensors")
    assert not list(tmp_path.iterdir())


def test_a_size_that_the_layout_cannot_tell_is_refused(tmp_path):
    finder = CellFinderConfig(n_in=32, width=32, n_heads=4, n_hidden=48, n_encoder=1, n_decoder=2, n_anchors=5)
    with pytest.raises(CheckpointError, match="n_heads=4"):
        PublishedLearner(network(finder), CPU).save(tmp_path / "w.safetensors")


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(OutputError, match="does not exist"):
        learner().save(tmp_path / "none" / "w.safetensors")


def test_weights_that_went_astray_are_told_by_the_losses():
    taught = learner()
    with torch.no_grad():
        taught.network.cellfinder.class_embed.bias.fill_(torch.nan)
    assert not torch.isfinite(sum(taught.losses(*scene(), "detector").values()))


def test_a_twin_shares_what_never_learns():
    taught = learner()
    name = "image_encoder.neck.0.weight"
    twin = taught.twin({name: torch.zeros_like(taught.network.get_parameter(name))})
    assert not twin.network.get_parameter(name).any() and taught.network.get_parameter(name).any()
    ours, theirs = dict(taught.network.named_parameters()), dict(twin.network.named_parameters())
    shared = {name for name in ours if ours[name] is theirs[name]}
    assert shared == {name for name in ours if not name.startswith(("cellfinder.", "image_encoder.neck."))}
    backend = twin.backend()
    assert backend.network is twin.network and backend.precision == "float32"
    taught.set_stage("joint")
    assert taught.network.cellfinder.class_embed.weight.requires_grad


def test_a_twin_of_a_network_that_has_detected_answers_with_its_own_weights():
    taught = learner()
    features = torch.zeros(32, 8, 8)
    with torch.inference_mode():
        taught.network.find(features)
    moved = taught.network.cellfinder.position.weight + 0.1
    twin = taught.twin({"cellfinder.position.weight": moved})
    with torch.inference_mode():
        assert not torch.equal(twin.network.find(features)[1], taught.network.find(features)[1])


def test_a_crop_fills_the_field_at_the_zoom_of_the_training():
    options = learner().crop_options(FinetuneOptions(side=256, seed=7))
    assert (options.side, options.seed, options.augment.diameter) == (64, 7, None)


def picture(seed):
    pictures, labels = scene(seed, 128)
    pixels = pictures[0, 2].numpy()[..., None]
    image = Image(pixels, cell=0)
    return RetrainingPicture(image, labels[0].numpy().astype(np.uint32), np.ones((128, 128), bool), f"{seed}", "g")


@pytest.mark.parametrize("can_detect", [True, False])
def test_a_whole_fine_tuning_runs_is_judged_and_can_be_saved(tmp_path, can_detect):
    model = network() if can_detect else network(finder=None, layout="sam")
    taught = PublishedLearner(model, CPU)
    lessons = Lessons((picture(0), picture(1)), (picture(2),))
    options = FinetuneOptions(steps=6, batch=2, n_checks=2, replay=0.0, masks_from=0.5, rate=3e-3)
    steps = Finetuning(taught, lessons, options, FinetuningPlace(tmp_path, "one")).steps()
    told, state = [], None
    answer = None
    while state is None:
        try:
            step = steps.send(answer)
        except StopIteration as end:
            state = end.value
            break
        work = getattr(step, "work", None)
        answer = work() if callable(work) else None
        if hasattr(step, "losses"):
            told.append(step)
    assert [progress.step for progress in told][-1] == 6 and state.best
    assert {progress.stage for progress in told} >= ({"joint", "masks"} if can_detect else {"masks"})
    judged = [progress for progress in told if progress.val_losses]
    assert judged and all((progress.f1 is not None) == can_detect for progress in judged)
    best = taught.twin(state.best)
    best.save(tmp_path / "best.safetensors")
    assert_equal(best.network, load_network(tmp_path / "best.safetensors").model)


def test_the_learner_follows_from_the_design(tiny_compact):
    assert isinstance(learner_of(Network("cellsam", network()), CPU, "auto", True), PublishedLearner)
    assert isinstance(learner_of(Network("compact", tiny_compact), CPU, "fp32", False), CompactLearner)
    with pytest.raises(OptionError, match="precision"):
        learner_of(Network("cellsam", network()), CPU, "fp8", True)
