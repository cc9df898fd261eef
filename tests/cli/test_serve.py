"""The command ``serve``, in a process of its own, and what is wrong with its options."""

from __future__ import annotations

import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager

import httpx
import numpy as np
import pytest

from napari_cellsam.cli import main
from napari_cellsam.export.label_tiff import read_labels

COMMAND = [sys.executable, "-c", "from napari_cellsam.cli import main; main()"]
HANG_S = 120.0


@contextmanager
def serving(folder, *arguments, token=None):
    """Run the command; yield the process and what it printed: the URL, and how to connect."""
    environment = {**os.environ, "NAPARI_CELLSAM_CONFIG_DIR": str(folder), "NAPARI_CELLSAM_CACHE_DIR": str(folder)}
    environment.pop("NAPARI_CELLSAM_TOKEN", None)
    if token is not None:
        environment["NAPARI_CELLSAM_TOKEN"] = token
    command = [*COMMAND, "serve", "--port", "0", *arguments]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        watchdog = threading.Timer(HANG_S, process.kill)  # its streams end then, and so does the test
        watchdog.start()
        try:
            yield process, process.stdout.readline().split()[-1], process.stdout.readline()
        finally:
            watchdog.cancel()
            process.kill()
            process.communicate()


@pytest.mark.slow
def test_images_are_segmented_by_a_server_that_ends_cleanly(tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("NAPARI_CELLSAM_TOKEN", raising=False)
    with serving(tmp_path, "--device", "cpu") as (process, url, told):
        token_file = tmp_path / "server.token"
        assert told.split()[-2:] == ["--token-file", str(token_file)]
        assert token_file.read_text().strip() not in " ".join(process.args)
        assert httpx.get(f"{url}/healthz", trust_env=False).status_code == 200
        assert httpx.get(f"{url}/metrics", trust_env=False).status_code == 404
        arguments = ["segment", "--sample", "fluorescent_nuclei", "-o", str(tmp_path / "far"), "--server", url]
        main_ended(0, [*arguments, "--token-file", str(token_file)])
        main_ended(1, [*arguments, "--overwrite"])
        assert "token" in capsys.readouterr().err
        if sys.platform != "win32":
            process.send_signal(signal.SIGTERM)
            _, errors = process.communicate(timeout=HANG_S)
            assert process.returncode == 0
            assert "Stopping" in errors
            assert "Traceback" not in errors
    main_ended(0, ["segment", "--sample", "fluorescent_nuclei", "-o", str(tmp_path / "near"), "--device", "cpu"])
    far, near = (read_labels(next((tmp_path / name).glob("*_labels.tif"))) for name in ("far", "near"))
    assert far.max() > 100
    assert np.array_equal(far, near)


def test_the_token_may_come_from_the_environment(tmp_path):
    token = "a-token-of-the-tests"
    with serving(tmp_path, "--metrics", token=token) as (process, url, told):
        assert "NAPARI_CELLSAM_TOKEN" in told
        assert token not in told
        page = httpx.get(f"{url}/metrics", headers={"authorization": f"Bearer {token}"}, trust_env=False, timeout=60)
        assert page.status_code == 200
    assert not (tmp_path / "server.token").exists()


def main_ended(code, arguments):
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert (end.value.code or 0) == code


def test_a_server_whose_device_is_lost_ends_with_an_error(tmp_path, monkeypatch, capsys):
    def begin(service):
        service.broken.set()
        return service

    monkeypatch.setenv("NAPARI_CELLSAM_CONFIG_DIR", str(tmp_path))
    monkeypatch.delenv("NAPARI_CELLSAM_TOKEN", raising=False)
    monkeypatch.setattr("napari_cellsam.service.core.Service.__enter__", begin)
    main_ended(1, ["serve", "--port", "0", "--device", "cpu"])
    assert "error: the device has failed" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--token-file", "nowhere.txt"], "no token can be read from nowhere.txt"),
        (["--certificate", "nowhere.pem"], "its key"),
        (["--host", "no.such.host.invalid"], "cannot listen"),
        (["--models", "no-such-model"], "no-such-model"),
        (["--device", "cuda:99"], "cuda:99"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(arguments, why, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("NAPARI_CELLSAM_CONFIG_DIR", str(tmp_path))
    monkeypatch.delenv("NAPARI_CELLSAM_TOKEN", raising=False)
    main_ended(1, ["serve", "--port", "0", *arguments])
    told = capsys.readouterr().err.strip().splitlines()
    assert len([line for line in told if line.startswith("error: ")]) == 1
    assert why in told[-1]


@pytest.mark.parametrize("token", [" ", "guess me"])
def test_a_token_in_the_environment_that_can_be_guessed_is_refused(token, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("NAPARI_CELLSAM_TOKEN", token)
    main_ended(1, ["serve", "--port", "0"])
    told = capsys.readouterr().err
    assert f"NAPARI_CELLSAM_TOKEN holds a token of {len(token.strip())} characters" in told
    assert "guess me" not in told


def test_where_all_addresses_are_listened_on_the_machine_is_named_and_the_danger_told(tmp_path):
    with serving(tmp_path, "--host", "0.0.0.0") as (process, url, told):
        assert url.startswith("http://0.0.0.0:")
        assert f" --server http://{socket.gethostname()}:" in told
        assert "clear text" in process.stderr.readline()


def test_weights_that_cannot_be_loaded_are_told_in_the_log_at_once(tmp_path):
    weights = tmp_path / "broken.safetensors"
    weights.write_bytes(b"no weights")
    with serving(tmp_path, "--models", str(weights), "--log-format", "json") as (process, _, _):
        lines = iter(process.stderr.readline, "")
        [told] = itertools.islice((json.loads(line) for line in lines if '"error"' in line), 1)
    assert told["message"].startswith("the first model could not be loaded: ")
    assert "broken.safetensors" in told["message"]
