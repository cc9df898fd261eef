"""``napari-cellsam models`` lists, describes, adds, removes and fetches."""

import sys
from types import ModuleType, SimpleNamespace

import pytest

from napari_cellsam.errors import CheckpointError
from napari_cellsam.models.spec import ModelSpec, PackagedWeights, RemoteWeights


@pytest.fixture(autouse=True)
def folders(tmp_path, monkeypatch):
    """Move every folder below a temporary one, with one packaged model, and inspect files by their text."""
    for name in ("cache", "config", "models"):
        monkeypatch.setenv(f"NAPARI_CELLSAM_{name.upper()}_DIR", str(tmp_path / name))
    packaged = tmp_path / "packaged"
    packaged.mkdir()
    monkeypatch.setattr("napari_cellsam.models.fetch.PACKAGED_DIR", packaged)
    spec = ModelSpec("compact", "compact", PackagedWeights("compact.safetensors"), 512, "BSD-3-Clause")
    (packaged / "compact.json").write_text(spec.to_json())
    (packaged / "compact.safetensors").touch()

    def inspect(path):
        if path.read_text() == "bomb":
            raise CheckpointError("the file runs code when it is loaded")
        return SimpleNamespace(architecture=path.read_text(), n_parameters=1, can_detect=False, sha256="")

    weights = ModuleType("napari_cellsam.models.weights")
    weights.inspect_checkpoint = inspect
    monkeypatch.setitem(sys.modules, "napari_cellsam.models.weights", weights)
    (tmp_path / "mine.pt").write_text("sam_vit_b")
    return tmp_path


def test_an_added_model_is_listed_described_and_removed(run, folders):
    ended = run("models", "add", folders / "mine.pt", "mine", "--licence", "CC0", "--description", "Of mine.")
    assert (ended.code, ended.out) == (0, "added mine: sam_vit_b, 1024 px\n")
    lines = run("models", "list").out.splitlines()
    assert lines[0].startswith("compact: compact, 512 px, automatic and prompts, BSD-3-Clause.")
    assert lines[1] == "mine: sam_vit_b, 1024 px, prompts only, CC0. Of mine."
    assert [spec["name"] for spec in run("models", "list", "--json").document] == ["compact", "mine"]
    (copy,) = (folders / "models").glob("mine+weights-*.pt")
    assert f"weights: path={copy.name}, linked=False" in run("models", "info", "mine").out
    assert run("models", "info", "mine", "--json").document["licence"] == "CC0"
    assert run("models", "remove", "mine").out == "removed mine\n"
    assert run("models", "info", "mine").code == 1


def test_a_broken_specification_is_named_beside_the_good_ones(run, folders):
    (folders / "models").mkdir()
    (folders / "models" / "broken.json").write_text("{")
    ended = run("models", "list")
    assert (ended.code, "broken.json" in ended.err) == (1, True)
    assert ended.out.startswith("compact: ")


def test_a_linked_model_is_not_copied(run, folders):
    assert run("models", "add", folders / "mine.pt", "mine", "--link").code == 0
    assert [path.name for path in (folders / "models").iterdir()] == ["mine.json"]


def test_errors_are_one_line(run, folders):
    (folders / "bomb.pt").write_text("bomb")
    for arguments, message in (
        (("add", folders / "bomb.pt", "bomb"), "error: the file runs code when it is loaded\n"),
        (("add", folders / "none.pt", "none"), f"error: there is no weights file {folders / 'none.pt'}\n"),
        (("remove", "compact"), "error: model compact is part of napari-cellsam and cannot be removed\n"),
    ):
        ended = run("models", *arguments)
        assert (ended.code, ended.out, ended.err) == (1, "", message)


@pytest.mark.parametrize("arguments", [("https://example.org/a.pt", "a"), ("a.pt", "a", "--sha256", "0" * 64), ()])
def test_an_address_needs_its_sha256_and_a_file_does_not(run, arguments):
    assert run("models", "add", *arguments).code == 2


def test_fetching_asks_for_the_licence_once(run, folders):
    import hashlib

    weights = RemoteWeights("https://example.org/a.pt", hashlib.sha256(b"far").hexdigest())
    spec = ModelSpec("far", "cellsam", weights, 1024, "Free for research", must_accept=True)
    (folders / "packaged" / "far.json").write_text(spec.to_json())
    cached = folders / "cache" / "weights" / f"{weights.sha256}.pt"
    cached.parent.mkdir(parents=True)
    cached.write_bytes(b"far")
    ended = run("models", "fetch", "far")
    assert ended.code == 1
    assert "Free for research" in ended.err
    assert run("models", "fetch", "far", "--accept-licence").out == f"{cached}\n"
    assert run("models", "fetch", "far").code == 0


def test_packaged_weights_need_no_fetching(run, folders):
    assert run("models", "fetch", "compact").out == f"{folders / 'packaged' / 'compact.safetensors'}\n"
