"""The models that a service offers, loaded when they are first needed."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Protocol

from napari_cellsam.errors import ModelNotFoundError
from napari_cellsam.models.registry import find_model, list_models
from napari_cellsam.service.limits import Limits
from napari_cellsam.service.messages import ModelInfo
from napari_cellsam.settings import cache_dir

if TYPE_CHECKING:
    from napari_cellsam.engine import Model
    from napari_cellsam.models.feature_store import FeatureStore

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
    """Loads each model once, on a thread of its own, and keeps it.

    Parameters
    ----------
    names
        Registered names, or paths to weights, of which the first is the default; all that this machine has when empty.
        Clients get no others.
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
        self.names = tuple(dict.fromkeys(names)) or _all_names()
        self.device = device
        self.precision = precision
        self._limits = limits or Limits()
        self._loader = loader or _load
        self._lock = threading.Lock()
        self._loading: dict[str, Future[Model]] = {}
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
            raise ModelNotFoundError(
                f"this service does not offer model {name[:80]!r}; its models are {', '.join(self.names)}"
            )
        return name or self.names[0]

    def offer(self, name: str) -> None:
        """Offer one more model from now on."""
        with self._lock:
            self.names = tuple(dict.fromkeys((*self.names, name)))

    def is_loaded(self, name: str) -> bool:
        """Tell whether a model is in memory."""
        return self._loaded(name) is not None

    def load(self, name: str = "") -> Future[Model]:
        """Begin to load a model unless that has begun; loading that failed is tried again at the next call.

        Raises
        ------
        ModelNotFoundError
            If it is not offered.
        """
        name = self.resolve(name)
        with self._lock:
            future = self._loading.get(name)
            if future is None or (future.done() and (future.cancelled() or future.exception() is not None)):
                future = self._loading[name] = self._thread.submit(self._load, name)
            return future

    def infos(self) -> tuple[ModelInfo, ...]:
        """Return what is known of each model."""
        return tuple(map(self._info, self.names))

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

    def _loaded(self, name: str) -> Model | None:
        with self._lock:
            future = self._loading.get(name)
        if future is None or not future.done() or future.cancelled() or future.exception() is not None:
            return None
        return future.result()

    def _info(self, name: str) -> ModelInfo:
        model = self._loaded(name)
        try:
            spec = find_model(name)
            title, licence, training = spec.description, spec.licence, spec.training
        except ModelNotFoundError:  # a path
            title, licence, training = "", _UNKNOWN, None
        return ModelInfo(
            name=name,
            title=title or name,
            licence=licence,
            weights_id="" if model is None else model.weights_id,
            loaded=model is not None,
            can_detect=None if model is None else model.backend.can_detect,
            training=training,
        )


def _all_names() -> tuple[str, ...]:
    """Return the models of this machine, the default one first."""
    names = [spec.name for spec in list_models()]
    if not names:
        raise ModelNotFoundError("there is no model on this machine; install napari-cellsam again")
    return tuple(sorted(names, key=lambda name: name != _DEFAULT))


def _load(name: str, device: str, precision: str, *, store: FeatureStore | None, feature_bytes: int) -> Model:
    from napari_cellsam.engine import load_model

    return load_model(name, device, precision, store=store, feature_bytes=feature_bytes)
