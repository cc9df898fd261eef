"""Arrays in messages come back as they were, or not at all."""

import msgspec
import numpy as np
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from napari_cellsam.errors import LimitExceededError, MessageError
from napari_cellsam.service.arrays import pack, pack_bits, unpack, unpack_bits
from napari_cellsam.service.messages import ArrayData, BitsData

DTYPES = ("uint8", "uint16", "uint32", "int32", "float16", "float32")
MIB = 2**20


def squeezed(data: bytes) -> bytes:
    return zstandard.ZstdCompressor().compress(data)


@given(
    st.sampled_from(DTYPES).flatmap(lambda dtype: arrays(dtype, array_shapes(min_dims=0, max_dims=4, min_side=0))),
    st.booleans(),
)
def test_an_array_comes_back_as_it_was(array, compress):
    back = unpack(pack(array, compress=compress), may_be_compressed=compress)
    assert back.dtype == array.dtype and back.shape == array.shape
    assert back.tobytes() == array.tobytes()  # NaN too


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_order_of_bytes_and_axes_in_memory_does_not_matter(dtype, compress):
    array = np.arange(24).reshape(2, 3, 4).astype(dtype)
    for other in (array.astype(array.dtype.newbyteorder(">")), np.asfortranarray(array), array[:, ::-1][:, ::-1]):
        assert pack(other, compress=compress) == pack(array, compress=compress)


def test_bytes_are_little_endian():
    assert pack(np.array([1, 258], np.uint16)).data == b"\x01\x00\x02\x01"


def test_compressed_bytes_are_grouped_by_significance():
    data = pack(np.array([0x0201, 0x0403], np.uint16), compress=True)
    assert zstandard.ZstdDecompressor().decompress(data.data) == b"\x01\x03\x02\x04"


@pytest.mark.parametrize("dtype", [bool, np.int64, np.float64, complex, object, "U3", [("a", "u1")]])
def test_other_types_are_not_sent(dtype):
    with pytest.raises(MessageError, match="are not sent; expected uint8"):
        pack(np.zeros(3, dtype))


@pytest.mark.parametrize("dtype", ["object", "O", "float64", "<f4", "", "V8", "uint8\0", "x" * 9999])
def test_other_types_are_not_taken(dtype):
    with pytest.raises(MessageError, match="got an array of"):
        unpack(ArrayData(dtype=dtype, shape=(0,), data=b""))


def test_only_expected_types_are_taken():
    data = pack(np.zeros(3, np.float32))
    assert unpack(data, dtypes=("float16", "float32")).shape == (3,)
    with pytest.raises(MessageError, match="got an array of 'float32'; expected uint8 or uint16"):
        unpack(data, dtypes=("uint8", "uint16"))


def test_only_the_expected_number_of_axes_is_taken():
    data = pack(np.zeros((2, 2), np.uint8))
    with pytest.raises(MessageError, match="2 axes; expected 3"):
        unpack(data, ndim=3)


@pytest.mark.parametrize("shape", [(3,), (1,), (0,), (2, 2), ()])
def test_bytes_must_be_as_many_as_the_shape_needs(shape):
    with pytest.raises(MessageError, match="got 2 bytes for an array"):
        unpack(ArrayData(dtype="uint16", shape=(*shape, 2), data=b"ab"))


HUGE = [(-1,), (-1, -1), (2**64, 0), (0, 2**62), (0, 2**33, 2**33), (2**33, 2**33), (2**62,) * 4, (1,) * 7]


@pytest.mark.parametrize("shape", HUGE)
@pytest.mark.parametrize("compression", ["none", "zstd"])
def test_shapes_that_no_array_has_are_refused(shape, compression):
    with pytest.raises(MessageError, match="impossible shape"):
        unpack(ArrayData(dtype="float32", shape=shape, data=b"", compression=compression), may_be_compressed=True)


def test_an_array_larger_than_allowed_is_refused_before_its_bytes_are_looked_at():
    data = ArrayData(dtype="float32", shape=(1024, 257), data=b"not zstd", compression="zstd")
    with pytest.raises(LimitExceededError, match="1052672 bytes; at most 1048576"):
        unpack(data, max_bytes=MIB, may_be_compressed=True)


def test_an_array_as_large_as_allowed_is_taken():
    data = pack(np.zeros((4, 4), np.float32), compress=True)
    assert unpack(data, max_bytes=64, may_be_compressed=True).shape == (4, 4)
    with pytest.raises(LimitExceededError):
        unpack(data, max_bytes=63, may_be_compressed=True)


def test_compressed_bytes_are_refused_where_there_may_be_any_number_of_arrays():
    with pytest.raises(MessageError, match="expected plain ones"):
        unpack(pack(np.zeros(3, np.uint8), compress=True))


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"abcd", id="no compression"),
        pytest.param(squeezed(b"abcd")[:-1], id="cut"),
        pytest.param(squeezed(b"abcd") + b"x", id="more"),
        pytest.param(squeezed(b"abcd") + squeezed(b"abcd"), id="twice"),
        pytest.param(squeezed(b"abc"), id="too short"),
        pytest.param(squeezed(bytes(MIB)), id="too long"),
        pytest.param(zstandard.ZstdCompressor(write_content_size=False).compress(b"abcd"), id="no size"),
        pytest.param(b"\x28\xb5\x2f\xfd\x20\x04\x01\x00\x00", id="a lie about the size"),
        pytest.param(b"\x28\xb5\x2f\xfd\x21\x05\x04\x21\x00\x00abcd", id="a dictionary"),
        pytest.param(b"\x50\x2a\x4d\x18\x04\x00\x00\x00abcd", id="a skippable frame"),
    ],
)
def test_compressed_bytes_that_do_not_hold_the_array_are_refused(data):
    with pytest.raises(MessageError):
        unpack(ArrayData(dtype="uint8", shape=(4,), data=data, compression="zstd"), may_be_compressed=True)


def test_an_empty_array_may_be_compressed():
    assert unpack(pack(np.zeros((0, 2), np.float32), compress=True), may_be_compressed=True).shape == (0, 2)
    with pytest.raises(MessageError):
        unpack(ArrayData(dtype="uint8", shape=(0,), data=squeezed(b"abcd"), compression="zstd"), may_be_compressed=True)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_are_refused_where_that_matters(dtype, value):
    data = pack(np.array([0, value], dtype))
    assert unpack(data).dtype == dtype
    with pytest.raises(MessageError, match="NaN or infinity"):
        unpack(data, finite=True)


def test_what_was_unpacked_cannot_be_written():
    assert not unpack(pack(np.zeros(3, np.uint8))).flags.writeable


@given(arrays(bool, st.tuples(st.integers(0, 20), st.integers(0, 20))))
def test_a_mask_comes_back_as_it_was(mask):
    bits = pack_bits(mask)
    assert len(bits.data) == (mask.size + 7) // 8
    back = unpack_bits(bits, max_pixels=400)
    assert back.dtype == bool and np.array_equal(back, mask) and back.shape == mask.shape


def test_the_first_pixel_is_the_highest_bit():
    assert pack_bits(np.array([[True, False], [False, True]])).data == b"\x90"


def test_a_mask_that_is_a_view_is_packed_as_it_looks():
    mask = np.zeros((9, 11), bool)
    mask[2, 5:] = True
    assert np.array_equal(unpack_bits(pack_bits(mask[::2, ::-1].T)), mask[::2, ::-1].T)


def test_bits_beyond_the_last_pixel_are_not_looked_at():
    assert unpack_bits(BitsData(shape=(1, 3), data=b"\xff")).tolist() == [[True] * 3]


@pytest.mark.parametrize("shape", [(-1, -8), (-1, 0), (0, 2**62), (0, 2**64), (2**40, 2**40), (3, 4)])
def test_masks_larger_than_allowed_are_refused(shape):
    with pytest.raises(MessageError, match="expected one of at most 11 pixels"):
        unpack_bits(BitsData(shape=shape, data=b"\0\0"), max_pixels=11)


@pytest.mark.parametrize("n_bytes", [0, 1, 3])
def test_a_mask_needs_its_bytes(n_bytes):
    with pytest.raises(MessageError, match=f"got {n_bytes} bytes for a mask"):
        unpack_bits(BitsData(shape=(3, 3), data=bytes(n_bytes)))


def test_a_message_with_more_axes_than_any_array_is_not_even_decoded():
    with pytest.raises(msgspec.ValidationError, match="length"):
        msgspec.msgpack.decode(
            msgspec.msgpack.encode({"dtype": "uint8", "shape": [1] * 9, "data": b"a"}), type=ArrayData
        )
