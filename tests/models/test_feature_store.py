"""Features in memory: what was used last stays."""

from __future__ import annotations

import numpy as np

from napari_cellsam.models.feature_store import MemoryStore

BIG = {"a": np.zeros(25_000, np.float32)}  # 100 kB


def test_memory_keeps_what_was_used_last():
    store = MemoryStore(250_000)
    for key in "ab":
        store.put(key, BIG)
    store.get("a")
    store.put("c", BIG)
    assert [store.get(key) is not None for key in "abc"] == [True, False, True]


def test_what_is_larger_than_the_memory_pushes_nothing_out():
    store = MemoryStore(250_000)
    store.put("a", BIG)
    store.put("huge", {"a": np.zeros(100_000, np.float32)})
    assert store.get("huge") is None
    assert store.get("a") is not None


def test_an_entry_that_is_put_again_counts_once():
    store = MemoryStore(250_000)
    for key in "abbbb":
        store.put(key, BIG)
    assert [store.get(key) is not None for key in "ab"] == [True, True]
