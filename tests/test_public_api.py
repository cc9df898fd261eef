from __future__ import annotations

import subprocess
import sys

import pytest

import napari_cellsam

PUBLIC = [
    "CellsamError",
    "Client",
    "Detections",
    "Embedding",
    "Evaluation",
    "Image",
    "LabelPair",
    "Mask",
    "Model",
    "Prompt",
    "Scores",
    "SegmentOptions",
    "Segmentation",
    "__version__",
    "connect",
    "evaluate",
    "list_images",
    "load_model",
    "load_sample",
    "read_image",
    "read_labels",
    "sample_names",
    "write_labels",
]
HEAVY = {"torch", "torchvision", "timm", "segment_anything", "napari", "qtpy", "PySide6", "PyQt6", "skimage", "scipy"}


def modules_after(code: str) -> set[str]:
    """Return the names of the top-level modules that a new interpreter has loaded after the code."""
    command = [sys.executable, "-c", f"{code}\nimport sys\nprint(*{{name.split('.')[0] for name in sys.modules}})"]
    return set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())


def test_the_public_api_is_what_we_say_it_is():
    assert napari_cellsam.__all__ == PUBLIC


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_resolves(name):
    assert getattr(napari_cellsam, name) is not None
    assert name in dir(napari_cellsam)


def test_a_name_that_is_not_public_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'segmnt'"):
        _ = napari_cellsam.segmnt


def test_importing_the_package_loads_nothing_heavy():
    assert modules_after("import napari_cellsam") & (HEAVY | {"numpy"}) == set()


def test_using_the_value_types_loads_nothing_heavy():
    code = "import napari_cellsam as n\nn.Image.from_array([[1, 2]]).image_id\nn.SegmentOptions()\nn.Prompt([(0, 0)])"
    assert modules_after(code) & HEAVY == set()


def test_naming_everything_but_the_model_loads_no_torch():
    names = [name for name in PUBLIC if name not in ("Model", "load_model")]
    code = f"import napari_cellsam\nfor name in {names}: getattr(napari_cellsam, name)"
    assert modules_after(code) & HEAVY == set()


def test_a_connection_loads_neither_torch_nor_the_server():
    code = (
        "from napari_cellsam import connect\nimport os\nos.environ['NAPARI_CELLSAM_TOKEN'] = 'secret'\n"
        "connect('http://127.0.0.1:1').close()"
    )
    assert modules_after(code) & (HEAVY | {"uvicorn", "starlette", "prometheus_client"}) == set()
