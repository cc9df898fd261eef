"""The models that a service offers, loaded when they are first needed."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from napari_cellsam.errors import ModelError, ModelNotFoundError
from napari_cellsam.models.registry import find_model, list_models
from napari_cellsam.service.limits import Limits
from napari_cellsam.service.messages import ModelInfo
from napari_cellsam.settings import cache_dir

if TYPE_CHECKING:
    from napari_cellsam.engine import Model
    from napari_cellsam.models.feature_store import FeatureStore
    from napari_cellsam.models.spec import ModelSpec, Weights

__all__ = ["Loader", "ModelPool"]

_logger = logging.getLogger(__name__)
_DEFAULT = "compact"
_UNKNOWN = "unknown"


class Loader(Protocol):
    """Loads a model, as `napari_cellsam.load_model` does."""

    def __call__(
        self, name: str, device: str, precision: str, *, store: FeatureStore | None, feature_bytes: int
    ) -> Model:
        """Return the model of that name."""


class ModelPool:
    """Loads each model once, on a thread of its own, and keeps it until it is removed or made anew under its name.

    Parameters
    ----------
    names
        Registered names, or paths to weights, of which the first is the default; when empty all that this machine has,
        also those that are added later. Clients get no others.
    device, precision
        As for `napari_cellsam.load_model`.
    limits
        Of what the models keep.
    loader
        `napari_cellsam.load_model` when None.

    Raises
    ------
    ModelNotFoundError
        If there is no model at all.
    """

    def __init__(
        self,
        names: Sequence[str] = (),
        device: str = "auto",
        precision: str = "auto",
        limits: Limits | None = None,
        loader: Loader | None = None,
    ) -> None:
        self._offers_all = not names
        self.names = tuple(dict.fromkeys(names)) or tuple(_all_specs())
        self.device = device
        self.precision = precision
        self._limits = limits or Limits()
        self._loader = loader or _load
        self._lock = threading.Lock()
        self._loading: dict[str, _Loading] = {}
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="napari-cellsam loading")
        self._store: FeatureStore | None = None

    def resolve(self, name: str) -> str:
        """Return the name of a model that is offered; the first one's when empty.

        Raises
        ------
        ModelNotFoundError
            If it is not offered.
        """
        if name and name not in self.names:
            self._look()
        if name and name not in self.names:
            raise ModelNotFoundError(
                f"this service does not offer model {name[:80]!r}; its models are {', '.join(self.names)}"
            )
        return name or self.names[0]

    def offer(self, name: str) -> None:
        """Offer a new model from now on, also if there was another one of this name before."""
        with self._lock:
            self.names = tuple(dict.fromkeys((*self.names, name)))
        self._look()

    def is_loaded(self, name: str) -> bool:
        """Tell whether a model is in memory."""
        with self._lock:
            loading = self._loading.get(name)
        return loading is not None and loading.model is not None

    def load(self, name: str = "") -> Future[Model]:
        """Begin to load a model unless that has begun; loading that failed is tried again at the next call.

        Raises
        ------
        ModelNotFoundError
            If it is not offered.
        ModelError
            If its specification is broken.
        """
        name = self.resolve(name)
        with self._lock:
            loading = self._loading.get(name)
            if loading is None or loading.has_failed:
                weights = _weights_of(_spec_of(name))
                loading = self._loading[name] = _Loading(weights, self._thread.submit(self._load, name))
            return loading.future

    def infos(self) -> tuple[ModelInfo, ...]:
        """Return what is known of each model, as the registry is now.

        Raises
        ------
        ModelError
            If the specification of a model that was named is broken; the message names the file.
        """
        return tuple(self._info(name, spec) for name, spec in self._look().items())

    def close(self) -> None:
        """Load nothing any more, and write to disk what waits to be written."""
        self._thread.shutdown(wait=False, cancel_futures=True)
        close = getattr(self._store, "close", None)
        if close is not None:
            close()

    def _load(self, name: str) -> Model:
        _logger.info("loading model %s", name)
        return self._loader(
            name,
            self.device,
            self.precision,
            store=self._features(),
            feature_bytes=self._limits.feature_bytes,
        )

    def _features(self) -> FeatureStore:
        """Return the store that all models share; made here, on the thread that loads."""
        from napari_cellsam.models.disk_store import DiskStore
        from napari_cellsam.models.feature_store import MemoryStore

        if self._store is None:
            n_bytes = self._limits.disk_bytes
            self._store = (
                DiskStore(cache_dir() / "features", n_bytes) if n_bytes else MemoryStore(self._limits.feature_bytes)
            )
        return self._store

    def _look(self) -> dict[str, ModelSpec | None]:
        """Look into the registry for what was added, removed or made anew; return what is offered, by name."""
        specs = _all_specs() if self._offers_all else {name: _spec_of(name) for name in self.names}
        with self._lock:
            if self._offers_all:
                self.names = tuple(specs)
            for name, loading in tuple(self._loading.items()):
                if name not in specs or loading.weights != _weights_of(specs[name]):
                    _logger.info("model %s was removed or made anew, and is forgotten here", name)
                    del self._loading[name]
        return specs

    def _info(self, name: str, spec: ModelSpec | None) -> ModelInfo:
        with self._lock:
            loading = self._loading.get(name)
        model = None if loading is None else loading.model
        return ModelInfo(
            name=name,
            title=(spec and spec.description) or name,
            licence=_UNKNOWN if spec is None else spec.licence,
            weights_id="" if model is None else model.weights_id,
            loaded=model is not None,
            can_detect=None if model is None else model.backend.can_detect,
            training=None if spec is None else spec.training,
        )


@dataclass(frozen=True)
class _Loading:
    """A model that is being loaded, or is in memory, and the weights that its name stood for when that began."""

    weights: Weights | None
    future: Future[Model]

    @property
    def has_failed(self) -> bool:
        future = self.future
        return future.done() and (future.cancelled() or future.exception() is not None)

    @property
    def model(self) -> Model | None:
        return self.future.result() if self.future.done() and not self.has_failed else None


def _all_specs() -> dict[str, ModelSpec | None]:
    """Return the models of this machine by name, the default one first; a broken one harms no other."""
    specs = sorted(list_models(_tell_broken), key=lambda spec: spec.name != _DEFAULT)
    if not specs:
        raise ModelNotFoundError("there is no model on this machine; install napari-cellsam again")
    return {spec.name: spec for spec in specs}


def _tell_broken(error: ModelError) -> None:
    _logger.warning("a model is not offered: %s", error)


def _spec_of(name: str) -> ModelSpec | None:
    """Return what the registry says of a name; None of a path, and of a model that was removed."""
    try:
        return find_model(name)
    except ModelNotFoundError:
        return None


def _weights_of(spec: ModelSpec | None) -> Weights | None:
    return None if spec is None else spec.weights


def _load(name: str, device: str, precision: str, *, store: FeatureStore | None, feature_bytes: int) -> Model:
    from napari_cellsam.engine import load_model

    return load_model(name, device, precision, store=store, feature_bytes=feature_bytes)
