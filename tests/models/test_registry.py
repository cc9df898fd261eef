"""Models are listed, found, added and removed."""

import hashlib
import subprocess
import sys
from types import SimpleNamespace

import pytest

from napari_cellsam.errors import CheckpointError, ModelError, ModelNotFoundError, OutputError
from napari_cellsam.models.fetch import weights_path
from napari_cellsam.models.registry import (
    add_model,
    add_remote_model,
    find_model,
    find_weights,
    list_models,
    remove_model,
)
from napari_cellsam.models.spec import ModelNotes, ModelSpec, PackagedWeights, RemoteWeights
from napari_cellsam.settings import models_dir
from napari_cellsam.types import SegmentOptions

COMPACT = ModelSpec("compact", "compact", PackagedWeights("compact.safetensors"), 512)


def inspect(path):
    """Stand in for the checkpoint reader: the file's text is its architecture."""
    architecture = path.read_text()
    if architecture == "broken":
        raise CheckpointError("broken")
    return SimpleNamespace(architecture=architecture, n_parameters=1, can_detect=architecture != "sam", sha256="")


@pytest.fixture
def weights(folders):
    """Return a checkpoint of the user, with one packaged model beside it."""
    (folders / "packaged" / "compact.json").write_text(COMPACT.to_json())
    path = folders / "trained.PT"
    path.write_text("cellsam")
    return path


def test_an_added_model_is_copied_and_found(weights, folders):
    notes = ModelNotes("for yeast", "CC0", "https://example.org", defaults=SegmentOptions(box_score=0.3))
    spec = add_model(weights, "yeast", inspect, notes)
    weights.unlink()
    assert find_model("yeast") == spec
    assert (spec.architecture, spec.input_side, spec.can_detect) == ("cellsam", 1024, True)
    assert (spec.description, spec.licence, spec.defaults.box_score) == ("for yeast", "CC0", 0.3)
    assert weights_path(spec).read_text() == "cellsam"
    assert find_weights("yeast").parent == folders / "models"


def test_a_linked_model_stays_where_it_is(weights, folders):
    spec = add_model(weights, "yeast", inspect, ModelNotes(input_side=256), link=True)
    assert find_weights("yeast") == weights
    assert spec.input_side == 256
    assert [path.name for path in (folders / "models").iterdir()] == ["yeast.json"]
    remove_model("yeast")
    assert weights.exists()


def test_the_packaged_models_are_listed_first(weights):
    add_model(weights, "a", inspect)
    assert [spec.name for spec in list_models()] == ["compact", "a"]


def test_a_removed_model_leaves_nothing_and_takes_no_other_with_it(weights, folders):
    for name in ("a", "a.weights", "a-b"):
        add_model(weights, name, inspect)
    remove_model("a")
    assert [spec.name for spec in list_models()] == ["compact", "a-b", "a.weights"]
    assert find_weights("a.weights").exists()
    with pytest.raises(ModelNotFoundError):
        remove_model("a")
    remove_model("a-b")
    remove_model("a.weights")
    assert list((folders / "models").iterdir()) == []


def test_a_model_without_a_detector_says_so(weights):
    weights.write_text("sam")
    assert not add_model(weights, "sam", inspect).can_detect


def test_an_unknown_model_is_refused_with_the_names_there_are(weights):
    for find in (find_model, find_weights, remove_model):
        with pytest.raises(ModelNotFoundError, match="no model 'yeats'; the models are compact"):
            find("yeats")


def test_packaged_weights_that_are_missing_say_so(weights):
    with pytest.raises(ModelNotFoundError, match=r"compact\.safetensors; install napari-cellsam again"):
        find_weights("compact")


def test_a_path_is_found_unless_a_model_has_its_name(weights, folders, monkeypatch):
    assert find_weights(str(weights)) == weights
    monkeypatch.chdir(folders)
    (folders / "yeast").touch()
    assert find_weights("yeast").name == "yeast"
    add_model(weights, "yeast", inspect)
    assert find_weights("yeast").parent == folders / "models"


@pytest.mark.parametrize("name", ["compact", "auto", "default"])
def test_reserved_names_are_refused(weights, name):
    with pytest.raises(ModelError, match="reserved"):
        add_model(weights, name, inspect)
    with pytest.raises(ModelError, match="part of napari-cellsam"):
        remove_model(name)


@pytest.mark.parametrize("name", ["../a", "a/b", "..", ""])
def test_names_that_lead_elsewhere_are_refused(weights, folders, name):
    with pytest.raises(ModelError, match="cannot name a model"):
        add_model(weights, name, inspect)
    with pytest.raises(ModelNotFoundError):
        remove_model(name)
    assert not (folders / "models").exists()


def test_a_name_is_taken_once(weights):
    add_model(weights, "a", inspect)
    with pytest.raises(ModelError, match="already"):
        add_model(weights, "a", inspect)


def test_a_broken_checkpoint_is_not_added(weights, folders):
    weights.write_text("broken")
    with pytest.raises(CheckpointError):
        add_model(weights, "a", inspect)
    with pytest.raises(ModelNotFoundError, match="no weights file"):
        add_model(folders / "none.pt", "a", inspect)
    assert not (folders / "models").exists()


def test_a_copy_whose_specification_cannot_be_written_is_deleted(weights, folders):
    with pytest.raises(ModelError, match="input_side"):
        add_model(weights, "a", inspect, ModelNotes(input_side=1))
    assert list((folders / "models").iterdir()) == []


def test_a_models_folder_that_cannot_be_made_is_an_output_error(weights, folders):
    (folders / "models").touch()
    with pytest.raises(OutputError, match="cannot be made"):
        add_model(weights, "a", inspect)


def test_remote_weights_are_fetched_and_inspected_before_they_are_added(weights, folders):
    remote = RemoteWeights("https://example.org/a.pt", hashlib.sha256(b"cellsam").hexdigest())

    def download(_url, file, _pooch):
        with open(file, "wb") as opened:
            opened.write(b"cellsam")

    spec = add_remote_model("far", remote, inspect, downloader=download)
    assert find_model("far") == spec
    assert spec.architecture == "cellsam"
    assert find_weights("far").parent == folders / "cache" / "weights"


def test_a_place_that_must_not_be_looked_at_is_an_error_of_ours(weights, monkeypatch):
    is_file = type(weights).is_file

    def refuse(path):
        if path.suffix != ".json":
            raise PermissionError(13, "Permission denied", str(path))
        return is_file(path)

    monkeypatch.setattr(type(weights), "is_file", refuse)
    with pytest.raises(ModelError, match="Permission denied"):
        find_weights("/somewhere/a.pt")
    with pytest.raises(ModelError, match="Permission denied"):
        add_model(weights, "mine", inspect)


@pytest.mark.parametrize("text", ["{", COMPACT.to_json()])
def test_a_broken_specification_is_named_and_harms_no_other_model(weights, folders, text):
    (folders / "models").mkdir()
    (folders / "models" / "broken.json").write_text(text)
    with pytest.raises(ModelError, match=r"broken\.json"):
        list_models()
    errors = []
    assert list_models(errors.append) == [COMPACT]
    assert ["broken.json" in str(error) for error in errors] == [True]
    assert find_model("compact") == COMPACT
    remove_model("broken")
    assert list_models() == [COMPACT]


def test_the_registry_needs_no_torch():
    code = "import sys; sys.modules['torch'] = None; import napari_cellsam.models.registry as r; r.list_models()"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_what_was_never_written_to_the_end_hides_no_model(weights, folders):
    add_model(weights, "mine", inspect)
    (models_dir() / ".mine.0123456789abcdef.json").write_bytes(b"")
    assert "mine" in {spec.name for spec in list_models()}
    assert find_model("mine").name == "mine"


def test_of_two_programs_that_add_a_name_at_once_one_has_it_with_its_own_weights(weights, folders):
    other = folders / "other.pt"
    other.write_text("cellsam_other")

    def inspect_late(path):
        add_model(other, "a", inspect)
        return inspect(path)

    with pytest.raises(OutputError, match="exists already"):
        add_model(weights, "a", inspect_late)
    assert find_model("a").architecture == "cellsam_other"
    assert find_weights("a").read_text() == "cellsam_other"
    remove_model("a")
    assert list((folders / "models").iterdir()) == []
