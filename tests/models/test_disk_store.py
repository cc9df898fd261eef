"""Features on disk: found again by any process, and never a wrong answer, whatever happens to the files."""

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

from napari_cellsam.models import disk_store
from napari_cellsam.models.disk_store import DiskStore

ARRAYS = {"wide": np.arange(24, dtype=np.float16).reshape(1, 4, 6), "maps": np.ones((2, 3), np.float32)}
BIG = {"a": np.zeros(25_000, np.float32)}  # 100 kB
HANG_S = 60


@pytest.fixture
def make(tmp_path):
    made = []

    def make(max_bytes=10_000_000, folder=tmp_path):
        made.append(DiskStore(folder, max_bytes))
        return made[-1]

    yield make
    for store in made:
        store.close()


def put(store, *keys, arrays=ARRAYS):
    for key in keys:
        store.put(key, arrays)
    store.flush()


def same(one, other=ARRAYS):
    return one is not None and one.keys() == other.keys() and all((one[k] == other[k]).all() for k in one)


def test_what_was_put_is_got_before_and_after_it_is_on_disk(make):
    store = make()
    store.put("k", ARRAYS)
    assert same(store.get("k"))
    store.flush()
    found = store.get("k")
    assert same(found)
    assert {name: array.dtype for name, array in found.items()} == {n: a.dtype for n, a in ARRAYS.items()}
    assert store.trouble == ""


def test_what_was_never_put_is_not_there(make):
    assert make().get("k") is None


@pytest.mark.parametrize("key", ["", "../../k", "a/b", "CON", "k" * 5000, "ü\n"])
def test_a_key_may_have_any_characters(make, tmp_path, key):
    store = make()
    put(store, key)
    assert same(store.get(key))
    assert len(list(tmp_path.iterdir())) == 1


def test_another_process_finds_what_was_put(make, tmp_path):
    put(make(), "k")
    code = (
        "import sys, pathlib; from napari_cellsam.models.disk_store import DiskStore;"
        "found = DiskStore(pathlib.Path(sys.argv[1]), 10**7).get('k'); print(float(found['wide'].sum()))"
    )
    out = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, capture_output=True, text=True)
    assert float(out.stdout) == float(ARRAYS["wide"].sum())


def test_closing_writes_what_waits(make):
    store = make()
    store.put("k", ARRAYS)
    store.close()
    assert same(make().get("k"))
    store.close()  # once more does no harm


def test_nothing_is_put_after_closing(make):
    store = make()
    store.close()
    store.put("k", ARRAYS)
    assert store.get("k") is None


@pytest.fixture
def slow_writing(monkeypatch):
    """Hold the writer until the event is set."""
    leave = threading.Event()
    encode = disk_store.encode

    def wait(key, arrays):
        assert leave.wait(HANG_S)
        return encode(key, arrays)

    monkeypatch.setattr(disk_store, "encode", wait)
    yield leave
    leave.set()


def test_what_waits_to_be_written_is_bounded(make, monkeypatch, slow_writing):
    monkeypatch.setattr(disk_store, "_MOST_WAITING_BYTES", 250_000)
    store = make()
    for key in "abcd":
        store.put(key, BIG)
    assert [store.get(key) is not None for key in "abcd"] == [True, True, False, False]
    slow_writing.set()
    store.flush()
    put(store, "c", arrays=BIG)
    assert [store.get(key) is not None for key in "abcd"] == [True, True, True, False]


def test_putting_does_not_wait_for_the_disk(make, slow_writing):
    store = make()
    store.put("k", ARRAYS)
    store.put("k", ARRAYS)
    assert same(store.get("k"))
    assert not slow_writing.is_set()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(at=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_flipped_bit_makes_a_file_vanish(make, tmp_path, at, bit):
    store = make()
    put(store, "k")
    [path] = tmp_path.iterdir()
    data = bytearray(path.read_bytes())
    data[int(at * len(data))] ^= 1 << bit
    path.write_bytes(data)
    assert store.get("k") is None
    assert not path.exists()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=30)
@given(share=st.floats(0, 1, exclude_max=True))
def test_a_truncated_file_vanishes_and_can_be_written_again(make, tmp_path, share):
    store = make()
    put(store, "k")
    [path] = tmp_path.iterdir()
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    assert store.get("k") is None
    put(store, "k")
    assert same(store.get("k"))


def test_files_that_were_exchanged_are_no_answers(make, tmp_path):
    store = make()
    put(store, "a", arrays={"x": np.zeros(3, np.float32)})
    put(store, "b", arrays={"x": np.ones(3, np.float32)})
    one, other = tmp_path.iterdir()
    contents = one.read_bytes(), other.read_bytes()
    other.write_bytes(contents[0])
    one.write_bytes(contents[1])
    assert store.get("a") is None
    assert store.get("b") is None


def test_a_full_disk_costs_no_answer_and_is_told_once(make, tmp_path, monkeypatch, caplog):
    def full(self, data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    store = make()
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        put(store, "a", "b")
    assert store.get("a") is None
    assert os.strerror(errno.ENOSPC) in store.trouble
    assert [r.message for r in caplog.records if "not kept on disk" in r.message] == [
        f"features are not kept on disk: {store.trouble}"
    ]
    put(store, "a")
    assert same(store.get("a"))
    assert store.trouble == ""
    assert [path.suffix for path in tmp_path.iterdir()] == [".features"]


def test_arrays_that_no_file_can_hold_do_not_end_the_writer(make, caplog):
    store = make()
    put(store, "bad", arrays={"a": np.array(["text"])})
    assert store.trouble
    assert "not kept on disk" in caplog.text
    put(store, "k")
    assert same(store.get("k"))
    assert store.get("bad") is None


def test_a_folder_that_cannot_be_made_costs_no_answer(make, tmp_path, caplog):
    (tmp_path / "file").write_text("in the way")
    store = make(folder=tmp_path / "file" / "features")
    put(store, "a", "b")
    assert store.get("a") is None
    assert caplog.text.count("not kept on disk") == 1


def test_a_read_only_folder_is_read_and_costs_no_answer(make, tmp_path, caplog):
    put(make(), "a")
    tmp_path.chmod(0o500)
    try:
        try:
            (tmp_path / "probe").touch()
        except OSError:
            pass
        else:
            pytest.skip("this user may write anywhere")
        store = make()
        put(store, "b", "c")
        assert same(store.get("a"))
        assert store.get("b") is None
        assert caplog.text.count("not kept on disk") == 1
    finally:
        tmp_path.chmod(0o700)


def test_what_was_not_used_for_longest_goes_first(make, tmp_path):
    store = make(350_000)
    for age, key in enumerate("abc"):
        before = set(tmp_path.iterdir())
        put(store, key, arrays=BIG)
        [path] = set(tmp_path.iterdir()) - before
        os.utime(path, (age, age))
    assert store.get("a") is not None  # used now
    put(store, "d", arrays=BIG)
    assert [store.get(key) is not None for key in "abcd"] == [True, False, True, True]


def test_what_is_larger_than_the_limit_is_not_kept_and_no_trouble(make):
    store = make(50_000)
    put(store, "a", arrays=BIG)
    assert store.get("a") is None
    assert store.trouble == ""


_SHARING = """
import pathlib, sys
import numpy as np
from napari_cellsam.models.disk_store import DiskStore
store = DiskStore(pathlib.Path(sys.argv[1]), 500_000)
seed, found, wrong = int(sys.argv[2]), 0, 0
print("ready", flush=True)
sys.stdin.readline()
for i in range(150):
    number = (3 * i + seed) % 11
    store.put(str(number), {"a": np.full(10_000 + 1_000 * number, number, np.float32)})
    if i % 5 == 0:
        store.flush()
    number = (7 * i + seed) % 11
    arrays = store.get(str(number))
    if arrays is not None:
        found += 1
        wrong += arrays["a"].shape != (10_000 + 1_000 * number,) or bool((arrays["a"] != number).any())
store.close()
print(found, wrong, store.trouble)
"""


def test_two_processes_that_write_and_evict_in_one_folder_never_get_a_wrong_array(tmp_path):
    command = [sys.executable, "-c", _SHARING, str(tmp_path)]
    processes = [
        subprocess.Popen([*command, str(seed)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for seed in (0, 5)
    ]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:  # both go at once
        process.stdin.write("\n")
        process.stdin.flush()
    for process in processes:
        out, _ = process.communicate(timeout=HANG_S)
        found, wrong, *trouble = out.split()
        assert (process.returncode, int(wrong), trouble) == (0, 0, [])
        assert int(found) > 10
    files = list(tmp_path.iterdir())
    assert {path.suffix for path in files} == {".features"}
    assert sum(path.stat().st_size for path in files) <= 500_000 + 2 * 90_000


def test_threads_that_share_a_store_never_get_a_wrong_array(make):
    store = make(450_000)
    wrong = []

    def work(seed):
        for i in range(60):
            number = (i + seed) % 7
            store.put(str(number), {"a": np.full(25_000, number, np.float32)})
            found = store.get(str(i % 7))
            if found is not None and not (found["a"] == i % 7).all():
                wrong.append(i)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in (0, 3, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
