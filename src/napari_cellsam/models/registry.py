"""The registry of models: those in the package, and those that the user added."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from napari_cellsam.errors import ModelError, ModelNotFoundError, OutputError
from napari_cellsam.export.output import make_folder, whole_file
from napari_cellsam.models import fetch
from napari_cellsam.models.spec import LocalWeights, ModelNotes, ModelSpec, RemoteWeights, Weights, check_name
from napari_cellsam.settings import models_dir

if TYPE_CHECKING:
    from napari_cellsam.models.weights import CheckpointInfo

    Inspect = Callable[[Path], CheckpointInfo]

__all__ = [
    "add_model",
    "add_remote_model",
    "check_free",
    "find_model",
    "find_weights",
    "is_packaged",
    "is_registered",
    "list_models",
    "remove_model",
]

_RESERVED = frozenset({"auto", "compact", "default"})
_INPUT_SIDES = {"compact": 768}
_PUBLISHED_INPUT_SIDE = 1024
_COPY_MARK = "+weights"  # no name of a model has a plus, so no copy is taken for another model's


def list_models(on_broken: Callable[[ModelError], None] | None = None) -> list[ModelSpec]:
    """List the models in the package, then those that the user added, each by name.

    Parameters
    ----------
    on_broken
        Takes the error of each specification that is broken, which is left out; the first is raised if None.

    Raises
    ------
    ModelError
        If a specification is broken; the message names the file.
    """
    specs = []
    for path in _paths().values():
        try:
            specs.append(_read(path))
        except ModelError as error:
            if on_broken is None:
                raise
            on_broken(error)
    return specs


def is_registered(name: str) -> bool:
    """Tell whether a model has this name, though its specification may be broken."""
    return name in _paths()


def find_model(name: str) -> ModelSpec:
    """Return the specification of a model.

    Raises
    ------
    ModelNotFoundError
        If no model has this name; the message lists the names there are.
    ModelError
        If its specification is broken.
    """
    return _read(_find(name))


def find_weights(name: str) -> Path:
    """Return the weights file of a registered name, or of a path to one.

    Parameters
    ----------
    name
        A registered name, which wins; or the path of a file.

    Raises
    ------
    ModelNotFoundError
        If there is neither such a model nor such a file, or the model's file is missing.
    ModelError
        If the weights must be fetched and cannot be.
    """
    if not is_registered(name) and _is_file(Path(name).expanduser()):
        return Path(name).expanduser()
    return fetch.weights_path(find_model(name))


def is_packaged(name: str) -> bool:
    """Tell whether a model ships in the wheel, so that it can be neither removed nor replaced."""
    return name in _RESERVED or (fetch.PACKAGED_DIR / f"{name}.json").is_file()


def add_model(
    path: Path, name: str, inspect: Inspect, notes: ModelNotes | None = None, link: bool = False
) -> ModelSpec:
    """Register weights on this machine under a name.

    Parameters
    ----------
    path
        Weights file, which is inspected first.
    name
        1 to 64 lower-case letters, digits, ``.``, ``-`` and ``_``.
    inspect
        Takes the file and says what it is: `napari_cellsam.models.weights.inspect_checkpoint`, which needs torch, as
        the registry does not.
    notes
        What the user says of it.
    link
        Use the file where it is, rather than a copy in the models folder.

    Returns
    -------
    ModelSpec
        As `find_model` returns it from now on.

    Raises
    ------
    ModelNotFoundError
        If there is no such file.
    ModelError
        If the name is taken or cannot be one. `CheckpointError` if the file is no usable checkpoint.
    OutputError
        If the models folder cannot be written.
    """
    check_free(name)
    path = Path(path).expanduser().absolute()
    if not _is_file(path):
        raise ModelNotFoundError(f"there is no weights file {path}")
    info = inspect(path)
    if link:
        return _register(name, LocalWeights(str(path), linked=True), info, notes)
    # Another program may add a model of this name at the same time: each has a copy of its own, and one the name.
    weights = LocalWeights(f"{name}{_COPY_MARK}-{uuid4().hex[:8]}{path.suffix.lower()}")
    make_folder(models_dir())
    copy = models_dir() / weights.path
    with whole_file(copy) as temporary:
        shutil.copyfile(path, temporary)
    try:
        return _register(name, weights, info, notes)
    except (ModelError, OutputError):
        copy.unlink(missing_ok=True)
        raise


def add_remote_model(
    name: str,
    weights: RemoteWeights,
    inspect: Inspect,
    notes: ModelNotes | None = None,
    downloader: fetch.Downloader | None = None,
) -> ModelSpec:
    """Register weights at an address under a name, after fetching and inspecting them.

    Whoever adds an address has chosen it, so the licence is not asked for.

    Parameters
    ----------
    name, inspect, notes
        As for `add_model`.
    weights
        Address and SHA-256.
    downloader
        As for `napari_cellsam.models.fetch.weights_path`.

    Raises
    ------
    ModelError
        If the name is taken, or the weights cannot be fetched. `CheckpointError` if they are no usable checkpoint.
    OutputError
        If the cache or the models folder cannot be written.
    """
    check_free(name)
    draft = ModelSpec(name, "unknown", weights, _PUBLISHED_INPUT_SIDE)
    info = inspect(fetch.weights_path(draft, downloader))
    return _register(name, weights, info, notes)


def remove_model(name: str) -> None:
    """Forget a model that the user added, and delete the copy of its weights; linked weights stay.

    Raises
    ------
    ModelNotFoundError
        If no model has this name.
    ModelError
        If it ships in the package.
    OutputError
        If the files cannot be deleted.
    """
    if is_packaged(name):
        raise ModelError(f"model {name} is part of napari-cellsam and cannot be removed")
    specification = _find(name)
    copies = [*models_dir().glob(f"{name}{_COPY_MARK}*")]  # without those of a model that gets the name from now on
    try:
        specification.unlink()
        for copy in copies:
            with suppress(FileNotFoundError):
                copy.unlink()
    except OSError as error:
        raise OutputError(f"model {name} cannot be removed: {error}") from error


def check_free(name: str) -> None:
    """Refuse a name for a new model that cannot be one or is taken.

    Raises
    ------
    ModelError
        If that is so.
    """
    check_name(name)
    if is_packaged(name):
        raise ModelError(f"the name {name!r} is reserved; choose another")
    if is_registered(name):
        raise ModelError(f"there is a model {name!r} already; choose another name, or remove that one first")


def _is_file(path: Path) -> bool:
    """Tell whether there is a file; a place that may not be looked at is an error that says so."""
    try:
        return path.is_file()
    except OSError as error:
        raise ModelError(f"{path} cannot be looked at: {error.strerror or error}") from error


def _specifications(folder: Path) -> list[Path]:
    """Return the files of a folder that specify models; not those that are still being written, or never were."""
    return sorted(path for path in folder.glob("*.json") if not path.name.startswith("."))


def _paths() -> dict[str, Path]:
    """Return the specification file of each model by name; the package's come first and win."""
    user, packaged = (
        {path.stem: path for path in _specifications(folder)} for folder in (models_dir(), fetch.PACKAGED_DIR)
    )
    return packaged | {name: path for name, path in user.items() if name not in packaged}


def _find(name: str) -> Path:
    """Return the specification file of a model."""
    known = _paths()
    if name not in known:
        raise ModelNotFoundError(
            f"there is no model {name!r}; the models are {', '.join(known) or 'none'}, or any path of a weights file"
        )
    return known[name]


def _read(path: Path) -> ModelSpec:
    """Read a specification, which must be named as its file is."""
    try:
        spec = ModelSpec.from_json(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, ModelError) as error:
        raise ModelError(f"the model specification {path} cannot be used; correct or remove it: {error}") from error
    if spec.name != path.stem:
        raise ModelError(f"the model specification {path} names model {spec.name!r}; rename the file or the model")
    return spec


def _register(name: str, weights: Weights, info: CheckpointInfo, notes: ModelNotes | None) -> ModelSpec:
    """Write the specification of an inspected checkpoint."""
    notes = notes or ModelNotes()
    spec = ModelSpec(
        name=name,
        architecture=info.architecture,
        weights=weights,
        input_side=notes.input_side or _INPUT_SIDES.get(info.architecture, _PUBLISHED_INPUT_SIDE),
        licence=notes.licence,
        licence_url=notes.licence_url,
        description=notes.description,
        can_detect=info.can_detect,
        defaults=notes.defaults,
        training=notes.training,
    )
    make_folder(models_dir())
    with whole_file(models_dir() / f"{name}.json") as temporary:
        temporary.write_text(spec.to_json(), encoding="utf-8")
    return spec
