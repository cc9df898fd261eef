"""What the fuzzing tests share: how many cases, and messages to spoil.

``NAPARI_CELLSAM_FUZZ_CASES=10000 pytest -k fuzz`` runs as many cases for each test; a few hundred otherwise.
"""

from __future__ import annotations

import os
from functools import cache
from typing import Any

import msgspec
import numpy as np
import psutil
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from napari_cellsam.data.retraining.pictures import RetrainingPicture
from napari_cellsam.service import convert
from napari_cellsam.service.arrays import pack
from napari_cellsam.service.codec import encode_request
from napari_cellsam.service.convert_lessons import lesson_data
from napari_cellsam.service.messages import (
    Cancel,
    DetectBoxes,
    FeatureEntry,
    FetchFeatures,
    GetInfo,
    Prefetch,
    PutFeatures,
    Request,
    SegmentImage,
    SegmentPrompts,
    StopTraining,
    TrainModel,
)
from napari_cellsam.types import Image, LowResLogits, Prompt, SegmentOptions
from napari_cellsam.types.finetuning import FinetuneOptions

N_CASES = int(os.environ.get("NAPARI_CELLSAM_FUZZ_CASES", "300"))
fuzzed = settings(
    max_examples=N_CASES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)


def memory() -> int:
    """Return the memory of this process."""
    return psutil.Process().memory_info().rss


@cache
def good_requests() -> tuple[Request, ...]:
    """Return a good request of each kind."""
    image = Image.from_array(np.arange(900, dtype=np.uint8).reshape(30, 30))
    ref = convert.ref_of(image)
    logits = LowResLogits(np.zeros((8, 8), np.float32), (0.0, 0.0, 9.0, 9.0))
    prompts = tuple(
        convert.prompt_data(prompt)
        for prompt in (Prompt(inside=[(3, 4)], outside=[(9, 9)]), Prompt(box=(1, 2, 8, 9)), Prompt(mask_logits=logits))
    )
    options = SegmentOptions(diameter="auto", overlap=0.25, box_score=0.5)
    arrays = {"a": pack(np.zeros((2, 3), np.float16), compress=True)}
    picture = RetrainingPicture(image, np.ones((30, 30), np.uint32), np.ones((30, 30), bool), "p", "g")
    return (
        convert.image_data(image, compress=True),
        convert.image_data(image),
        Prefetch(image=ref, around=(3.0, 4.0)),
        DetectBoxes(image=ref, box_score=0.3),
        SegmentPrompts(image=ref, prompts=prompts, options=options, logits=True),
        SegmentImage(image=ref, options=options),
        FetchFeatures(image=ref, prompts=prompts),
        PutFeatures(entries=(FeatureEntry(key="k", arrays=arrays),)),
        TrainModel(name="n", train=(lesson_data(picture),), options=FinetuneOptions(steps=1)),
        StopTraining(name="n"),
        Cancel(request_id="r"),
        GetInfo(),
    )


@cache
def good_bodies() -> tuple[bytes, ...]:
    """Return their bodies."""
    return tuple(encode_request(request, "client", f"request-{i}") for i, request in enumerate(good_requests()))


@st.composite
def spoiled(draw: st.DrawFn) -> bytes:
    """Return a good body with some bytes changed, cut out, doubled or put in: often still MessagePack."""
    body = bytearray(draw(st.sampled_from(good_bodies())))
    for _ in range(draw(st.integers(1, 4))):
        if not body:
            break
        at = draw(st.integers(0, len(body) - 1))
        how = draw(st.sampled_from(["change", "type", "cut", "insert", "double"]))
        if how == "change":
            body[at] = draw(st.integers(0, 255))
        elif how == "type":  # what begins a number, text, array or map of another, often monstrous, length
            body[at : at + 1] = draw(
                st.sampled_from(
                    [
                        b"\xdd\xff\xff\xff\xff",
                        b"\xc6\xff\xff\xff\xff",
                        b"\xcf" + b"\xff" * 8,
                        b"\xcb\x7f\xf8" + b"\0" * 6,
                        b"\xdf\x7f\xff\xff\xff",
                        b"\xc0",
                        b"\x90",
                        b"\x80",
                        b"\xd3" + b"\x80" + b"\0" * 7,
                        b"\xdb\0\xff\xff\xff",
                    ]
                )
            )
        elif how == "cut":
            del body[at : at + draw(st.integers(1, 20))]
        elif how == "insert":
            body[at:at] = draw(st.binary(max_size=12))
        else:
            body[at:at] = body[at : at + draw(st.integers(1, 40))]
    return bytes(body)


_NUMBERS = st.floats() | st.floats(-50, 50) | st.integers(-9, 50) | st.sampled_from([2**31, 2**32, 2**63, -(2**63)])
_OTHERS: dict[type, st.SearchStrategy[Any]] = {
    int: st.integers(-3, 50) | st.integers(-(2**63), 2**64 - 1),
    float: _NUMBERS,
    bool: st.booleans(),
    str: st.text(max_size=8)
    | st.sampled_from(["auto", "native", "tiles", "squash", "nuclear", "rgb", "uint8", "uint16", "float32", "float16"]),
    bytes: st.binary(max_size=40) | st.lists(_NUMBERS.map(np.float32), max_size=8).map(lambda x: np.array(x).tobytes()),
    list: st.lists(_NUMBERS, max_size=5),
    type(None): _NUMBERS | st.lists(_NUMBERS, max_size=4),
}


@st.composite
def misvalued(draw: st.DrawFn) -> bytes:
    """Return a good body in which some values are others, mostly of the same type: often a message."""
    document = msgspec.msgpack.decode(draw(st.sampled_from(good_bodies())))
    for _ in range(draw(st.integers(1, 3))):
        holder: Any = document["request"] if isinstance(document["request"], dict) else document
        while True:
            key = draw(st.sampled_from(list(holder if isinstance(holder, dict) else range(len(holder)))))
            if not isinstance(holder[key], dict | list) or not holder[key]:
                break
            holder = holder[key]
        kind = type(holder[key])
        with np.errstate(over="ignore"):
            holder[key] = draw(_OTHERS.get(kind, _NUMBERS) if draw(st.integers(0, 5)) else st.one_of(*_OTHERS.values()))
    return msgspec.msgpack.encode(document)


_LONG = {b"<nested arrays>": b"\x91" * 100_000, b"<nested maps>": b"\x81\xa1a" * 50_000, b"<long line>": b"y" * 70_000}

bodies = st.one_of(
    spoiled(), misvalued(), st.binary(max_size=200), st.sampled_from([b"<nested arrays>", b"<nested maps>", b""])
)
"""Bodies of requests that nobody should send, to be expanded."""


def expanded(said: bytes) -> bytes:
    """Return bytes with the names of long parts replaced by these; hypothesis prints the names."""
    for name, part in _LONG.items():
        said = said.replace(name, part)
    return said
