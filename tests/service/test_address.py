"""The address of a service is checked before anything is sent there."""

import pytest

from napari_cellsam.errors import OptionError
from napari_cellsam.service.address import Address


@pytest.mark.parametrize(
    ("typed", "url"),
    [
        ("http://127.0.0.1:8765", "http://127.0.0.1:8765"),
        (" https://GPU.example.org/ ", "https://gpu.example.org"),
        ("https://example.org/lab/cellsam/", "https://example.org/lab/cellsam"),
        ("http://[::1]:8765", "http://[::1]:8765"),
    ],
)
def test_a_url_is_kept_without_its_last_slash(typed, url):
    assert Address.parse(typed).url == url


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "localhost", "[::1]"])
def test_this_machine_is_known(host):
    assert Address.parse(f"http://{host}:1").is_loopback


@pytest.mark.parametrize("host", ["10.0.0.1", "example.org", "localhost.example.org", "[fe80::1]", "127.0.0.1.org"])
def test_other_machines_are_known(host):
    assert not Address.parse(f"http://{host}:1").is_loopback


def test_only_https_is_secure():
    assert Address.parse("https://example.org").is_secure
    assert not Address.parse("http://example.org").is_secure


@pytest.mark.parametrize(
    "typed",
    ["", "gpu.example.org", "ftp://example.org", "http://", "http://host:port", "http://host:99999", "http://[::1"],
)
def test_what_is_not_the_url_of_a_service_is_refused(typed):
    with pytest.raises(OptionError, match="server's URL"):
        Address.parse(typed)


@pytest.mark.parametrize(
    "typed", ["https://me:secret@example.org", "https://secret@example.org", "https://example.org/?token=secret"]
)
def test_a_url_with_a_secret_is_refused_and_not_repeated(typed):
    with pytest.raises(OptionError, match="NAPARI_CELLSAM_TOKEN") as refused:
        Address.parse(typed)
    assert "secret" not in str(refused.value)
