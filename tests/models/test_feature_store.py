"""Features are kept in memory and on disk, and a damaged file is never an answer."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from napari_cellsam.models.disk_store import DiskStore
from napari_cellsam.models.feature_store import MemoryStore

ARRAYS = {"wide": np.arange(24, dtype=np.float16).reshape(1, 4, 6), "maps": np.ones((2, 3), np.float32)}
BIG = {"a": np.zeros(25_000, np.float32)}  # 100 kB


@pytest.fixture
def store(tmp_path):
    made = DiskStore(tmp_path / "features", 10_000_000)
    yield made
    made.close()


def same(one, other):
    return one is not None and one.keys() == other.keys() and all((one[k] == other[k]).all() for k in one)


def files(store):
    return sorted(store._folder.iterdir()) if store._folder.exists() else []


def test_what_was_put_is_got_before_and_after_it_is_on_disk(store):
    store.put("k", ARRAYS)
    assert same(store.get("k"), ARRAYS)
    store.flush()
    found = store.get("k")
    assert same(found, ARRAYS)
    assert {name: array.dtype for name, array in found.items()} == {n: a.dtype for n, a in ARRAYS.items()}


def test_what_was_never_put_is_not_there(store):
    assert store.get("k") is None


def test_another_process_finds_what_was_put(store):
    store.put("k", ARRAYS)
    store.flush()
    code = (
        "import sys, pathlib; from napari_cellsam.models.disk_store import DiskStore;"
        "found = DiskStore(pathlib.Path(sys.argv[1]), 10**7).get('k'); print(float(found['wide'].sum()))"
    )
    out = subprocess.run([sys.executable, "-c", code, str(store._folder)], check=True, capture_output=True, text=True)
    assert float(out.stdout) == float(ARRAYS["wide"].sum())


def test_closing_writes_what_waits(tmp_path):
    store = DiskStore(tmp_path, 10_000_000)
    store.put("k", ARRAYS)
    store.close()
    assert same(DiskStore(tmp_path, 10_000_000).get("k"), ARRAYS)


def test_nothing_is_put_after_closing(store):
    store.close()
    store.put("k", ARRAYS)
    assert store.get("k") is None


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(at=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_one_flipped_bit_anywhere_makes_the_file_worthless(store, at, bit):
    store.put("k", ARRAYS)
    store.flush()
    [path] = files(store)
    data = bytearray(path.read_bytes())
    data[int(at * len(data))] ^= 1 << bit
    path.write_bytes(data)
    assert store.get("k") is None
    assert files(store) == []


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40)
@given(share=st.floats(0, 1, exclude_max=True))
def test_a_truncated_file_is_worthless(store, share):
    store.put("k", ARRAYS)
    store.flush()
    [path] = files(store)
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    assert store.get("k") is None


def test_a_file_of_another_format_with_a_right_checksum_is_worthless(store):
    import hashlib

    store.put("k", ARRAYS)
    store.flush()
    [path] = files(store)
    path.write_bytes(hashlib.blake2b(b"no tensors", digest_size=32).digest() + b"no tensors")
    assert store.get("k") is None


def test_a_full_disk_costs_no_answer_and_is_told_once(store, monkeypatch, caplog):
    def full(self, data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", full)
    for key in ("a", "b"):
        store.put(key, ARRAYS)
    store.flush()
    assert store.get("a") is None
    assert len([r for r in caplog.records if "not kept on disk" in r.message]) == 1
    monkeypatch.undo()
    store.put("a", ARRAYS)
    store.flush()
    assert same(store.get("a"), ARRAYS)
    assert [path.suffix for path in files(store)] == [".features"]


def test_a_folder_that_cannot_be_made_costs_no_answer(tmp_path, caplog):
    (tmp_path / "file").write_text("in the way")
    store = DiskStore(tmp_path / "file" / "features", 10_000_000)
    store.put("a", ARRAYS)
    store.flush()
    assert store.get("a") is None
    assert "not kept on disk" in caplog.text
    store.close()


def test_what_was_not_used_for_longest_goes_first(tmp_path):
    store = DiskStore(tmp_path, 350_000)
    for i, key in enumerate("abc"):
        store.put(key, BIG)
        store.flush()
        os.utime(store._path(key), (i, i))
    assert store.get("a") is not None  # used now
    store.put("d", BIG)
    store.flush()
    assert [store.get(key) is not None for key in "abcd"] == [True, False, True, True]
    assert sum(path.stat().st_size for path in files(store)) <= 350_000
    store.close()


def test_what_is_larger_than_the_limit_is_not_kept(tmp_path):
    store = DiskStore(tmp_path, 50_000)
    store.put("a", BIG)
    store.flush()
    assert files(store) == []
    store.close()


def test_temporary_files_of_a_process_that_died_are_removed(tmp_path):
    old, new = tmp_path / "x.1.tmp", tmp_path / "x.2.tmp"
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (0, 0))
    store = DiskStore(tmp_path, 10_000_000)
    store.put("a", ARRAYS)
    store.flush()
    assert not old.exists()
    assert new.exists()
    store.close()


def test_two_stores_in_one_folder_do_not_disturb_each_other(tmp_path):
    stores = [DiskStore(tmp_path, 450_000) for _ in range(2)]
    wrong = []

    def work(store, seed):
        for i in range(40):
            key = str((i + seed) % 7)
            store.put(key, {"a": np.full(25_000, float(key), np.float32)})
            found = store.get(str(i % 7))
            if found is not None and not (found["a"] == i % 7).all():
                wrong.append(i)

    threads = [threading.Thread(target=work, args=(store, 3 * i)) for i, store in enumerate(stores)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for store in stores:
        store.close()
    assert wrong == []
    assert all(path.suffix == ".features" for path in tmp_path.iterdir())


def test_memory_keeps_what_was_used_last():
    store = MemoryStore(250_000)
    for key in "ab":
        store.put(key, BIG)
    store.get("a")
    store.put("c", BIG)
    assert [store.get(key) is not None for key in "abc"] == [True, False, True]
    store.put("huge", {"a": np.zeros(100_000, np.float32)})
    assert store.get("huge") is None
    assert store.get("c") is not None
