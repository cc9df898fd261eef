"""Requests and frames are encoded so that the other side understands them, or says why it does not."""

import math
import mmap

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.service.fuzzing import good_requests

from napari_cellsam.errors import LimitExceededError, MessageError, OptionError, VersionMismatchError
from napari_cellsam.service import codec, convert
from napari_cellsam.service.codec import FrameReader, decode_envelope, decode_request, encode_frame, encode_request
from napari_cellsam.service.messages import (
    PROTOCOL_VERSION,
    ArrayData,
    BoxesFound,
    Cancelled,
    CellData,
    CellsFound,
    Failure,
    FeatureEntry,
    FeaturesFound,
    FeaturesKept,
    GetInfo,
    ImageKept,
    ImageRef,
    Learning,
    LimitsInfo,
    MasksFound,
    ModelInfo,
    Prefetch,
    Prefetched,
    Progress,
    PutImage,
    Reply,
    Request,
    Result,
    Segmented,
    SegmentImage,
    SegmentPrompts,
    ServiceInfo,
    Trained,
    TrainingStopped,
    Waiting,
)
from napari_cellsam.types import Image, Mask, SegmentOptions
from napari_cellsam.types.finetuning import Figures, FinetuneOptions, PictureFigures, TrainingProgress, TrainingRecord

REF = ImageRef(image_id="0" * 32, shape=(30, 40))
ARRAY = convert.pack(np.zeros((2, 4), np.float32))
MASK = convert.mask_data(Mask(np.ones((3, 3), bool), (1, 2), 0.5))
JUDGED = Figures((PictureFigures("p", 3, 2, 1, 1, (0.5, 0.75, 1.0)),))
RECORD = TrainingRecord(
    "compact", "0" * 64, ("a",), ("b",), "synthetic pictures", JUDGED, JUDGED, FinetuneOptions(), "2026-11-21", 4, 1.5
)
RESULTS = (
    ImageKept(image_id="a"),
    Prefetched(n_encoded=1, n_cached=2, diameter=None, seconds=0.5),
    BoxesFound(boxes=ARRAY, scores=ARRAY),
    MasksFound(masks=(MASK, MASK)),
    Segmented(n_cells=3, diameter=21.5, notes=("memory was short",)),
    FeaturesFound(weights_id="w", entries=(FeatureEntry(key="k", arrays={"a": ARRAY}),)),
    FeaturesKept(n_entries=2),
    Cancelled(found=True),
    Trained(name="n", record=RECORD),
    TrainingStopped(found=False),
    ServiceInfo(
        version="1",
        protocol=1,
        device="cpu",
        memory_bytes=2**40,
        memory_used_bytes=1,
        models=(ModelInfo(name="n", title="t", licence="l", weights_id="", loaded=False, can_detect=None),),
        limits=LimitsInfo(max_body_bytes=1, max_pixels=2, max_prompts=3, max_waiting=4),
        private=True,
    ),
)
FRAMES = (
    Waiting(n_ahead=3),
    Progress(stage="segmenting", done=1, total=9),
    CellsFound(cells=(CellData(mask=MASK, score=0.9),)),
    Learning(progress=TrainingProgress("joint", 3, 0.5, {"mask": 0.25}, f1=0.75)),
    Failure(error="PromptError", message="nö"),
    *(Reply(result=result) for result in RESULTS),
)
STREAM = b"".join(map(encode_frame, FRAMES))


def envelope_of(**fields) -> bytes:
    good = {"protocol": PROTOCOL_VERSION, "client_id": "c", "request_id": "r", "request": {"type": "get_info"}}
    return msgspec.msgpack.encode(good | fields)


def request_of(fields: dict) -> Request:
    return decode_request(decode_envelope(envelope_of(request=fields)))


@pytest.mark.parametrize("request_", good_requests(), ids=lambda request: type(request).__name__)
def test_a_request_comes_back_as_it_was(request_):
    envelope = decode_envelope(encode_request(request_, "client", "request", "slot"))
    assert (envelope.client_id, envelope.request_id, envelope.slot) == ("client", "request", "slot")
    assert decode_request(envelope) == request_


def test_every_kind_of_request_and_frame_is_tested_here():
    assert {type(request) for request in good_requests()} == set(Request.__args__)
    assert {type(result) for result in RESULTS} == set(Result.__args__)


@given(st.data())
def test_frames_come_back_however_the_stream_is_cut(data):
    cuts = sorted(data.draw(st.lists(st.integers(0, len(STREAM)), max_size=12)))
    reader = FrameReader(2**20)
    frames = []
    for start, stop in zip([0, *cuts], [*cuts, len(STREAM)], strict=True):
        frames += reader.feed(STREAM[start:stop])
    assert tuple(frames) == FRAMES


def test_frames_come_back_byte_by_byte():
    reader = FrameReader(2**20)
    assert tuple(frame for i in range(len(STREAM)) for frame in reader.feed(STREAM[i : i + 1])) == FRAMES


def test_a_frame_that_is_not_whole_is_waited_for():
    reader = FrameReader(2**20)
    assert list(reader.feed(encode_frame(FRAMES[0])[:-1])) == []


def test_a_frame_begins_with_its_length_the_highest_byte_first():
    frame = encode_frame(FRAMES[0])
    assert frame[:4] == (len(frame) - 4).to_bytes(4, "big")
    assert msgspec.msgpack.decode(frame[4:]) == {"type": "waiting", "n_ahead": 3}


def test_a_frame_longer_than_allowed_is_refused_when_it_is_announced():
    with pytest.raises(MessageError, match="announces a frame of 1001 bytes; at most 1000"):
        list(FrameReader(1000).feed((1001).to_bytes(4, "big")))


def test_frames_before_a_broken_one_arrive():
    reader = FrameReader(1000)
    frames = reader.feed(encode_frame(FRAMES[0]) + b"\0\0\0\1\xc1" + encode_frame(FRAMES[1]))
    assert next(frames) == FRAMES[0]
    with pytest.raises(MessageError, match="not a frame of an answer"):
        next(frames)


def test_a_reply_too_long_to_be_sent_becomes_a_failure_that_says_so(monkeypatch):
    monkeypatch.setattr(codec, "MAX_FRAME_BYTES", 300)
    (frame,) = FrameReader(300).feed(
        encode_frame(Reply(result=Segmented(n_cells=1, diameter=None, notes=("x" * 300,))))
    )
    assert frame.error == "LimitExceededError"
    assert "ask for less at once" in frame.message


def test_another_frame_too_long_to_be_sent_is_an_error(monkeypatch):
    monkeypatch.setattr(codec, "MAX_FRAME_BYTES", 50)
    with pytest.raises(LimitExceededError, match="ask for less at once"):
        encode_frame(FRAMES[2])


@pytest.mark.parametrize(
    ("protocol", "older"), [(0, "client's"), (-3, "client's"), (PROTOCOL_VERSION + 1, "service's")]
)
def test_another_version_is_told_what_to_install_where(protocol, older):
    with pytest.raises(VersionMismatchError, match=f"{older} machine: pip install --upgrade napari-cellsam"):
        decode_envelope(envelope_of(protocol=protocol))


def test_the_version_counts_before_all_that_a_later_one_may_have_changed():
    with pytest.raises(VersionMismatchError):
        decode_envelope(msgspec.msgpack.encode({"protocol": 99, "client": {"id": 1}, "request": [1, 2]}))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xc1",
        b"GET / HTTP/1.1",
        b"\x80",
        b"\x90",
        envelope_of()[:-1],
        envelope_of() + b"x",
        envelope_of(protocol="1"),
        envelope_of(protocol=1.5),
        envelope_of(client_id=b"c"),
        envelope_of(client_id="c" * 257),
        envelope_of(request_id="r" * 257),
        envelope_of(slot="s" * 257),
        msgspec.msgpack.encode({"protocol": PROTOCOL_VERSION, "client_id": "c", "request_id": "r"}),
        b"\x81\xa8protocol" + b"\x91" * 100_000,
        b"\x82\xa8protocol\x01\xa7request" + b"\x91" * 100_000,
        b"\x82\xa8protocol\x01\xa7request\xdd\xff\xff\xff\xff",
        b"\x82\xa8protocol\x01\xa7request\xc6\xff\xff\xff\xff",
        b"\x82\xa8protocol\x01\xa9client_id\xa1\xff",
    ],
    ids=range(19),
)
def test_what_is_no_envelope_is_refused(body):
    with pytest.raises(MessageError, match="not the envelope of a request"):
        decode_envelope(body)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"type": "rm"},
        {"type": "reply", "result": {}},
        {"type": "segment_image"},
        {"type": "segment_image", "image": {"image_id": "a", "shape": [1, 2, 3]}},
        {"type": "segment_image", "image": {"image_id": "a", "shape": [1, 2]}, "model": "m" * 257},
        {"type": "segment_image", "image": {"image_id": "a" * 257, "shape": [1, 2]}},
        {"type": "segment_image", "image": {"image_id": "a", "shape": [1, 2]}, "options": {"scaling": "huge"}},
        {"type": "put_image", "pixels": {"dtype": "uint8", "shape": [1], "data": b"a", "compression": "lzma"}},
        {"type": "put_image", "pixels": {"dtype": "uint8", "shape": [1], "data": "text"}},
        {"type": "put_features", "entries": [{"key": "k" * 257, "arrays": {}}]},
        [1, 2],
        "text",
        None,
    ],
    ids=range(14),
)
def test_what_is_no_request_is_refused(fields):
    with pytest.raises(MessageError, match="not a request"):
        request_of(fields)


def test_prompts_in_such_numbers_that_they_would_fill_the_memory_are_not_decoded():
    fields = {"type": "segment_prompts", "image": {"image_id": "a", "shape": [1, 2]}, "prompts": 1}
    good = envelope_of(request=fields | {"prompts": [{}]})
    assert len(decode_request(decode_envelope(good)).prompts) == 1
    with pytest.raises(MessageError, match="length <= 1048576"):
        decode_request(decode_envelope(good.replace(b"\x91\x80", b"\xdd\x00\x20\x00\x00" + b"\x80" * 2**21)))


def test_features_in_such_numbers_that_they_would_fill_the_memory_are_not_decoded():
    entry = {"key": "a", "arrays": {}}
    assert len(request_of({"type": "put_features", "entries": [entry] * 4096}).entries) == 4096
    with pytest.raises(MessageError, match="length <= 4096"):
        request_of({"type": "put_features", "entries": [entry] * 4097})


def test_options_out_of_range_are_an_error_of_their_own():
    with pytest.raises(OptionError, match=r"overlap is 0\.9"):
        request_of({"type": "segment_image", "image": {"image_id": "a", "shape": [1, 2]}, "options": {"overlap": 0.9}})


@pytest.mark.parametrize("name", ["box_score", "min_predicted_iou", "overlap", "diameter", "mask_threshold"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e308])
def test_options_that_are_no_numbers_are_refused(name, value):
    with pytest.raises(OptionError, match=name):
        request_of({"type": "segment_image", "image": {"image_id": "a", "shape": [1, 2]}, "options": {name: value}})


def test_options_left_out_are_the_defaults():
    request = request_of({"type": "segment_image", "image": {"image_id": "a", "shape": [1, 2]}})
    assert request == SegmentImage(image=ImageRef(image_id="a", shape=(1, 2)), options=SegmentOptions())


def test_what_a_later_version_adds_is_passed_over():
    body = envelope_of(trace="t", request={"type": "get_info", "verbose": True})
    assert decode_request(decode_envelope(body)) == GetInfo()


def test_an_array_longer_than_a_message_can_hold_is_not_sent():
    with mmap.mmap(-1, 2**32) as zeros, memoryview(zeros) as data:  # of which the system takes no memory
        array = ArrayData(dtype="float32", shape=(2**15, 2**15, 1), data=data)
        with pytest.raises(LimitExceededError, match="crop the image"):
            encode_request(PutImage(pixels=array), "anna", "1")
        frame = encode_frame(Reply(result=BoxesFound(boxes=array, scores=ARRAY)))
    [failure] = FrameReader(2**20).feed(frame)
    assert failure.error == "LimitExceededError"


def test_a_name_that_is_no_text_is_not_sent():
    with pytest.raises(MessageError, match="cannot be sent"):
        encode_request(Prefetch(image=REF, model="compact\udc80"), "c", "r")


def test_an_image_takes_its_bytes_and_little_more():
    image = Image.from_array(np.zeros((100, 100), np.uint16))
    assert len(encode_request(convert.image_data(image), "c", "r")) < image.pixels.nbytes + 300


def test_a_click_takes_few_bytes():
    from napari_cellsam.types import Prompt

    click = SegmentPrompts(image=REF, prompts=(convert.prompt_data(Prompt(inside=[(3, 4)])),))
    assert len(encode_request(click, "c" * 32, "r" * 32)) < 600
