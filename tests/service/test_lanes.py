"""Connections are kept for the next request, unless the service may have closed them meanwhile."""

from __future__ import annotations

import ssl
import time

import pytest

from napari_cellsam.service import lane as lane_module
from napari_cellsam.service.lane import Lane
from napari_cellsam.service.lanes import Lanes


@pytest.fixture
def lanes():
    lanes = Lanes(lambda: Lane("http://127.0.0.1:1/", {}, ssl.create_default_context(), trust_env=False))
    yield lanes
    lanes.close()


def test_a_connection_is_used_again(lanes):
    with lanes.lend() as first:
        pass
    with lanes.lend() as second:
        assert second is first


@pytest.mark.parametrize("away_s", [16, 8 * 3600, -60])
def test_one_that_rested_while_the_computer_slept_is_not(lanes, monkeypatch, away_s):
    with lanes.lend() as first:
        pass
    woken = time.time() + away_s
    monkeypatch.setattr(lane_module.time, "time", lambda: woken)
    with lanes.lend() as second:
        assert second is not first and first.broken
