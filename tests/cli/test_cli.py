"""The command line as a whole."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize("command", [[], ["segment"], ["evaluate"], ["models"], ["models", "add"]])
def test_help_explains_each_command(run, command):
    ended = run(*command, "--help")
    assert ended.code == 0
    assert "Usage: napari-cellsam" in ended.out


def test_an_unknown_command_ends_with_2(run):
    assert run("segmnt").code == 2


def test_the_version_is_that_of_the_package(run, monkeypatch):
    monkeypatch.setattr("importlib.metadata.version", lambda name: f"{name} 1.2.3")
    assert run("--version").out == "napari-cellsam 1.2.3\n"


def test_the_command_line_imports_nothing_heavy_before_it_needs_it():
    code = """
import sys
import napari_cellsam.cli
heavy = {"torch", "scipy", "skimage", "tifffile", "imageio", "napari", "pooch"} & set(sys.modules)
sys.exit(f"imported {heavy}" if heavy else 0)
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no disk here that is always full")
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_disk_is_told_in_one_line(unbuffered):
    command = [sys.executable, "-c", "from napari_cellsam.cli import main; main(['models', 'list'])"]
    environment = os.environ | {"PYTHONUNBUFFERED": unbuffered}
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False, env=environment
        )
    assert ended.returncode == 1
    assert ended.stderr == "error: the output cannot be read or written: No space left on device\n"


def test_a_name_that_is_too_long_is_told_in_one_line(run, tmp_path):
    ended = run("evaluate", tmp_path / ("a" * 300), tmp_path)
    assert ended.code == 1
    assert "File name too long" in ended.err
    assert ended.err.count("\n") == 1
