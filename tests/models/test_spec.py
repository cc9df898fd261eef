"""A model's specification survives JSON and refuses nonsense."""

import json

import pytest

from napari_cellsam.errors import ModelError
from napari_cellsam.models.spec import LocalWeights, ModelSpec, PackagedWeights, RemoteWeights, check_name
from napari_cellsam.types import SegmentOptions

SHA = "0123456789abcdef" * 4
PLACES = [
    PackagedWeights("compact.safetensors"),
    RemoteWeights("https://example.org/a.safetensors", SHA),
    LocalWeights("mine+weights.pt"),
    LocalWeights("/data/weights.pt", linked=True),
]


@pytest.mark.parametrize("weights", PLACES)
def test_a_specification_survives_json(weights):
    spec = ModelSpec(
        name="mine-1.0_b",
        architecture="cellsam",
        weights=weights,
        input_side=1024,
        licence="Modified Apache 2.0",
        licence_url="https://example.org/licence",
        must_accept=True,
        description="Zellen, größer als 5 µm",
        can_detect=False,
        defaults=SegmentOptions(box_score=0.25, diameter="auto", min_area=20),
    )
    assert ModelSpec.from_json(spec.to_json()) == spec


def test_options_that_are_not_set_are_not_written():
    spec = ModelSpec("a", "compact", PLACES[0], 512, defaults=SegmentOptions(box_score=0.5))
    written = json.loads(spec.to_json())["defaults"]
    assert written["box_score"] == 0.5
    assert None not in written.values()


@pytest.mark.parametrize("name", ["a", "7", "compact", "my.model-2_b", "x" * 64])
def test_a_name_that_can_be_a_file_everywhere_is_taken(name):
    check_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "../a",
        "a/b",
        "a\\b",
        "/a",
        "A",
        "a b",
        "a.",
        "-a",
        "a\n",
        "ä",
        "x" * 65,
        "con",
        "nul.1",
        "com1",
        "a+b",
    ],
)
def test_a_name_that_could_lead_elsewhere_is_refused(name):
    with pytest.raises(ModelError, match="cannot name a model"):
        check_name(name)
    with pytest.raises(ModelError, match="cannot name a model"):
        ModelSpec(name, "compact", PLACES[0], 512)


@pytest.mark.parametrize("path", ["../a.pt", "/a.pt", "a/b.pt", "..", "", "a\\b.pt", "C:a.pt"])
def test_weights_in_another_folder_are_refused_unless_linked(path):
    for place in (LocalWeights, PackagedWeights):
        with pytest.raises(ModelError, match="without a folder"):
            place(path)


@pytest.mark.parametrize(
    ("url", "sha256"),
    [
        ("http://example.org/a", SHA),
        ("file:///etc/passwd", SHA),
        ("https://example.org/a", SHA[:-1]),
        ("https://example.org/a", SHA.upper()),
    ],
)
def test_an_address_must_be_https_with_a_sha256(url, sha256):
    with pytest.raises(ModelError):
        RemoteWeights(url, sha256)


@pytest.mark.parametrize("input_side", [0, 15, 8193])
def test_a_field_of_no_use_is_refused(input_side):
    with pytest.raises(ModelError, match="input_side"):
        ModelSpec("a", "compact", PLACES[0], input_side)


@pytest.mark.parametrize(
    "change",
    [
        {"name": 1},
        {"weights": {}},
        {"weights": None},
        {"extra": 1},
        {"defaults": {"box_score": 2}},
        {"defaults": {"x": 2}},
    ],
)
def test_json_that_is_no_specification_is_refused(change):
    values = json.loads(ModelSpec("a", "compact", PLACES[0], 512).to_json())
    with pytest.raises(ModelError):
        ModelSpec.from_json(json.dumps(values | change))


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "{}"])
def test_text_that_is_no_specification_is_refused(text):
    with pytest.raises(ModelError):
        ModelSpec.from_json(text)
