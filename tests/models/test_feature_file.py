"""The file of an entry: it comes back to the bit, or not at all."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_cellsam.models.feature_file import decode, encode

ARRAYS = {"wide": np.arange(24, dtype=np.float16).reshape(1, 4, 6), "maps": np.linspace(0, 1, 6, dtype=np.float32)}
FILE = encode("k", ARRAYS)
REGIONS = {
    "checksum": (0, 32),
    "length": (32, 40),
    "names": (40, len(FILE) - 72),
    "numbers": (len(FILE) - 72, len(FILE)),
}


def test_arrays_come_back_to_the_bit():
    found = decode("k", FILE)
    assert found.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert found[name].dtype == array.dtype
        assert found[name].shape == array.shape
        assert found[name].tobytes() == array.tobytes()


def test_an_array_in_another_order_of_memory_comes_back_the_same():
    array = np.arange(12, dtype=np.float32).reshape(3, 4).T
    assert np.array_equal(decode("k", encode("k", {"a": array}))["a"], array)


def test_there_may_be_no_arrays():
    assert decode("k", encode("k", {})) == {}


def test_a_file_under_the_name_of_another_is_worthless():
    assert decode("other", FILE) is None


def test_every_flipped_bit_makes_the_file_worthless():
    for place in range(8 * len(FILE)):
        damaged = bytearray(FILE)
        damaged[place // 8] ^= 1 << place % 8
        assert decode("k", bytes(damaged)) is None


def test_every_truncated_file_is_worthless():
    for n_bytes in range(len(FILE)):
        assert decode("k", FILE[:n_bytes]) is None


@pytest.mark.parametrize("region", REGIONS)
@settings(deadline=None, max_examples=50)
@given(data=st.data())
def test_other_bytes_in_any_region_make_the_file_worthless(region, data):
    first, stop = REGIONS[region]
    start = data.draw(st.integers(first, stop - 1))
    other = data.draw(st.binary(min_size=1, max_size=stop - start))
    damaged = FILE[:start] + other + FILE[start + len(other) :]
    assert decode("k", damaged) is None or damaged == FILE


@given(more=st.binary(min_size=1, max_size=40))
def test_bytes_behind_the_end_make_the_file_worthless(more):
    assert decode("k", FILE + more) is None


@given(content=st.binary(max_size=80))
def test_content_of_another_format_with_a_right_checksum_is_worthless(content):
    name = b"\0\0\0\0\0\0\0\1k"
    digest = hashlib.blake2b(name + content, digest_size=32).digest()
    assert FILE[:32] == hashlib.blake2b(name + FILE[32:], digest_size=32).digest()
    assert not decode("k", digest + content)
