"""Bytes that nobody should send give an error of ours, and take no memory."""

from __future__ import annotations

import contextlib

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from tests.service.fuzzing import MOST_GROWTH_BYTES, bodies, expanded, fuzzed, good_bodies, memory

from napari_cellsam.errors import CellsamError, MessageError
from napari_cellsam.service import convert
from napari_cellsam.service.arrays import unpack
from napari_cellsam.service.codec import FrameReader, decode_envelope, decode_request, encode_frame
from napari_cellsam.service.failures import error_of, failure_of
from napari_cellsam.service.messages import (
    ArrayData,
    BitsData,
    BoxesFound,
    CellData,
    CellsFound,
    Failure,
    MaskData,
    MasksFound,
    Message,
    Progress,
    PromptData,
    PutFeatures,
    PutImage,
    Reply,
)

_BYTES = 2**20


def convert_all(message):  # noqa: C901 - a branch for each type
    """Convert every part of a message that has a type of ours, as a service and a client do."""
    if isinstance(message, PutImage):
        convert.image_of(message, 10_000)
    elif isinstance(message, PromptData):
        convert.prompt_of(message)
    elif isinstance(message, ArrayData):
        unpack(message, max_bytes=_BYTES)
    elif isinstance(message, MaskData):
        convert.mask_of(message, (30, 30))
    elif isinstance(message, CellData):
        convert.cell_of(message, (30, 30))
    elif isinstance(message, BoxesFound):
        convert.detections_of(message)
    else:
        for name in message.__struct_fields__:
            value = getattr(message, name)
            for part in value if isinstance(value, tuple) else (value,):
                if isinstance(part, Message):
                    convert_all(part)
        if isinstance(message, PutFeatures):
            for entry in message.entries:
                for array in entry.arrays.values():
                    unpack(array, max_bytes=_BYTES)


def test_good_bodies_are_good():
    for body in good_bodies():
        convert_all(decode_request(decode_envelope(body)))


def test_fuzzed_requests_give_a_message_or_an_error_of_ours_and_memory_stays_flat():
    before = memory()
    _fuzz_requests()
    assert memory() - before < MOST_GROWTH_BYTES


@fuzzed
@given(bodies)
def _fuzz_requests(body):
    with contextlib.suppress(CellsamError):
        convert_all(decode_request(decode_envelope(expanded(body))))


_MASK = MaskData(corner=(1, 2), crop=BitsData(shape=(3, 3), data=b"\xff\x80"), score=0.5)
_FRAMES = b"".join(
    map(
        encode_frame,
        (
            Progress(stage="segmenting", done=1, total=2),
            CellsFound(cells=(CellData(mask=_MASK, score=0.9),)),
            Reply(result=MasksFound(masks=(_MASK,))),
            Failure(error="PromptError", message="no"),
        ),
    )
)


def test_good_frames_are_good():
    frames = list(FrameReader(_BYTES).feed(_FRAMES))
    assert [type(frame).__name__ for frame in frames] == ["Progress", "CellsFound", "Reply", "Failure"]
    for frame in frames:
        convert_all(frame)


def test_fuzzed_answers_give_a_frame_or_an_error_of_ours_and_memory_stays_flat():
    before = memory()
    _fuzz_answers()
    assert memory() - before < MOST_GROWTH_BYTES


@fuzzed
@given(st.data())
def _fuzz_answers(data):
    stream = bytearray(_FRAMES)
    for _ in range(data.draw(st.integers(0, 4))):
        at = data.draw(st.integers(0, len(stream) - 1))
        stream[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=6))
        if not stream:
            return
    reader = FrameReader(_BYTES)
    cut = data.draw(st.integers(0, len(stream)))
    with contextlib.suppress(CellsamError):
        for part in (bytes(stream[:cut]), bytes(stream[cut:])):
            for frame in reader.feed(part):
                convert_all(frame)
                if isinstance(frame, Failure):
                    assert isinstance(error_of(frame), CellsamError)


def test_a_body_that_announces_more_than_memory_holds_takes_none():
    huge = ArrayData(dtype="float32", shape=(2**31, 2**31), data=b"", compression="zstd")
    before = memory()
    for shape in ((2**31, 2**31), (2**33, 1), (2**30, 1), (-1, 4), (0, 2**62)):
        with contextlib.suppress(MessageError):
            unpack(msgspec.structs.replace(huge, shape=shape), max_bytes=_BYTES)
    assert memory() - before < MOST_GROWTH_BYTES


def test_a_small_body_that_would_decompress_to_a_huge_one_is_refused():
    import zstandard

    bomb = zstandard.ZstdCompressor().compress(bytes(100 * _BYTES))
    for n in (100 * _BYTES, 4):
        try:
            unpack(ArrayData(dtype="uint8", shape=(n,), data=bomb, compression="zstd"), max_bytes=_BYTES)
        except MessageError:
            continue
        raise AssertionError("the bomb was taken")


@given(st.text(max_size=50), st.text(max_size=50))
def test_any_failure_is_an_error_of_ours(name, message):
    assert isinstance(error_of(Failure(error=name, message=message)), CellsamError)


def test_an_unforeseen_error_tells_its_kind_and_nothing_else():
    failure = failure_of(ValueError("a secret path"))
    assert failure.error == "ServiceInternalError"
    assert "ValueError" in failure.message
    assert "secret" not in failure.message
