"""What a server counts and measures, in Prometheus's format."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_cellsam.service.messages import ServiceInfo

__all__ = ["CONTENT_TYPE", "Metrics"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 300, 1800)


class Metrics:
    """An observer of a service whose figures can be fetched."""

    def __init__(self) -> None:
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

        self._registry = CollectorRegistry()

        def named(name: str) -> str:
            return f"napari_cellsam_{name}"

        self._requests = Counter(
            named("requests"), "Requests that ended.", ("kind", "outcome"), registry=self._registry
        )
        self._request_seconds = Histogram(
            named("request_seconds"), "Time of requests.", ("kind",), buckets=_SECONDS, registry=self._registry
        )
        self._stage_seconds = Histogram(
            named("stage_seconds"), "Time of parts of requests.", ("stage",), buckets=_SECONDS, registry=self._registry
        )
        self._waiting = Gauge(named("waiting_requests"), "Requests that wait for the device.", registry=self._registry)
        self._cache = Counter(
            named("cache_lookups"), "Looks into the caches.", ("cache", "result"), registry=self._registry
        )
        self._memory = Gauge(named("device_memory_bytes"), "Memory of the device.", registry=self._registry)
        self._memory_used = Gauge(
            named("device_memory_used_bytes"), "Memory in use on the device.", registry=self._registry
        )

    def request_done(self, kind: str, outcome: str, seconds: float) -> None:
        """Count a request that ended."""
        self._requests.labels(kind or "unknown", outcome).inc()
        self._request_seconds.labels(kind or "unknown").observe(seconds)

    def stage_done(self, stage: str, seconds: float) -> None:
        """Measure a part of a request."""
        self._stage_seconds.labels(stage).observe(seconds)

    def queue_length(self, n: int) -> None:
        """Note how many requests wait."""
        self._waiting.set(n)

    def cache(self, kind: str, hit: bool) -> None:
        """Count a look into a cache."""
        self._cache.labels(kind, "hit" if hit else "miss").inc()

    def page(self, info: Callable[[], ServiceInfo]) -> bytes:
        """Return all figures; may take as long as asking the device for its memory."""
        from prometheus_client import generate_latest

        about = info()
        self._memory.set(about.memory_bytes)
        self._memory_used.set(about.memory_used_bytes)
        page: bytes = generate_latest(self._registry)
        return page
