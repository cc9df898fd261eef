"""The command line as a whole."""

import subprocess
import sys

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
