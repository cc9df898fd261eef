"""Messages that nobody should send become values that are whole, or errors of ours, and take little memory.

``NAPARI_CELLSAM_FUZZ_CASES=10000 pytest -s tests/service/test_fuzz_codec.py`` runs as many cases of each test, and
prints what they took.
"""

from __future__ import annotations

import contextlib
import math
import time
import tracemalloc
from collections import Counter
from functools import cache

import numpy as np
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from tests.service.fuzzing import (
    N_CASES,
    bodies,
    expanded,
    fuzzed,
    good_bodies,
    good_requests,
    memory,
)

from napari_cellsam.errors import CellsamError
from napari_cellsam.service import convert
from napari_cellsam.service.arrays import unpack
from napari_cellsam.service.codec import FrameReader, decode_envelope, decode_request, encode_frame, encode_request
from napari_cellsam.service.failures import error_of
from napari_cellsam.service.messages import (
    ArrayData,
    BitsData,
    BoxesFound,
    CellData,
    CellsFound,
    Failure,
    FeatureEntry,
    FeaturesFound,
    ImageRef,
    LogitsData,
    MaskData,
    MasksFound,
    Message,
    Progress,
    PromptData,
    PutFeatures,
    PutImage,
    Reply,
    SegmentPrompts,
)

MIB = 2**20
SHAPE = (30, 40)
MOST_PER_BYTE = 128
"""Memory that a byte of a message may take: an empty prompt, a single byte, is an object."""
MOST_BESIDES = 6 * MIB
"""Memory that a message may take besides: an image, decompressed, and what checking it takes."""
MOST_GROWTH = 8 * MIB
"""Of the memory of a process that reads the same messages again and again; allocators settle within it."""
N_KEPT = 100


def convert_all(message: object) -> None:
    """Convert every part of a message that has a type of ours, as a service and a client do, and look at it."""
    if type(message) in _LOOKS:
        _LOOKS[type(message)](message)
    elif isinstance(message, Message):
        for name in message.__struct_fields__:
            convert_all(getattr(message, name))
    elif isinstance(message, tuple):
        for part in message:
            convert_all(part)


def look_at_image(request: PutImage) -> None:
    image = convert.image_of(request, 10_000, MIB)
    assert math.prod(image.shape) <= 10_000 and image.pixels.nbytes <= MIB
    assert np.isfinite(image.pixels).all() and len(image.image_id) == 32


def look_at_prompt(data: PromptData) -> None:
    prompt = convert.prompt_of(data)
    for points in (prompt.inside_yx, prompt.outside_yx):
        assert points.shape == (len(points), 2) and np.isfinite(points).all()
    assert prompt.box_yxyx is None or np.isfinite(prompt.box_yxyx).all()
    assert prompt.mask_logits is None or prompt.mask_logits.values.size


def look_at_mask(data: MaskData) -> None:
    mask = convert.mask_of(data, SHAPE)
    assert 0 <= mask.score <= 1
    assert mask.full(SHAPE).sum() == mask.area
    assert mask.probability is None or mask.probability.shape == mask.crop.shape
    assert mask.low_res is None or np.isfinite(mask.low_res.values).all()


def look_at_cell(data: CellData) -> None:
    cell = convert.cell_of(data, SHAPE)
    assert 0 <= cell.score <= 1 and cell.mask.full(SHAPE).shape == SHAPE


def look_at_boxes(data: BoxesFound) -> None:
    found = convert.detections_of(data)
    assert found.boxes.shape == (len(found), 4) and ((found.scores >= 0) & (found.scores <= 1)).all()


def look_at_entry(entry: FeatureEntry) -> None:
    for data in entry.arrays.values():
        array = unpack(data, dtypes=("float16", "float32"), max_bytes=MIB, may_be_compressed=True)
        assert array.nbytes <= MIB and array.shape == data.shape


def look_at_failure(failure: Failure) -> None:
    assert isinstance(error_of(failure), CellsamError)


_LOOKS = {
    PutImage: look_at_image,
    PromptData: look_at_prompt,
    MaskData: look_at_mask,
    CellData: look_at_cell,
    BoxesFound: look_at_boxes,
    FeatureEntry: look_at_entry,
    Failure: look_at_failure,
}


class Trials:
    """Tries messages, and keeps count of what came of them and what they took."""

    def __init__(self, read):
        self._read = read
        self.outcomes = Counter()
        self.most_bytes = 0
        self._some: list[bytes] = []

    def attempt(self, data: bytes) -> None:
        """Read a message, or have it refused; nothing else may come of it."""
        tracemalloc.start()
        try:
            self._read(data)
            outcome = "taken"
        except CellsamError as error:
            outcome = type(error).__name__
        finally:
            taken = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        self.outcomes[outcome] += 1
        self.most_bytes = max(self.most_bytes, taken)
        assert taken <= MOST_BESIDES + MOST_PER_BYTE * len(data)
        if self.outcomes.total() % max(N_CASES // N_KEPT, 1) == 0:
            self._some.append(data)

    def repeat(self) -> tuple[int, int]:
        """Read some of the messages again, as many times as there were; return the memory before and after.

        Nobody remembers anything here. Hypothesis does: with every new message it takes some more memory.
        """
        self._read_some()
        before = memory()
        for _ in range(self.outcomes.total() // len(self._some)):
            self._read_some()
        return before, memory()

    def _read_some(self) -> None:
        for data in self._some:
            with contextlib.suppress(CellsamError):
                self._read(data)


def read_request(body: bytes) -> None:
    convert_all(decode_request(decode_envelope(body)))


def read_answer(stream: bytes) -> None:
    reader = FrameReader(MIB)
    for part in (stream[: len(stream) // 3], stream[len(stream) // 3 :]):
        for frame in reader.feed(part):
            convert_all(frame)


def run(title, read, messages) -> Counter:
    """Try as many messages as told; return how many had which outcome."""
    for body in good_bodies():
        read_request(body)  # imports what it needs, which is not the messages' doing
    trials = Trials(read)
    begun = time.perf_counter()
    fuzzed(given(messages)(lambda data: trials.attempt(expanded(data))))()
    seconds = time.perf_counter() - begun
    before, after = trials.repeat()
    n_cases, most = trials.outcomes.total(), trials.most_bytes / 1024
    print(  # noqa: T201 - for whoever asked for many cases
        f"\n{title}: {n_cases} cases in {seconds:.0f} s, at most {most:.0f} KiB each; "
        f"read again: memory {before / MIB:.1f} -> {after / MIB:.1f} MiB; {dict(trials.outcomes)}"
    )
    assert after - before < MOST_GROWTH
    assert trials.outcomes.total() >= N_CASES
    return trials.outcomes


# ---- parts that are right in form, and often wrong in content

_LENGTHS = st.integers(0, 6) | st.sampled_from([-1, 9, 30, 41, 2**16, 2**31, 2**33, 2**62, 2**63, 2**64 - 1, -(2**63)])
_SHARES = st.floats(0, 1) | st.floats()
_PLACES = st.integers(-2, 41) | _LENGTHS
_EDGES = st.floats(-10, 50, width=16) | st.floats()


@cache
def bomb() -> bytes:
    """Return few bytes that decompress to many."""
    return zstandard.ZstdCompressor().compress(bytes(50 * MIB))


@st.composite
def array_data(draw, *dtypes: str, n_axes: int) -> ArrayData:
    """Return an array; every other one is what it says."""
    is_good = draw(st.booleans())
    if is_good:
        dtype, shape = draw(st.sampled_from(dtypes)), tuple(draw(st.integers(0, 5)) for _ in range(n_axes))
    else:
        dtype = draw(st.sampled_from([*dtypes, "uint8", "uint16", "int32", "float16", "float32", "float64", "object"]))
        shape = tuple(draw(st.lists(_LENGTHS, max_size=8)))
    n = math.prod(shape) * (np.dtype(dtype).itemsize if dtype != "object" else 8)
    filler = draw(st.sampled_from([b"\0", b"\0\x3c", b"\0\0\x80\x3e", b"\xff", b"\x01\x7f"]))
    data = (filler * (n // len(filler) + 1))[:n] if 0 <= n <= 4096 else draw(st.binary(max_size=40))
    compression = draw(st.sampled_from(["none", "none", "none", "zstd"]))
    if compression == "zstd":
        data = draw(st.sampled_from([zstandard.ZstdCompressor().compress(data), data, bomb()]))
    return ArrayData(dtype=dtype, shape=shape, data=data, compression=compression)


_LOGITS = st.builds(
    LogitsData,
    values=array_data("float16", "float32", n_axes=2),
    window=st.tuples(_EDGES, _EDGES, _EDGES, _EDGES) | st.just((0.0, 1.0, 9.0, 9.5)),
)


@st.composite
def bits_data(draw) -> BitsData:
    """Return a crop, most often with as many bytes as it needs."""
    shape = draw(st.tuples(_LENGTHS, _LENGTHS))
    n = -(-math.prod(shape) // 8)
    fits = 0 <= n <= 4096 and draw(st.integers(0, 3))
    return BitsData(shape=shape, data=b"\xa5" * n if fits else draw(st.binary(max_size=9)))


_MASKS = st.builds(
    MaskData,
    corner=st.tuples(_PLACES, _PLACES),
    crop=bits_data(),
    score=_SHARES,
    probability=st.none() | array_data("uint8", n_axes=2),
    low_res=st.none() | _LOGITS,
)
_POINTS = st.none() | array_data("float32", n_axes=2)
_PROMPTS = st.builds(
    PromptData,
    inside=_POINTS,
    outside=_POINTS,
    box=st.none() | st.just((1.0, 2.0, 8.0, 9.0)) | st.tuples(_EDGES, _EDGES, _EDGES, _EDGES),
    previous=st.none() | _LOGITS,
)
_ROLES = st.none() | st.integers(-1, 3) | _LENGTHS
_ENTRIES = st.builds(
    FeatureEntry,
    key=st.text(max_size=5),
    arrays=st.dictionaries(st.text(max_size=3), array_data("float16", "float32", n_axes=3), max_size=3),
)


def several(parts):
    return st.lists(parts, max_size=2).map(tuple)


_ODD_REQUESTS = st.one_of(
    st.builds(
        PutImage,
        pixels=array_data("uint8", "uint16", "float32", n_axes=3),
        nuclear=_ROLES,
        cell=_ROLES,
        rgb=st.booleans(),
    ),
    st.builds(SegmentPrompts, image=st.just(ImageRef(image_id="a", shape=SHAPE)), prompts=several(_PROMPTS)),
    st.builds(PutFeatures, entries=several(_ENTRIES)),
).map(lambda request: encode_request(request, "client", "request"))
_ODD_ANSWERS = st.one_of(
    st.builds(CellsFound, cells=several(st.builds(CellData, mask=_MASKS, score=_SHARES))),
    st.builds(Reply, result=st.builds(MasksFound, masks=several(_MASKS))),
    st.builds(
        Reply,
        result=st.builds(BoxesFound, boxes=array_data("float32", n_axes=2), scores=array_data("float32", n_axes=1)),
    ),
    st.builds(Reply, result=st.builds(FeaturesFound, weights_id=st.text(), entries=several(_ENTRIES))),
    st.builds(Failure, error=st.text(max_size=9) | st.sampled_from(["PromptError", "ValueError"]), message=st.text()),
).map(encode_frame)

# ---- good answers, spoiled

_MASK = MaskData(corner=(1, 2), crop=BitsData(shape=(3, 3), data=b"\xff\x80"), score=0.5)
_FRAMES = (
    Progress(stage="segmenting", done=1, total=2),
    CellsFound(cells=(CellData(mask=_MASK, score=0.9),)),
    Reply(result=MasksFound(masks=(_MASK,))),
    Failure(error="PromptError", message="no"),
)
_GOOD_ANSWER = b"".join(map(encode_frame, _FRAMES))


@st.composite
def spoiled_answers(draw) -> bytes:
    """Return a good answer with some bytes replaced, by more or fewer."""
    stream = bytearray(_GOOD_ANSWER)
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(stream)))
        stream[at : at + draw(st.integers(0, 3))] = draw(st.binary(max_size=6))
    return bytes(stream)


# ---- tests


def test_good_messages_are_taken():
    for body in good_bodies():
        read_request(body)
    read_answer(_GOOD_ANSWER)
    assert [type(frame) for frame in FrameReader(MIB).feed(_GOOD_ANSWER)] == [type(frame) for frame in _FRAMES]


@pytest.mark.parametrize(
    ("title", "read", "messages"),
    [
        pytest.param("spoiled requests", read_request, bodies, id="spoiled requests"),
        pytest.param("odd requests", read_request, _ODD_REQUESTS, id="odd requests"),
        pytest.param("spoiled answers", read_answer, spoiled_answers() | st.binary(max_size=200), id="spoiled answers"),
        pytest.param("odd answers", read_answer, _ODD_ANSWERS, id="odd answers"),
    ],
)
def test_fuzzed_messages_are_whole_or_refused_and_memory_stays_flat(title, read, messages):
    outcomes = run(title, read, messages)
    assert outcomes["taken"] > 0 and outcomes["MessageError"] > 0


@given(st.integers(0, len(good_requests()) - 1), st.data())
def test_a_request_cut_anywhere_is_refused(index, data):
    body = good_bodies()[index]
    cut = body[: data.draw(st.integers(0, len(body) - 1))]
    with pytest.raises(CellsamError):
        read_request(cut)
