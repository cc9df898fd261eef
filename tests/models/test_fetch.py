"""Weights are found, or fetched, verified and kept."""

import hashlib

import pytest

from napari_cellsam.errors import ModelError, ModelNotFoundError
from napari_cellsam.models.fetch import accept_licence, is_licence_accepted, weights_path
from napari_cellsam.models.spec import LocalWeights, ModelSpec, PackagedWeights, RemoteWeights

CONTENT = b"weights"
REMOTE = RemoteWeights("https://example.org/files/a.safetensors?x=1", hashlib.sha256(CONTENT).hexdigest())


def make_spec(weights, **fields):
    return ModelSpec("mine", "compact", weights, 512, **fields)


class Downloads:
    """Writes a content instead of downloading, and counts."""

    def __init__(self, content):
        self.content, self.urls = content, []

    def __call__(self, url, file, _pooch):
        self.urls.append(url)
        with open(file, "wb") as opened:
            opened.write(self.content)


def test_packaged_weights_are_found(folders):
    (folders / "packaged" / "a.safetensors").write_bytes(CONTENT)
    assert weights_path(make_spec(PackagedWeights("a.safetensors"))).read_bytes() == CONTENT


def test_missing_packaged_weights_say_so(folders):
    with pytest.raises(ModelNotFoundError, match=r"weights of model mine are missing: .*a\.safetensors; install"):
        weights_path(make_spec(PackagedWeights("a.safetensors")))


def test_local_weights_are_beside_the_specification_or_linked(folders):
    (folders / "models").mkdir()
    (folders / "models" / "a.pt").touch()
    (folders / "b.pt").touch()
    assert weights_path(make_spec(LocalWeights("a.pt"))) == folders / "models" / "a.pt"
    assert weights_path(make_spec(LocalWeights(str(folders / "b.pt"), linked=True))) == folders / "b.pt"
    with pytest.raises(ModelNotFoundError, match="models remove mine"):
        weights_path(make_spec(LocalWeights("c.pt")))


def test_weights_are_fetched_once(folders):
    download = Downloads(CONTENT)
    first = weights_path(make_spec(REMOTE), download)
    assert first.read_bytes() == CONTENT
    assert first.suffix == ".safetensors"
    assert weights_path(make_spec(REMOTE), download) == first
    assert download.urls == [REMOTE.url]


def test_weights_that_are_not_what_was_promised_are_not_kept(folders):
    with pytest.raises(ModelError, match="cannot be fetched"):
        weights_path(make_spec(REMOTE), Downloads(b"something else"))
    assert list((folders / "cache" / "weights").iterdir()) == []


def test_a_failed_download_is_a_model_error(folders):
    def fail(*_):
        raise ConnectionError("no route to host")

    with pytest.raises(ModelError, match="no route to host"):
        weights_path(make_spec(REMOTE), fail)


def test_a_licence_is_accepted_once_before_the_first_fetch(folders):
    download = Downloads(CONTENT)
    spec = make_spec(REMOTE, licence="Free for research", must_accept=True)
    with pytest.raises(ModelError, match=r"Free for research.*models fetch mine --accept-licence"):
        weights_path(spec, download)
    assert download.urls == []
    accept_licence(spec)
    assert is_licence_accepted(spec)
    assert weights_path(spec, download).read_bytes() == CONTENT


def test_another_licence_is_asked_for_again(folders):
    accept_licence(make_spec(REMOTE, licence="one", must_accept=True))
    assert not is_licence_accepted(make_spec(REMOTE, licence="two", must_accept=True))
    assert is_licence_accepted(make_spec(REMOTE, licence="two"))


@pytest.mark.parametrize("text", ["{", "[]"])
def test_a_broken_record_of_licences_is_named(folders, text):
    (folders / "config").mkdir()
    (folders / "config" / "licences.json").write_text(text)
    with pytest.raises(ModelError, match=r"licences\.json"):
        is_licence_accepted(make_spec(REMOTE, must_accept=True))
