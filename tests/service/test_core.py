"""The service itself: each request is answered once, checked before it costs anything, and told of the end."""

from __future__ import annotations

import threading

import msgspec
import numpy as np
import pytest

from napari_cellsam.errors import LimitExceededError, MessageError, ServiceBusyError, ServiceUnavailableError
from napari_cellsam.service import convert
from napari_cellsam.service.codec import decode_envelope, encode_request
from napari_cellsam.service.core import Service
from napari_cellsam.service.limits import Limits
from napari_cellsam.service.messages import (
    BoxesFound,
    Cancel,
    Cancelled,
    CellsFound,
    DetectBoxes,
    Envelope,
    Failure,
    FeatureEntry,
    FeaturesFound,
    FeaturesKept,
    FetchFeatures,
    GetInfo,
    ImageKept,
    ImageRef,
    MasksFound,
    Prefetch,
    Prefetched,
    Progress,
    PutFeatures,
    Reply,
    Segmented,
    SegmentImage,
    SegmentPrompts,
    ServiceInfo,
    Waiting,
)
from napari_cellsam.service.model_pool import ModelPool
from napari_cellsam.types import Image, Prompt, SegmentOptions

HANG_S = 60


class Answer:
    """The frames of an answer, as they come."""

    def __init__(self):
        self.frames, self._changed = [], threading.Condition()

    def __call__(self, frame):
        with self._changed:
            self.frames.append(frame)
            self._changed.notify_all()

    def wait_for(self, kind):
        """Wait for a frame of a kind, and return it."""

        def find():
            return next((frame for frame in self.frames if isinstance(frame, kind)), None)

        with self._changed:
            assert self._changed.wait_for(find, HANG_S)
            return find()

    @property
    def last(self):
        """Wait for the last frame."""
        return self.wait_for(Reply | Failure)

    @property
    def result(self):
        last = self.last
        assert isinstance(last, Reply), last
        return last.result

    @property
    def error(self):
        last = self.last
        assert isinstance(last, Failure), last
        return last.error


class Told:
    """An observer that takes note."""

    def __init__(self):
        self.done, self.cached, self.stages = [], [], []

    def request_done(self, kind, outcome, seconds):
        assert seconds >= 0
        self.done.append((kind, outcome))

    def stage_done(self, stage, seconds):
        self.stages.append(stage)

    def queue_length(self, n):
        pass

    def cache(self, kind, hit):
        self.cached.append((kind, hit))


@pytest.fixture
def queue():
    """Note all that the service tells, instead of the queue's length alone."""
    return Told()


@pytest.fixture
def service(make_service, backend):
    yield make_service(backend)
    backend.let_all()


@pytest.fixture
def ask(service):
    """Return a function that asks and returns the answer to come."""
    numbers = iter(range(1000))

    def ask(request, *, client="anna", name=None, slot=None, of=service):
        answer = Answer()
        name = name or f"request {next(numbers)}"
        answer.submission = of.ask(request, answer, client_id=client, request_id=name, slot=slot)
        return answer

    return ask


class Unpacking:
    """Unpacks images when it is let."""

    def __init__(self):
        self.gate, self.n_begun = threading.Event(), 0
        self._unpack, self._begun = convert.image_of, threading.Event()

    def __call__(self, *arguments):
        self.n_begun += 1
        self._begun.set()
        assert self.gate.wait(HANG_S)
        return self._unpack(*arguments)

    def wait_until_held(self):
        assert self._begun.wait(HANG_S)


@pytest.fixture
def unpacking(monkeypatch):
    """Hold up the service where it unpacks an image."""
    held = Unpacking()
    monkeypatch.setattr(convert, "image_of", held)
    yield held
    held.gate.set()


@pytest.fixture
def picture():
    pixels = np.zeros((80, 80), np.uint8)
    for y, x in ((20, 20), (20, 60), (60, 40)):
        pixels[y - 6 : y + 7, x - 6 : x + 7] = 200
    return Image.from_array(pixels)


@pytest.fixture
def large():
    return Image.from_array(np.kron(np.indices((9, 9)).sum(0) % 2, np.full((20, 20), 200)).astype(np.uint8))


@pytest.fixture
def ref(ask, picture):
    """Return the name of the picture, which the service has."""
    assert ask(convert.image_data(picture)).result == ImageKept(image_id=picture.image_id)
    return convert.ref_of(picture)


@pytest.fixture
def large_ref(ask, large):
    assert ask(convert.image_data(large)).result
    return convert.ref_of(large)


def click(ref, *points, **options):
    prompts = tuple(convert.prompt_data(Prompt(inside=[point])) for point in points)
    return SegmentPrompts(image=ref, prompts=prompts, **options)


class TestAnswers:
    """Each request has its result."""

    def test_prompts_are_answered_with_masks(self, ask, ref):
        masks = ask(click(ref, (20, 20), (60, 40), (1, 1))).result
        assert isinstance(masks, MasksFound)
        assert [mask.corner for mask in masks.masks[:2]] == [(14, 14), (54, 34)]
        assert masks.masks[2].crop.shape == (0, 0)

    def test_a_run_sends_progress_and_each_cell_once(self, ask, ref):
        answer = ask(SegmentImage(image=ref))
        assert isinstance(answer.result, Segmented) and answer.result.n_cells == 3
        cells = [cell for frame in answer.frames if isinstance(frame, CellsFound) for cell in frame.cells]
        assert sorted(cell.mask.corner for cell in cells) == [(14, 14), (14, 54), (54, 34)]
        assert any(isinstance(frame, Progress) for frame in answer.frames)

    def test_boxes_are_found(self, ask, ref):
        assert isinstance(ask(DetectBoxes(image=ref)).result, BoxesFound)

    def test_prefetching_says_what_it_did(self, ask, ref, queue):
        first, second = ask(Prefetch(image=ref)).result, ask(Prefetch(image=ref, around=(3.0, 3.0))).result
        assert isinstance(first, Prefetched) and first.seconds >= 0 and first.weights_id == "squares"
        assert [(one.n_encoded, one.n_cached) for one in (first, second)] == [(1, 0), (0, 1)]
        assert [hit for kind, hit in queue.cached if kind == "features"] == [False, True]

    def test_it_says_what_it_is(self, ask, service):
        info = ask(GetInfo()).result
        assert isinstance(info, ServiceInfo) and info.limits.max_prompts == 100
        assert [model.name for model in info.models] == ["squares", "clicks only"]
        assert info.memory_bytes > info.memory_used_bytes > 0 and info.device
        assert msgspec.structs.replace(service.info(), memory_used_bytes=info.memory_used_bytes) == info

    def test_a_model_is_known_better_once_it_is_loaded(self, ask, ref):
        before = ask(GetInfo()).result.models[0]
        assert ask(DetectBoxes(image=ref)).result
        after = ask(GetInfo()).result.models[0]
        assert (before.loaded, before.weights_id, before.can_detect) == (False, "", None)
        assert (after.loaded, after.weights_id, after.can_detect) == (True, "squares", True)

    def test_a_request_comes_in_an_envelope(self, service, ref):
        answer = Answer()
        body = encode_request(click(ref, (20, 20)), "anna", "1", "hover")
        service.submit(decode_envelope(body), answer)
        assert isinstance(answer.result, MasksFound)

    @pytest.mark.parametrize("private", [True], indirect=True)
    def test_features_go_from_one_service_to_another(self, ask, ref, make_service, backend):
        found = ask(FetchFeatures(image=ref, prompts=click(ref, (20, 20)).prompts)).result
        assert isinstance(found, FeaturesFound) and found.weights_id == "squares" and found.entries
        other = make_service(type(backend)())
        assert ask(click(ref, (20, 20)), of=other).error == "ImageNotCachedError"
        assert ask(PutFeatures(entries=found.entries), of=other).result == FeaturesKept(n_entries=len(found.entries))
        assert ask(click(ref, (20, 20)), of=other).result.masks[0].corner == (14, 14)

    def test_no_more_features_are_fetched_than_a_message_holds(self, ask, ref):
        prompts = click(ref, *[(20, 20)] * 33).prompts
        with pytest.raises(LimitExceededError, match="takes 32"):
            ask(FetchFeatures(image=ref, prompts=prompts))


class TestErrors:
    """What is wrong is said, as early as it can be seen."""

    def test_a_model_that_is_not_offered(self, ask, ref):
        assert ask(click(ref, (1, 1), model="/etc/passwd")).error == "ModelNotFoundError"

    @pytest.mark.parametrize("kind", [SegmentImage, DetectBoxes, Prefetch])
    def test_an_image_that_is_not_there(self, ask, kind):
        answer = ask(kind(image=ImageRef(image_id="unknown", shape=(5, 5))))
        assert answer.error == "ImageNotCachedError" and "send it" in answer.last.message

    def test_a_prompt_on_an_image_that_is_not_there(self, ask):
        assert ask(click(ImageRef(image_id="unknown", shape=(5, 5)), (1, 1))).error == "ImageNotCachedError"

    @pytest.mark.parametrize("shape", [(0, 5), (-4, -4), (81, 80)])
    def test_a_shape_that_is_not_the_images(self, ask, ref, shape):
        with pytest.raises(MessageError):
            ask(click(ImageRef(image_id=ref.image_id, shape=shape), (1, 1)))

    def test_an_image_of_which_only_the_name_is_large(self, ask):
        with pytest.raises(LimitExceededError):
            ask(click(ImageRef(image_id="unknown", shape=(10**9, 10**9)), (1, 1)))

    @pytest.mark.parametrize("point", [(1e9, 1), (1, -1e9), (np.float32(3e38), 1)])
    def test_a_prompt_far_from_the_image(self, ask, ref, point):
        assert ask(click(ref, point)).error == "PromptError"

    @pytest.mark.parametrize("around", [(1e9, 1.0), (float("nan"), 1.0), (1.0, float("inf"))])
    def test_a_place_that_is_nowhere(self, ask, ref, around):
        assert ask(Prefetch(image=ref, around=around)).error == "PromptError"

    def test_a_box_score_out_of_range(self, ask, ref):
        assert ask(DetectBoxes(image=ref, box_score=2.0)).error == "OptionError"

    def test_more_points_in_a_prompt_than_are_looked_at_together(self, ask, ref):
        prompt = convert.prompt_data(Prompt(inside=[(5, 5)] * 300))
        with pytest.raises(LimitExceededError, match="300 points"):
            ask(SegmentPrompts(image=ref, prompts=(prompt,)))

    def test_more_prompts_than_allowed(self, ask, ref):
        with pytest.raises(LimitExceededError, match="101 prompts"):
            ask(click(ref, *[(1, 1)] * 101))

    @pytest.mark.parametrize("limits", [Limits(max_prompts=20_000)], indirect=True)
    def test_more_prompts_with_logits_than_fit_into_an_answer(self, ask, ref, backend):
        backend.grid_side = 256
        answer = ask(click(ref, *[(1, 1)] * 4100, logits=True))
        assert answer.error == "LimitExceededError"
        assert "got 4100 prompts" in answer.last.message and " 4032 " in answer.last.message
        assert backend.n_encoded == 0 and not backend.prompts

    @pytest.mark.parametrize("limits", [Limits(max_prompts=20_000)], indirect=True)
    def test_only_what_answers_may_take_is_refused(self, ask, ref, backend):
        backend.grid_side = 10_000  # 2 answers of 400 MB
        for points, options in (([(1, 1)] * 3, {}), ([(20, 20)] * 2, {"logits": True})):
            assert len(ask(click(ref, *points, **options)).result.masks) == len(points)

    def test_bytes_that_are_no_request(self, service):
        envelope = Envelope(protocol=1, client_id="anna", request_id="1", request=msgspec.Raw(b"\xc1"))
        answer = Answer()
        with pytest.raises(MessageError):
            service.submit(envelope, answer)
        assert answer.frames == []

    def test_options_out_of_range_in_an_envelope(self, service, ref):
        body = encode_request(SegmentImage(image=ref), "anna", "1")
        request = msgspec.msgpack.decode(decode_envelope(body).request)
        request["options"] = {"diameter": -5.0}
        envelope = Envelope(
            protocol=1, client_id="anna", request_id="1", request=msgspec.Raw(msgspec.msgpack.encode(request))
        )
        answer = Answer()
        service.submit(envelope, answer)
        assert answer.error == "OptionError"

    def test_features_for_a_shared_service(self, ask):
        assert ask(PutFeatures(entries=())).error == "UnsupportedTaskError"

    @pytest.mark.parametrize("private", [True], indirect=True)
    @pytest.mark.parametrize(
        ("key", "names"),
        [
            ("", ["a"]),
            ("k" * 1000, ["a"]),
            ("k", ["__metadata__"]),
            ("k", ["../a"]),
            ("k", [f"a{i}" for i in range(99)]),
        ],
    )
    def test_features_that_no_service_made(self, ask, key, names):
        from napari_cellsam.service.arrays import pack

        entry = FeatureEntry(key=key, arrays={name: pack(np.zeros(2, np.float32)) for name in names})
        assert ask(PutFeatures(entries=(entry,))).error == "MessageError"

    @pytest.mark.parametrize("limits", [Limits(max_pixels=10), Limits(image_bytes=10)], indirect=True)
    def test_an_image_larger_than_allowed(self, ask, picture):
        assert ask(convert.image_data(picture, compress=True)).error == "LimitExceededError"

    def test_a_model_that_cannot_be_loaded_is_tried_again(self, ask, picture):
        def load(name, *_, **__):
            raise loads.pop()

        loads = [OSError("disk"), MemoryError("full")]
        with Service(ModelPool(["broken"], loader=load)) as service:
            assert ask(convert.image_data(picture), of=service).result
            for kind in ("MemoryError", "OSError"):
                assert kind in ask(DetectBoxes(image=convert.ref_of(picture)), of=service).last.message

    def test_a_bug_in_the_checks_is_told_and_logged(self, ask, service, ref, monkeypatch, caplog):
        monkeypatch.setattr(service._jobs, "make", lambda *_: 1 / 0)
        assert ask(click(ref, (1, 1))).error == "ServiceInternalError"
        assert "ZeroDivisionError" in caplog.text


class TestCancelling:
    """What nobody wants is not done."""

    def test_a_client_cancels_its_request_by_its_name(self, ask, backend, ref):
        backend.hold()
        running = ask(SegmentImage(image=ref), name="run")
        backend.wait_until_held()
        assert ask(Cancel(request_id="run")).result == Cancelled(found=True)
        assert running.error == "RequestCancelledError"
        assert ask(Cancel(request_id="run")).result == Cancelled(found=False)

    def test_another_client_cannot(self, ask, backend, ref):
        backend.hold()
        running = ask(SegmentImage(image=ref), name="run")
        backend.wait_until_held()
        assert ask(Cancel(request_id="run"), client="ben").result == Cancelled(found=False)
        backend.let_all()
        assert isinstance(running.result, Segmented)

    def test_the_work_ends_within_a_tile(self, ask, backend, large_ref):
        backend.hold()
        running = ask(SegmentImage(image=large_ref))
        backend.wait_until_held()
        running.submission.cancel()
        assert running.error == "RequestCancelledError" and running.submission.is_over
        backend.let_all()
        assert ask(DetectBoxes(image=large_ref)).result
        assert backend.n_encoded <= 2

    def test_an_upload_that_is_cancelled_is_not_kept(self, ask, unpacking, picture, large):
        other = ask(convert.image_data(large))
        unpacking.wait_until_held()
        upload = ask(convert.image_data(picture))
        upload.submission.cancel()
        assert upload.error == "RequestCancelledError"
        unpacking.gate.set()
        assert other.result
        assert ask(SegmentImage(image=convert.ref_of(picture))).error == "ImageNotCachedError"


def test_images_are_unpacked_one_at_a_time_and_nothing_else_waits_for_that(ask, unpacking, picture, large):
    uploads = [ask(convert.image_data(image, compress=True)) for image in (picture, large)]
    unpacking.wait_until_held()
    assert ask(GetInfo()).result
    assert unpacking.n_begun == 1
    unpacking.gate.set()
    assert all(upload.result for upload in uploads)


class TestTogether:
    """Prompts that wait for one picture are decoded at once."""

    def test_prompts_that_wait_are_decoded_in_one_batch(self, ask, backend, ref, large_ref, monkeypatch):
        batches = []
        decode = backend.decode
        monkeypatch.setattr(backend, "decode", lambda f, p, **o: batches.append(len(p)) or decode(f, p, **o))
        assert ask(click(ref, (20, 20))).result
        backend.hold()
        running = ask(SegmentImage(image=large_ref))
        backend.wait_until_held()
        answers = [ask(click(ref, point), client=str(point)) for point in ((20, 20), (20, 60), (60, 40))]
        batches.clear()
        backend.let_all()
        assert [answer.result.masks[0].corner for answer in answers] == [(14, 14), (14, 54), (54, 34)]
        assert batches[0] == 3
        assert isinstance(running.result, Segmented)

    def test_a_wrong_threshold_of_one_is_not_anothers(self, ask, backend, ref, large_ref):
        assert ask(click(ref, (20, 20))).result
        backend.hold()
        ask(SegmentImage(image=large_ref))
        backend.wait_until_held()
        options = SegmentOptions(mask_threshold=0.9999)
        answers = [ask(click(ref, (20, 20))), ask(click(ref, (20, 20), options=options), client="ben")]
        backend.let_all()
        assert [answer.result.masks[0].crop.shape for answer in answers] == [(13, 13), (0, 0)]


class TestWaiting:
    """Silence means trouble, so there is none."""

    def test_who_waits_hears_how_many_go_before(self, make_service, backend, ref, large_ref, ask, service):
        quick = Service(service._models, pulse_s=0.02)
        try:
            for one in (ref, large_ref):
                quick._images.put(service._images.get(one.image_id))
            backend.hold()
            running = ask(SegmentImage(image=large_ref), of=quick)
            backend.wait_until_held()
            waiting = ask(SegmentImage(image=ref), of=quick)
            assert waiting.wait_for(Waiting).n_ahead == 1
            assert running.wait_for(Waiting).n_ahead == 0
            backend.let_all()
            assert isinstance(running.result, Segmented) and isinstance(waiting.result, Segmented)
        finally:
            backend.let_all()
            quick.close()

    def test_a_reader_that_pauses_holds_up_only_itself(self, ask, backend, ref, large_ref):
        backend.hold()
        running = ask(SegmentImage(image=large_ref))
        backend.wait_until_held()
        running.submission.pause()
        backend.let_all()
        assert isinstance(ask(SegmentImage(image=ref), client="ben").result, Segmented)
        assert not running.submission.is_over
        running.submission.resume()
        assert isinstance(running.result, Segmented)


class TestClosing:
    """In the end everybody is told."""

    def test_what_waits_is_refused_and_what_runs_may_end(self, ask, service, backend, ref, large_ref):
        backend.hold()
        running = ask(SegmentImage(image=large_ref))
        backend.wait_until_held()
        waiting = ask(SegmentImage(image=ref))
        closing = threading.Thread(target=service.close, args=(HANG_S,))
        closing.start()
        assert waiting.error == "ServiceUnavailableError"
        with pytest.raises(ServiceUnavailableError):
            ask(GetInfo())
        backend.let_all()
        closing.join(HANG_S)
        assert isinstance(running.result, Segmented)

    def test_what_takes_longer_than_the_grace_is_ended(self, ask, service, backend, large_ref):
        backend.hold()
        running = ask(SegmentImage(image=large_ref))
        backend.wait_until_held()
        closing = threading.Thread(target=service.close, args=(0.0,))
        closing.start()
        assert running.error == "ServiceUnavailableError"
        backend.let_all()
        closing.join(HANG_S)
        assert not closing.is_alive() and backend.n_encoded <= 2

    def test_a_closed_service_takes_nothing_and_can_be_closed_again(self, ask, service, ref):
        service.close()
        service.close()
        for request in (GetInfo(), SegmentImage(image=ref), Cancel(request_id="1")):
            with pytest.raises(ServiceUnavailableError):
                ask(request)

    def test_its_threads_end(self, make_service, backend):
        before = set(threading.enumerate())
        with make_service(backend):
            assert set(threading.enumerate()) - before
        assert {thread.name for thread in set(threading.enumerate()) - before} == set()


class TestBreaking:
    """If the worst comes to the worst, nobody waits for ever."""

    def test_when_the_thread_of_the_device_fails_all_are_told(self, ask, service, backend, ref, caplog, monkeypatch):
        backend.hold()
        running = ask(SegmentImage(image=ref))
        backend.wait_until_held()
        waiting = ask(SegmentImage(image=ref))
        monkeypatch.setattr(service._scheduler._turns, "choose", lambda _: 1 / 0)
        backend.let_all()
        assert (running.error, waiting.error) == ("ServiceInternalError", "ServiceInternalError")
        assert "the device or its thread failed" in caplog.text
        with pytest.raises(ServiceUnavailableError):
            ask(GetInfo())

    def test_when_the_device_is_lost_all_are_told_and_no_more_is_taken_on(self, ask, service, backend, ref):
        backend.bug = RuntimeError("CUDA error: unknown error")
        backend.hold()
        answers = [ask(click(ref, (20, 20))), ask(SegmentImage(image=ref))]
        backend.let_all()
        assert [answer.error for answer in answers] == ["ServiceUnavailableError"] * 2
        assert "CUDA error: unknown error" in answers[0].last.message
        assert service.broken.wait(HANG_S)
        with pytest.raises(ServiceUnavailableError):
            ask(GetInfo())

    def test_a_lost_device_is_noticed_by_who_asks_what_it_is(self, ask, service, monkeypatch):
        def report(device):
            raise RuntimeError("CUDA error: unknown error")

        monkeypatch.setattr("napari_cellsam.service.device_report._report_on_processor", report)
        monkeypatch.setattr("napari_cellsam.service.device_report._report_on_gpu", report)
        assert ask(GetInfo()).error == "ServiceUnavailableError"
        assert service.broken.wait(HANG_S)

    def test_an_observer_that_fails_harms_nobody(self, ask, queue, ref, caplog):
        for name in ("request_done", "stage_done", "queue_length", "cache"):
            setattr(queue, name, lambda *_: 1 / 0)
        assert isinstance(ask(SegmentImage(image=ref)).result, Segmented)
        assert "the observer of the service failed" in caplog.text


class TestObserving:
    """What happens is told to an observer."""

    def test_each_request_is_told_once_with_its_end(self, ask, queue, backend, ref):
        assert ask(click(ref, (20, 20))).result
        assert ask(click(ref, (20, 20), model="none")).error
        with pytest.raises(LimitExceededError):
            ask(click(ref, *[(1, 1)] * 101))
        backend.bug = ZeroDivisionError("bug")
        assert ask(click(ref, (20, 20))).error
        backend.bug = None
        backend.hold()
        running = ask(SegmentImage(image=ref, options=SegmentOptions(diameter=8.0)))
        backend.wait_until_held()
        running.submission.cancel()
        assert queue.done == [
            ("put_image", "answered"),
            ("segment_prompts", "answered"),
            ("segment_prompts", "refused"),
            ("segment_prompts", "refused"),
            ("segment_prompts", "failed"),
            ("segment_image", "cancelled"),
        ]

    def test_caches_are_told(self, ask, queue, ref):
        assert ask(click(ref, (20, 20))).result
        assert ask(click(ref, (20, 20))).result
        assert [hit for kind, hit in queue.cached if kind == "model"] == [False, True]
        assert [hit for kind, hit in queue.cached if kind == "image"] == [True, True]


@pytest.mark.parametrize("limits", [Limits(max_waiting=2, max_waiting_per_client=1)], indirect=True)
def test_a_full_service_refuses_and_answers_the_others(ask, backend, ref, large_ref):
    backend.hold()
    running = ask(SegmentImage(image=large_ref))
    backend.wait_until_held()
    waiting = ask(SegmentImage(image=ref))
    with pytest.raises(ServiceBusyError, match="this client's"):
        ask(SegmentImage(image=ref))
    other = ask(SegmentImage(image=ref), client="ben")
    with pytest.raises(ServiceBusyError, match="the service's"):
        ask(SegmentImage(image=ref), client="cleo")
    backend.let_all()
    assert all(isinstance(answer.result, Segmented) for answer in (running, waiting, other))
