"""Decoding at home, on clients that record what they are asked."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import numpy as np
import pytest

from napari_cellsam.errors import (
    DeviceMemoryError,
    ImageNotCachedError,
    OptionError,
    PromptError,
    RequestCancelledError,
    ServiceUnavailableError,
)
from napari_cellsam.service.home import HomeDecoding
from napari_cellsam.service.latency import Latency
from napari_cellsam.service.messages import FeaturesFound, Prefetched
from napari_cellsam.types import Image, Mask, Prompt

IMAGE = Image.from_array(np.zeros((8, 8), np.uint8))
OTHER = Image.from_array(np.ones((8, 8), np.uint8))
CLICK = [Prompt(inside=[(2, 3)])]


class Recorder:
    """A client that answers with its own name, and says what it was asked."""

    model = ""

    def __init__(self, name, weights_id="w"):
        self.name, self.weights_id = name, weights_id
        self.asked = []
        self.failure = None
        self.fetch_failure = None
        self.has_features = name == "remote"
        self.closed = False
        self.release = threading.Event()
        self.release.set()

    def info(self, *, call=None):
        return SimpleNamespace(models=(SimpleNamespace(name="compact", weights_id=self.weights_id),))

    def prefetch(self, image, options=None, around=None, *, call=None):
        self.asked.append("prefetch")
        return Prefetched(n_encoded=1, n_cached=0, diameter=None, seconds=0.0, weights_id=self.weights_id)

    def segment_prompts(self, image, prompts, options=None, *, logits=False, slot=None, call=None, send_image=True):
        self.asked.append("click")
        if self.failure:
            raise self.failure
        if not self.has_features:
            raise ImageNotCachedError("not here")
        assert send_image == (self.name == "remote")
        return [Mask(np.ones((1, 1), bool), (0, 0), 0.5 if self.name == "remote" else 0.75) for _ in prompts]

    def fetch_features(self, image, prompts, options=None, *, call=None):
        self.asked.append("fetch")
        self.release.wait(10)
        if call.cancelled:
            raise RequestCancelledError("closed")
        if self.fetch_failure:
            raise self.fetch_failure
        return FeaturesFound(weights_id=self.weights_id, entries=())

    def put_features(self, entries, *, call=None):
        self.has_features = self.usable
        return len(entries)

    usable = True

    def close(self):
        self.closed = True


@pytest.fixture
def remote():
    return Recorder("remote")


@pytest.fixture
def local():
    return Recorder("local")


@pytest.fixture
def home(remote, local):
    with HomeDecoding(remote, local, mode="home") as decoding:
        yield decoding


def where(home):
    """Return which service answers a click."""
    [mask] = home.segment_prompts(IMAGE, CLICK)
    return {0.5: "remote", 0.75: "local"}[mask.score]


def test_the_first_click_is_answered_by_the_server_and_the_next_at_home(home):
    assert where(home) == "remote"
    assert home.wait_until_home(10)
    assert where(home) == "local"
    assert home.why_not is None


def test_a_prefetched_image_is_brought_home_before_the_first_click(home):
    home.prefetch(IMAGE)
    home.wait_until_home(10)
    assert where(home) == "local"


def test_while_features_are_on_their_way_clicks_are_answered_and_nothing_is_fetched_twice(home, remote):
    remote.release.clear()
    assert [where(home) for _ in range(3)] == ["remote"] * 3
    remote.release.set()
    home.wait_until_home(10)
    assert remote.asked.count("fetch") == 1


def test_what_the_home_service_has_lost_is_answered_by_the_server_and_fetched_again(home, local):
    where(home)
    home.wait_until_home(10)
    local.has_features = False
    assert where(home) == "remote"
    home.wait_until_home(10)
    assert where(home) == "local"


def test_in_mode_server_nothing_is_fetched(home, remote, local):
    home.mode = "server"
    home.prefetch(IMAGE)
    assert [where(home), where(home)] == ["remote", "remote"]
    assert "fetch" not in remote.asked
    assert local.asked == []


def test_other_weights_at_home_are_refused_once_and_for_all(remote):
    with HomeDecoding(remote, Recorder("local", weights_id="other"), mode="home") as home:
        where(home)
        assert not home.wait_until_home(10)
        assert "weights" in home.why_not
        assert where(home) == "remote"
        assert remote.asked.count("fetch") == 1


@pytest.mark.parametrize("learn", [lambda home: home.info(), lambda home: home.prefetch(OTHER)])
def test_when_the_server_has_new_weights_the_old_ones_answer_no_longer(home, remote, learn):
    where(home)
    home.wait_until_home(10)
    home.mode = "auto"  # in which prefetching fetches nothing
    home.latency.add("server", 1.0)
    assert where(home) == "local"
    remote.weights_id = "new"
    learn(home)
    assert where(home) == "remote"
    home.wait_until_home(10)
    assert where(home) == "remote"
    assert "weights" in home.why_not


def test_when_both_sides_have_the_new_weights_clicks_are_decoded_at_home_again(home, remote, local):
    where(home)
    home.wait_until_home(10)
    remote.weights_id = local.weights_id = "new"
    home.info()
    assert where(home) == "remote"
    assert home.wait_until_home(10)
    assert where(home) == "local"


@pytest.mark.parametrize("said", ["w", ""])
def test_a_server_that_says_nothing_new_is_helped_as_before(home, remote, said):
    where(home)
    home.wait_until_home(10)
    remote.weights_id = said
    home.info()
    before = list(remote.asked)
    assert where(home) == "local"
    assert remote.asked == before


def test_weights_that_are_known_here_only_when_they_are_loaded_are_compared_then(home, local):
    local.weights_id, local.has_features = "", True  # of an image that was looked at here before
    local.put_features = lambda entries, call=None: setattr(local, "weights_id", "other")
    home.prefetch(IMAGE)
    home.wait_until_home(10)
    assert "weights" in home.why_not
    assert where(home) == "remote"


def test_features_that_do_not_help_are_not_fetched_again(home, remote, local):
    local.usable = False
    where(home)
    home.wait_until_home(10)
    where(home)
    assert "does not fit" in home.why_not
    assert remote.asked.count("fetch") == 1


@pytest.mark.parametrize("failure", [ServiceUnavailableError("it died"), DeviceMemoryError("it is full")])
def test_a_failing_home_service_costs_no_answer_and_is_given_up_after_three_failures(home, local, failure):
    where(home)
    home.wait_until_home(10)
    local.failure = failure
    assert [where(home) for _ in range(5)] == ["remote"] * 5
    assert str(failure) in home.why_not
    asked = len(local.asked)
    assert where(home) == "remote"
    assert len(local.asked) == asked


@pytest.mark.parametrize("failure", [ServiceUnavailableError("cut"), ImageNotCachedError("forgotten there")])
def test_a_failed_fetch_is_tried_again_with_the_next_click(home, remote, failure):
    remote.fetch_failure = failure
    where(home)
    home.wait_until_home(10)
    remote.fetch_failure = None
    where(home)
    assert home.wait_until_home(10)
    assert where(home) == "local"


@pytest.mark.parametrize("failure", [PromptError("no cell"), RequestCancelledError("cancelled")])
def test_what_is_wrong_with_the_request_is_not_asked_again_elsewhere(home, remote, local, failure):
    where(home)
    home.wait_until_home(10)
    local.failure = failure
    before = len(remote.asked)
    with pytest.raises(type(failure)):
        where(home)
    assert len(remote.asked) == before


def test_closing_cancels_what_is_on_its_way_and_closes_both_services(remote, local):
    home = HomeDecoding(remote, local, mode="home")
    remote.release.clear()
    where(home)
    remote.close = lambda: (remote.release.set(), setattr(remote, "closed", True))
    home.close()
    assert remote.closed
    assert local.closed
    assert not local.has_features


def test_an_unknown_mode_is_refused(remote, local, home):
    with pytest.raises(OptionError, match="auto"):
        HomeDecoding(remote, local, mode="remote")
    with pytest.raises(OptionError, match="'moon'"):
        home.mode = "moon"


def test_auto_stays_with_a_server_that_is_quick(remote, local):
    with HomeDecoding(remote, local) as home:
        assert [where(home) for _ in range(3)] == ["remote"] * 3
        assert "fetch" not in remote.asked


def test_auto_goes_home_when_the_server_is_slow_and_back_when_home_is_slower(remote, local):
    with HomeDecoding(remote, local) as home:
        home.latency.add("server", 1.0)
        where(home)
        home.wait_until_home(10)
        assert where(home) == "local"
        home.latency.add("home", 100.0)
        assert where(home) == "remote"


def test_a_batch_of_prompts_counts_for_no_click_and_is_not_brought_home(home, remote, local):
    home.segment_prompts(IMAGE, CLICK * 5)
    assert home.latency.server is None
    assert remote.asked == ["click"]
    local.has_features = True
    assert [mask.score for mask in home.segment_prompts(IMAGE, CLICK * 5)] == [0.75] * 5
    assert home.latency.home is None


def test_the_way_not_taken_is_tried_again_some_day():
    latency = Latency()
    latency.add("home", 0.5)
    for _ in range(10):
        latency.add("server", 0.2)
    assert not latency.home_is_sooner()
    for _ in range(50):
        latency.add("server", 0.2)
    assert latency.home_is_sooner()
