"""How long computing threads stay awake."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from napari_cellsam import cli
from napari_cellsam.models.idling import wait_briefly

_VARIABLES = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")


@pytest.fixture(autouse=True)
def _unset(monkeypatch):
    for name in _VARIABLES:
        monkeypatch.setenv(name, "")  # so that what is set below is undone
        monkeypatch.delenv(name)


def test_threads_that_wait_sleep_soon():
    wait_briefly()
    assert 0 < int(os.environ["GOMP_SPINCOUNT"]) < 300_000


@pytest.mark.parametrize("name", _VARIABLES)
def test_what_the_environment_says_stays(monkeypatch, name):
    monkeypatch.setenv(name, "active")
    wait_briefly()
    assert {n: os.environ.get(n) for n in _VARIABLES} == dict.fromkeys(_VARIABLES) | {name: "active"}


def test_the_command_line_says_so_before_torch_is_imported(capsys):
    with pytest.raises(SystemExit):
        cli.main(["--version"])
    assert "GOMP_SPINCOUNT" in os.environ


def test_the_child_of_a_local_service_says_so_before_torch_is_imported():
    code = (
        "import os, sys\n"
        "from napari_cellsam.service import child\n"
        "child.run = lambda build: print('torch' in sys.modules, 'GOMP_SPINCOUNT' in os.environ)\n"
        "child.main()"
    )
    environment = {name: value for name, value in os.environ.items() if name not in _VARIABLES}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]
