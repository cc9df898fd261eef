"""How long computing threads stay awake between two steps of work."""

from __future__ import annotations

import os

__all__ = ["wait_briefly"]

_SPINS = "GOMP_SPINCOUNT"  # of GNU's OpenMP, with which torch computes on Linux
_CHOICES = (_SPINS, "OMP_WAIT_POLICY")
_N_SPINS = 10_000  # some tenths of a millisecond; unless told otherwise the library spins for 300,000


def wait_briefly() -> None:
    """Let computing threads that wait for each other sleep soon; call it before torch is imported.

    A thread that spins keeps its core from the thread that it waits for whenever there are more of them than cores:
    beside other work, steps of a tenth of a second took seconds. What the user's environment says stays.
    """
    if not any(name in os.environ for name in _CHOICES):
        os.environ[_SPINS] = str(_N_SPINS)
