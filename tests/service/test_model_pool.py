"""The models that a service offers."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import numpy as np
import pytest

from napari_cellsam.errors import ModelNotFoundError
from napari_cellsam.models.disk_store import DiskStore
from napari_cellsam.models.feature_store import MemoryStore
from napari_cellsam.models.registry import add_model, remove_model
from napari_cellsam.service.limits import Limits
from napari_cellsam.service.model_pool import ModelPool

HANG_S = 60


class Loader:
    """Loads models when it is let, and notes what it was asked."""

    def __init__(self):
        self.asked, self.gate, self.errors = [], threading.Event(), []
        self.gate.set()

    def __call__(self, name, device, precision, *, store, feature_bytes):
        self.asked.append((name, device, precision, store, feature_bytes, threading.current_thread()))
        assert self.gate.wait(HANG_S)
        if self.errors:
            raise self.errors.pop()
        return SimpleNamespace(weights_id=f"hash of {name}", backend=SimpleNamespace(can_detect=name == "a"))


@pytest.fixture(autouse=True)
def folders(tmp_path, monkeypatch):
    for name in ("CACHE", "MODELS"):
        monkeypatch.setenv(f"NAPARI_CELLSAM_{name}_DIR", str(tmp_path / name))
    return tmp_path


@pytest.fixture
def loader():
    return Loader()


@pytest.fixture
def pool(loader):
    pool = ModelPool(("a", "b"), "cuda:1", "bf16", loader=loader)
    yield pool
    pool.close()


def test_a_model_is_loaded_once_and_on_another_thread(pool, loader):
    assert pool.load("a").result(HANG_S) is pool.load("a").result(HANG_S)
    [(name, device, precision, _, feature_bytes, thread)] = loader.asked
    assert (name, device, precision, feature_bytes) == ("a", "cuda:1", "bf16", Limits().feature_bytes)
    assert thread is not threading.current_thread()


def test_the_first_is_the_default(pool):
    assert pool.load().result(HANG_S) is pool.load("a").result(HANG_S)
    assert pool.resolve("") == "a" and pool.resolve("b") == "b"


@pytest.mark.parametrize("name", ["c", "compact", "../a", "A"])
def test_no_other_model_can_be_had(pool, name):
    with pytest.raises(ModelNotFoundError, match="a, b"):
        pool.load(name)


def test_who_comes_while_it_is_loaded_waits_for_the_same(pool, loader):
    loader.gate.clear()
    first, second = pool.load("a"), pool.load("a")
    assert first is second and not pool.is_loaded("a")
    loader.gate.set()
    assert first.result(HANG_S) and pool.is_loaded("a")


def test_what_could_not_be_loaded_is_tried_again(pool, loader):
    loader.errors.append(OSError("no disk"))
    assert isinstance(pool.load("a").exception(HANG_S), OSError)
    assert not pool.is_loaded("a")
    assert pool.load("a").result(HANG_S) and pool.is_loaded("a")


def test_all_models_share_one_store_on_disk(pool, loader, folders):
    for name in ("a", "b"):
        pool.load(name).result(HANG_S)
    one, other = (asked[3] for asked in loader.asked)
    assert isinstance(one, DiskStore) and one is other
    one.put("key", {"x": np.ones(3, np.float32)})
    pool.close()
    assert list((folders / "CACHE" / "features").iterdir())


def test_without_a_disk_the_store_is_in_memory(loader):
    pool = ModelPool(("a",), limits=Limits(disk_bytes=0), loader=loader)
    pool.load().result(HANG_S)
    assert isinstance(loader.asked[0][3], MemoryStore)
    pool.close()


def test_what_is_known_of_a_model_grows_when_it_is_loaded(pool):
    before = pool.infos()
    pool.load("b").result(HANG_S)
    after = pool.infos()
    assert before[0] == after[0]
    assert [(one.loaded, one.weights_id, one.can_detect) for one in (before[1], after[1])] == [
        (False, "", None),
        (True, "hash of b", False),
    ]
    assert after[1].title == "b" and after[1].licence == "unknown"


def test_without_names_all_models_of_this_machine_are_offered():
    pool = ModelPool()
    assert pool.names[0] == "compact"
    info = pool.infos()[0]
    assert info.title != "compact" and info.licence != "unknown"
    pool.close()


def test_the_shipped_model_is_loaded_from_the_registry(folders):
    import hashlib

    from napari_cellsam.models.registry import find_weights

    pool = ModelPool(("compact",), device="cpu", limits=Limits(disk_bytes=0))
    model = pool.load().result(HANG_S)
    assert pool.infos()[0].weights_id == hashlib.sha256(find_weights("compact").read_bytes()).hexdigest()
    assert model.model_id == "compact"
    pool.close()


def test_a_model_that_is_offered_twice_is_offered_once(loader):
    pool = ModelPool(("a", "b", "a"), loader=loader)
    assert pool.names == ("a", "b")
    pool.close()


@pytest.fixture
def add(folders):
    """Return a function that adds a model to the registry."""

    def add(name):
        path = folders / "weights.pt"
        path.touch()
        add_model(path, name, lambda _: SimpleNamespace(architecture="compact", can_detect=True))

    return add


def test_a_model_that_is_added_later_is_offered_and_one_that_is_removed_is_not(add, loader):
    pool = ModelPool(loader=loader)
    add("yeast")
    assert pool.load("yeast").result(HANG_S)
    add("algae")
    assert [info.name for info in pool.infos()] == ["compact", "algae", "yeast"]
    remove_model("yeast")
    assert "yeast" not in [info.name for info in pool.infos()]
    assert not pool.is_loaded("yeast")
    with pytest.raises(ModelNotFoundError, match="algae"):
        pool.load("yeast")
    pool.close()


def test_a_broken_specification_harms_no_other_model(add, loader, folders, caplog):
    add("a")
    pool = ModelPool(loader=loader)
    (folders / "MODELS" / "old.json").write_text('{"name": "old", "brok')
    assert [info.name for info in pool.infos()] == ["compact", "a"]
    assert "old.json" in caplog.text
    pool.close()


@pytest.mark.parametrize("tell", [lambda pool: pool.offer("yeast"), ModelPool.infos])
@pytest.mark.parametrize("names", [(), ("yeast",)])
def test_a_model_that_is_made_anew_under_its_name_is_loaded_anew(add, loader, names, tell):
    add("yeast")
    pool = ModelPool(names, loader=loader)
    first = pool.load("yeast").result(HANG_S)
    tell(pool)
    assert pool.load("yeast").result(HANG_S) is first
    remove_model("yeast")
    add("yeast")
    tell(pool)
    assert pool.load("yeast").result(HANG_S) is not first
    pool.close()
