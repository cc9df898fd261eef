"""The weights file of a model, fetched on first use."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from napari_cellsam.errors import ModelError, ModelNotFoundError
from napari_cellsam.export.output import make_folder, whole_file
from napari_cellsam.models.spec import LocalWeights, ModelSpec, PackagedWeights, RemoteWeights
from napari_cellsam.settings import cache_dir, config_dir, models_dir

if TYPE_CHECKING:
    Downloader = Callable[[str, str, Any], None]

__all__ = ["PACKAGED_DIR", "accept_licence", "is_licence_accepted", "weights_path"]

PACKAGED_DIR = Path(__file__).parent / "packaged"
"""The folder of the weights and specifications that ship in the wheel."""


def weights_path(spec: ModelSpec, downloader: Downloader | None = None) -> Path:
    """Return the weights file of a model, fetching and verifying it if it is not here yet.

    Parameters
    ----------
    spec
        The model.
    downloader
        Takes (url, temporary file, pooch) and writes the file; pooch's own for the address when None.

    Returns
    -------
    Path
        A file that exists.

    Raises
    ------
    ModelNotFoundError
        If the file should be on this machine and is not.
    ModelError
        If the licence has not been accepted, or the file cannot be fetched or is another than it should be.
    """
    weights = spec.weights
    if isinstance(weights, RemoteWeights):
        return _fetch(spec, weights, downloader)
    if isinstance(weights, PackagedWeights):
        path, advice = PACKAGED_DIR / weights.packaged, "install napari-cellsam again"
    else:
        path, advice = _local_path(weights), f"remove the model with: napari-cellsam models remove {spec.name}"
    if not path.is_file():
        raise ModelNotFoundError(f"the weights of model {spec.name} are missing: there is no file {path}; {advice}")
    return path


def _local_path(weights: LocalWeights) -> Path:
    """Return the path of weights on this machine."""
    return Path(weights.path) if weights.linked else models_dir() / weights.path


def _fetch(spec: ModelSpec, weights: RemoteWeights, downloader: Downloader | None) -> Path:
    """Return weights in the cache; pooch verifies them under a temporary name and renames them."""
    import pooch

    if not is_licence_accepted(spec):
        raise ModelError(
            f"the licence of model {spec.name} ({_terms(spec)}) must be accepted once before its weights are fetched: "
            f"napari-cellsam models fetch {spec.name} --accept-licence"
        )
    folder = cache_dir() / "weights"
    make_folder(folder)
    name = f"{weights.sha256}{Path(urlsplit(weights.url).path).suffix}"
    try:
        path = pooch.retrieve(weights.url, f"sha256:{weights.sha256}", name, folder, downloader=downloader)
    except (OSError, ValueError) as error:
        raise ModelError(f"the weights of model {spec.name} cannot be fetched from {weights.url}: {error}") from error
    return Path(path)


def is_licence_accepted(spec: ModelSpec) -> bool:
    """Tell whether the licence of a model needs no acceptance, or has been accepted on this machine."""
    return not spec.must_accept or _accepted().get(spec.name) == _terms(spec)


def accept_licence(spec: ModelSpec) -> None:
    """Record that the user accepts the licence of a model; another licence under its name is asked for again.

    Raises
    ------
    OutputError
        If the record cannot be written.
    """
    path = _record_path()
    make_folder(path.parent)
    with whole_file(path, overwrite=True) as temporary:
        record = _accepted() | {spec.name: _terms(spec)}
        temporary.write_text(json.dumps(record, indent=2, ensure_ascii=False), encoding="utf-8")


def _terms(spec: ModelSpec) -> str:
    """Return what the user accepts."""
    return f"{spec.licence} {spec.licence_url}".strip()


def _accepted() -> dict[str, str]:
    """Return the accepted terms by name of model."""
    path = _record_path()
    if not path.exists():
        return {}
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"the record of accepted licences cannot be read; remove {path}: {error}") from error
    if not isinstance(record, dict):
        raise ModelError(f"the record of accepted licences is not one; remove {path}")
    return record


def _record_path() -> Path:
    """Return the file that records accepted licences."""
    return config_dir() / "licences.json"
