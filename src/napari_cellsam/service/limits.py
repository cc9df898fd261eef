"""The limits of a service: what it keeps, and what it refuses."""

from __future__ import annotations

from dataclasses import dataclass, fields

from napari_cellsam.errors import OptionError

__all__ = ["Limits"]

_MIB = 2**20


@dataclass(frozen=True)
class Limits:
    """What a service keeps, and what it refuses.

    Attributes
    ----------
    max_body_bytes
        Largest body of one request.
    max_pixels
        Most pixels of one image, channels counted once.
    max_prompts
        Most prompts in one request.
    max_waiting
        Most requests that wait, of all clients together.
    max_waiting_per_client
        Most requests of one client that wait.
    max_waiting_trainings
        Most trainings that wait, of all clients together: each keeps its pictures in memory meanwhile.
    max_connections
        Most open connections.
    image_bytes
        Images that are kept in memory.
    lesson_bytes
        Corrected pictures of one training.
    feature_bytes
        Features that are kept in the device's memory.
    disk_bytes
        Features that are kept on disk; 0 keeps none.
    body_timeout_s
        Longest pause between two parts of a body.
    idle_timeout_s
        How long a connection may stay without a request.
    """

    max_body_bytes: int = 1024 * _MIB
    max_pixels: int = 400_000_000
    max_prompts: int = 20_000
    max_waiting: int = 512
    max_waiting_per_client: int = 128
    max_waiting_trainings: int = 3
    max_connections: int = 1024
    image_bytes: int = 2048 * _MIB
    lesson_bytes: int = 2048 * _MIB
    feature_bytes: int = 512 * _MIB
    disk_bytes: int = 4096 * _MIB
    body_timeout_s: float = 30.0
    idle_timeout_s: float = 30.0

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            least = 0 if item.name == "disk_bytes" else 1e-3 if item.name.endswith("_s") else 1
            if not value >= least:
                raise OptionError(f"limit {item.name} is {value}; expected at least {least:g}")
