"""The client, over each way to a service: the same answers as the model itself, and clear errors.

The model is the engine on a back end that sees bright squares, so that answers are visible and work can be held up.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from napari_cellsam.errors import (
    ImageNotCachedError,
    LimitExceededError,
    MessageError,
    ModelNotFoundError,
    RequestCancelledError,
    RequestReplacedError,
    ServiceInternalError,
    ServiceUnavailableError,
    UnsupportedTaskError,
)
from napari_cellsam.service import convert
from napari_cellsam.service.client import Client
from napari_cellsam.service.http_transport import HttpTransport
from napari_cellsam.service.limits import Limits
from napari_cellsam.service.messages import (
    PROTOCOL_VERSION,
    CellsFound,
    FeaturesKept,
    ImageKept,
    MasksFound,
    PutImage,
    Reply,
    Segmented,
    SegmentPrompts,
)
from napari_cellsam.service.transport import Call, ImageNotSentError
from napari_cellsam.types import Cell, Image, Mask, Prompt, SegmentOptions

HANG_S = 60
CENTRES = [(20, 20), (20, 60), (60, 40)]
SEVERAL = [(12 + 24 * i, 12 + 24 * j) for i in range(8) for j in range(8)]  # more than one tile


def squares(shape, centres, half=6, dtype=np.uint8):
    picture = np.zeros(shape, dtype)
    for number, (y, x) in enumerate(centres):
        picture[y - half : y + half + 1, x - half : x + half + 1] = 200 - number % 50
    return picture


@pytest.fixture
def picture():
    return Image.from_array(squares((80, 80), CENTRES))


@pytest.fixture
def large():
    return Image.from_array(squares((200, 200), SEVERAL))


def click(y, x):
    return Prompt(inside=[(y, x)])


def assert_same_masks(masks, expected):
    assert len(masks) == len(expected)
    for mask, other in zip(masks, expected, strict=True):
        assert (mask.corner, mask.score) == (other.corner, pytest.approx(other.score))
        np.testing.assert_array_equal(mask.crop, other.crop)
        assert (mask.low_res is None) == (other.low_res is None)
        if mask.low_res is not None:
            np.testing.assert_array_equal(mask.low_res.values, other.low_res.values)
            assert mask.low_res.window == pytest.approx(other.low_res.window)


def assert_same_segmentation(result, expected):
    np.testing.assert_array_equal(result.labels, expected.labels)
    np.testing.assert_array_equal(result.boxes, expected.boxes)
    np.testing.assert_array_equal(result.scores, expected.scores)
    np.testing.assert_array_equal(result.predicted_iou, expected.predicted_iou)
    assert (result.labels.dtype, result.boxes.dtype) == (expected.labels.dtype, expected.boxes.dtype)
    assert (result.diameter, result.notes) == (expected.diameter, expected.notes)


class TestAnswers:
    """What the client returns is what the model returns."""

    def test_every_cell_is_outlined(self, client, model, large):
        result = client.segment(large)
        assert result.n_cells == len(SEVERAL)
        assert_same_segmentation(result, model.segment(large))

    def test_a_picture_without_cells_has_none(self, client, model):
        image = Image.from_array(np.zeros((50, 70), np.uint8))
        assert_same_segmentation(client.segment(image), model.segment(image))

    @pytest.mark.parametrize(
        "options",
        [
            SegmentOptions(min_area=1000),
            SegmentOptions(box_score=0.8),
            SegmentOptions(diameter=26.0),
            SegmentOptions(diameter="auto"),
            SegmentOptions(scaling="squash"),
            SegmentOptions(mask_threshold=0.9, min_predicted_iou=0.95, overlap=0.5),
            SegmentOptions(clahe=True, score_rule="adaptive"),
        ],
    )
    def test_options_reach_the_model(self, client, model, large, options):
        assert_same_segmentation(client.segment(large, options), model.segment(large, options))

    def test_boxes_are_found(self, client, model, picture):
        found, expected = client.detect(picture), model.detect(picture)
        assert len(found) == 3
        np.testing.assert_array_equal(found.boxes, expected.boxes)
        np.testing.assert_array_equal(found.scores, expected.scores)

    @pytest.mark.parametrize("box_score", [0.0, 0.85, 1.0])
    def test_a_cut_of_the_boxes_reaches_the_model(self, client, model, picture, box_score):
        assert len(client.detect(picture, box_score)) == len(model.detect(picture, box_score))

    def test_each_prompt_has_its_mask_in_order(self, client, model, picture):
        prompts = [click(60, 40), Prompt(box=(12, 12, 28, 28)), click(75, 75), Prompt([(20, 60)], outside=[(60, 40)])]
        masks = client.segment_prompts(picture, prompts)
        assert [mask.area for mask in masks] == [169, 169, 0, 169]
        assert_same_masks(masks, model.segment_prompts(picture, prompts))

    def test_no_prompts_have_no_masks(self, client, picture):
        assert client.segment_prompts(picture, []) == []

    def test_logits_come_on_request_and_refine_a_mask(self, client, model, picture):
        first = client.segment_prompts(picture, [click(20, 20)], logits=True)
        assert_same_masks(first, model.segment_prompts(picture, [click(20, 20)], logits=True))
        assert first[0].logits is not None
        again = [Prompt([(20, 20)], mask_logits=first[0].low_res)]
        assert_same_masks(client.segment_prompts(picture, again), model.segment_prompts(picture, again))

    def test_logits_reach_the_model(self, client, backend, picture):
        first = client.segment_prompts(picture, [click(20, 20)], logits=True)[0]
        client.segment_prompts(picture, [Prompt([(20, 20)], mask_logits=first.low_res)])
        assert backend.prompts[-1].logits is not None
        np.testing.assert_array_equal(backend.prompts[-1].logits, first.logits)

    def test_prefetching_encodes_what_a_click_needs(self, client, backend, picture):
        first = client.prefetch(picture)
        assert (first.n_encoded, first.n_cached) == (1, 0)
        n_encoded = backend.n_encoded
        second = client.prefetch(picture, around=(20.0, 20.0))
        assert (second.n_encoded, second.n_cached) == (0, 1)
        client.segment_prompts(picture, [click(20, 20)])
        assert backend.n_encoded == n_encoded

    @pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
    def test_images_of_every_type_are_sent_whole(self, client, model, dtype):
        pixels = squares((60, 60), [(30, 30)], dtype=dtype)
        assert_same_segmentation(client.segment(pixels), model.segment(pixels))

    def test_channels_keep_their_roles(self, client, model):
        pixels = np.zeros((60, 60, 4), np.uint16)
        pixels[..., 2] = squares((60, 60), [(30, 30)])
        pixels[..., 0] = squares((60, 60), [(10, 10)])
        for roles in ({"cell": 2}, {"cell": 0}, {"nuclear": 0, "cell": 2}):
            image = Image.from_array(pixels, **roles)
            assert_same_segmentation(client.segment(image), model.segment(image))

    def test_a_colour_picture_stays_one(self, client, model):
        pixels = np.stack([squares((60, 60), [(30, 30)])] * 3, -1)
        assert_same_segmentation(client.segment(pixels), model.segment(pixels))

    def test_the_service_says_what_it_is(self, client):
        info = client.info()
        assert info.protocol == PROTOCOL_VERSION
        assert [model.name for model in info.models] == ["squares", "clicks only"]
        assert info.limits.max_prompts == 100
        assert info.device

    def test_a_model_is_chosen_by_name(self, open_client, picture):
        client = open_client(model="clicks only")
        assert client.segment_prompts(picture, [click(20, 20)])[0].area == 169
        with pytest.raises(UnsupportedTaskError, match="clicks only"):
            client.segment(picture)


class TestErrors:
    """What goes wrong in the service is raised here."""

    def test_a_model_that_is_not_offered_is_not_found(self, open_client, picture):
        with pytest.raises(ModelNotFoundError, match="no such model"):
            open_client(model="no such model").segment(picture)

    def test_a_model_without_a_detector_finds_no_cells(self, open_client, picture):
        with pytest.raises(UnsupportedTaskError):
            open_client(model="clicks only").detect(picture)

    @pytest.mark.parametrize("limits", [Limits(max_prompts=100)], indirect=True)
    def test_too_many_prompts_are_refused_with_the_limit(self, client, picture):
        with pytest.raises(LimitExceededError, match="100"):
            client.segment_prompts(picture, [click(20, 20)] * 101)

    @pytest.mark.parametrize("limits", [Limits(max_pixels=1000)], indirect=True)
    def test_too_many_pixels_are_refused_with_the_limit(self, client, picture):
        with pytest.raises(LimitExceededError, match=r"1,?000"):
            client.segment(picture)

    def test_a_bug_is_told_without_its_details_and_harms_no_other_request(self, client, backend, picture):
        backend.bug = ZeroDivisionError("/home/anna/secret")
        with pytest.raises(ServiceInternalError, match="ZeroDivisionError") as raised:
            client.segment(picture)
        assert "secret" not in str(raised.value)
        backend.bug = None
        assert client.segment(picture).n_cells == 3

    def test_an_error_of_ours_comes_through_with_its_message(self, client, backend, picture):
        backend.bug = UnsupportedTaskError("this model is for moons")
        with pytest.raises(UnsupportedTaskError, match="this model is for moons"):
            client.segment(picture)


class TestImages:
    """Images are sent when they are needed, and only then."""

    def test_an_image_is_sent_once(self, client, sent, picture):
        client.segment(picture)
        client.detect(picture)
        client.segment_prompts(picture, [click(20, 20)])
        assert sent().count(PutImage) == 1

    def test_the_same_pixels_are_the_same_image(self, client, sent, picture):
        client.segment(picture)
        client.segment(Image.from_array(picture.pixels))
        assert sent().count(PutImage) == 1

    def test_an_image_that_another_client_sent_is_not_sent_again(self, open_client, sent, picture):
        open_client().detect(picture)
        open_client().detect(picture)
        assert sent().count(PutImage) == 1

    @pytest.mark.parametrize("limits", [Limits(image_bytes=150 * 150)], indirect=True)
    def test_an_image_that_was_forgotten_is_sent_again(self, client, sent):
        images = [Image.from_array(squares((120, 120), [(30 + 5 * i, 30)])) for i in range(2)]
        for _ in range(2):
            for image in images:
                assert client.segment(image, SegmentOptions(min_area=len(sent()))).n_cells == 1
        assert sent().count(PutImage) >= 3

    @pytest.mark.parametrize("limits", [Limits(image_bytes=100)], indirect=True)
    def test_an_image_that_is_never_kept_is_sent_once_and_then_an_error(self, client, sent, picture):
        with pytest.raises((ImageNotCachedError, LimitExceededError)):
            client.segment(picture)
        assert sent().count(PutImage) == 1

    def test_without_leave_no_image_is_sent(self, client, sent, picture):
        with pytest.raises(ImageNotCachedError):
            client.segment_prompts(picture, [click(20, 20)], send_image=False)
        assert sent().count(PutImage) == 0

    def test_threads_that_need_an_image_at_once_send_it_once(self, client, sent, picture):
        with ThreadPoolExecutor(4) as threads:
            list(threads.map(lambda _: client.detect(picture), range(4)))
        assert sent().count(PutImage) == 1


class TestStreaming:
    """Cells come before the end, each once."""

    def test_the_cells_handed_over_are_those_of_the_result(self, client, large):
        handed = []
        result = client.segment(large, on_cells=handed.extend)
        union = np.zeros(large.shape, int)
        for cell in handed:
            union += cell.mask.full(large.shape)
        assert union.max() == 1
        np.testing.assert_array_equal(union > 0, result.labels > 0)
        assert sorted(cell.score for cell in handed) == pytest.approx(sorted(result.scores.tolist()))

    def test_cells_come_while_the_work_goes_on(self, client, backend, large):
        came = threading.Event()
        backend.hold()
        with ThreadPoolExecutor(1) as threads:
            result = threads.submit(client.segment, large, on_cells=lambda cells: came.set())
            while not came.is_set():
                backend.let(1)
                backend.wait_until_held()
                came.wait(1)
            assert not result.done()
            backend.let_all()
            assert result.result(HANG_S).n_cells == len(SEVERAL)

    def test_progress_goes_up_to_the_end(self, client, large):
        seen = []
        client.segment(large, on_progress=lambda done, total: seen.append((done, total)))
        assert [done for done, _ in seen] == sorted(done for done, _ in seen)
        assert seen[-1][0] == seen[-1][1] >= 4

    def test_what_a_callback_raises_comes_through_and_ends_the_work(self, client, backend, large):
        def fail(cells):
            raise KeyError("a bug of the caller")

        with pytest.raises(KeyError, match="a bug of the caller"):
            client.segment(large, on_cells=fail)
        assert client.segment(large).n_cells == len(SEVERAL)


class TestCancelling:
    """Work ends soon after nobody wants it any more."""

    def test_work_that_runs_ends_before_its_end(self, client, backend, large):
        call = Call()
        backend.hold()
        with ThreadPoolExecutor(1) as threads:
            answer = threads.submit(client.segment, large, call=call)
            backend.wait_until_held()
            call.cancel()
            backend.let_all()
            assert isinstance(answer.exception(HANG_S), RequestCancelledError)
        assert client.segment(large).n_cells == len(SEVERAL)

    def test_a_request_that_waits_leaves_at_once(self, client, backend, picture, large):
        call = Call()
        client.prefetch(picture)
        backend.hold()
        with ThreadPoolExecutor(2) as threads:
            running = threads.submit(client.segment, large)
            backend.wait_until_held()
            waiting = threads.submit(client.detect, picture, call=call)
            call.cancel()
            assert isinstance(waiting.exception(HANG_S), RequestCancelledError)
            assert not running.done()
            backend.let_all()
            assert running.result(HANG_S).n_cells == len(SEVERAL)

    def test_a_call_that_was_cancelled_before_begins_nothing(self, client, backend, picture):
        call = Call()
        call.cancel()
        with pytest.raises(RequestCancelledError):
            client.segment(picture, call=call)
        assert backend.n_encoded == 0

    def test_cancelling_an_answered_call_does_nothing(self, client, picture):
        call = Call()
        client.detect(picture, call=call)
        call.cancel()
        assert len(client.detect(picture)) == 3

    def test_closing_ends_what_is_under_way(self, client, backend, large):
        backend.hold()
        with ThreadPoolExecutor(1) as threads:
            answer = threads.submit(client.segment, large)
            backend.wait_until_held()
            client.close()
            backend.let_all()
            assert isinstance(answer.exception(HANG_S), RequestCancelledError | ServiceUnavailableError)

    def test_a_closed_client_asks_nothing(self, client, picture):
        client.close()
        with pytest.raises(ServiceUnavailableError):
            client.info()

    def test_closing_one_client_leaves_the_others(self, open_client, picture):
        with open_client() as one:
            one.detect(picture)
        assert len(open_client().detect(picture)) == 3


class TestSlots:
    """A preview needs only the newest answer."""

    @pytest.fixture
    def busy(self, client, backend, picture, large):
        """Keep the service busy until ``backend.let_all``; it knows the picture already."""
        client.prefetch(picture)
        backend.hold()
        with ThreadPoolExecutor(3) as threads:
            running = threads.submit(client.segment, large)
            backend.wait_until_held()
            yield threads
            backend.let_all()
            assert running.result(HANG_S).n_cells == len(SEVERAL)

    def test_a_newer_request_replaces_the_waiting_one(self, client, backend, busy, queued, picture):
        older = busy.submit(client.segment_prompts, picture, [click(20, 20)], slot="preview")
        queued(1)
        newer = busy.submit(client.segment_prompts, picture, [click(60, 40)], slot="preview")
        assert isinstance(older.exception(HANG_S), RequestReplacedError)
        backend.let_all()
        assert newer.result(HANG_S)[0].corner == (54, 34)

    @pytest.mark.parametrize("slots", [("preview", "other"), ("preview", None), (None, None)])
    def test_requests_of_different_slots_are_all_answered(self, client, backend, busy, queued, picture, slots):
        answers = []
        for n_waiting, (slot, centre) in enumerate(zip(slots, CENTRES, strict=False), start=1):
            answers.append(busy.submit(client.segment_prompts, picture, [click(*centre)], slot=slot))
            queued(n_waiting)
        backend.let_all()
        assert [answer.result(HANG_S)[0].corner for answer in answers] == [(14, 14), (14, 54)]

    def test_clients_do_not_replace_each_other(self, client, open_client, backend, busy, queued, picture):
        answers = []
        for n_waiting, (asker, centre) in enumerate(zip((client, open_client()), CENTRES, strict=False), start=1):
            answers.append(busy.submit(asker.segment_prompts, picture, [click(*centre)], slot="preview"))
            queued(n_waiting)
        backend.let_all()
        assert [answer.result(HANG_S)[0].corner for answer in answers] == [(14, 14), (14, 54)]


class TestTogether:
    """Requests at the same time get their own answers."""

    def test_two_clients_get_their_own_cells(self, open_client, model):
        images = [Image.from_array(squares((90, 90), [(30, 30 + 20 * i), (70, 70)])) for i in range(2)]
        clients = [open_client(), open_client()]
        with ThreadPoolExecutor(4) as threads:
            jobs = [(client, image) for client in clients for image in images]
            results = list(threads.map(lambda job: job[0].segment(job[1]), jobs))
        for (_, image), result in zip(jobs, results, strict=True):
            assert_same_segmentation(result, model.segment(image))

    def test_threads_of_one_client_get_their_own_masks(self, client, model, picture):
        with ThreadPoolExecutor(6) as threads:
            answers = list(threads.map(lambda i: client.segment_prompts(picture, [click(*CENTRES[i % 3])]), range(12)))
        for i, masks in enumerate(answers):
            assert_same_masks(masks, model.segment_prompts(picture, [click(*CENTRES[i % 3])]))

    def test_clicks_are_answered_while_a_long_run_goes_on(self, client, backend, picture, large):
        client.prefetch(picture)
        backend.hold()
        with ThreadPoolExecutor(2) as threads:
            running = threads.submit(client.segment, large)
            backend.wait_until_held()
            clicked = threads.submit(client.segment_prompts, picture, [click(20, 20)])
            backend.let(1)  # one tile, after which the click comes first
            assert clicked.result(HANG_S)[0].area == 169
            assert not running.done()
            backend.let_all()
            assert running.result(HANG_S).n_cells == len(SEVERAL)


class TestFeatures:
    """Features go from one service to another with the same weights, which needs no pixels then."""

    @pytest.mark.parametrize("private", [True], indirect=True)
    def test_a_service_answers_clicks_from_features_alone(self, client, open_service, model, picture):
        prompts = [click(20, 20)]
        found = client.fetch_features(picture, prompts)
        assert found.entries
        with open_service() as other:
            assert other.put_features(found.entries) >= len(found.entries)
            masks = other.segment_prompts(picture, prompts, send_image=False)
        assert_same_masks(masks, model.segment_prompts(picture, prompts))

    def test_a_shared_service_takes_no_features(self, client, picture):
        found = client.fetch_features(picture, [click(20, 20)])
        with pytest.raises(UnsupportedTaskError, match="shared"):
            client.put_features(found.entries)


class Scripted:
    """A transport that answers as it is told."""

    def __init__(self, *answers):
        self.answers, self.requests, self.closed = list(answers), [], False

    def send(self, request, *, slot=None, call=None, on_frame=None):
        self.requests.append(type(request))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, tuple):
            *frames, answer = answer
            for frame in frames:
                on_frame(frame)
        return answer

    def close(self):
        self.closed = True


class TestOddServices:
    """The client believes nothing that does not fit."""

    def test_an_answer_to_another_question_is_an_error(self, picture):
        with pytest.raises(MessageError, match="FeaturesKept; expected MasksFound"):
            Client(Scripted(FeaturesKept(n_entries=1))).segment_prompts(picture, [click(1, 1)])

    def test_a_wrong_number_of_masks_is_an_error(self, picture):
        with pytest.raises(MessageError, match="1 prompts with 0 masks"):
            Client(Scripted(MasksFound(masks=()))).segment_prompts(picture, [click(1, 1)])

    def test_fewer_cells_than_announced_are_an_error(self, picture):
        answer = (CellsFound(cells=()), Segmented(n_cells=2, diameter=None))
        with pytest.raises(MessageError, match="2 cells, but it sent 0"):
            Client(Scripted(answer)).segment(picture)

    def test_an_image_kept_under_another_name_is_an_error(self, picture):
        transport = Scripted(ImageNotCachedError("which?"), ImageKept(image_id="another"))
        with pytest.raises(MessageError, match="has kept another"):
            Client(transport).detect(picture)

    def test_an_image_that_is_forgotten_as_soon_as_it_was_sent_is_sent_once_more(self, picture):
        forgotten, kept = ImageNotCachedError("which?"), ImageKept(image_id=picture.image_id)
        transport = Scripted(forgotten, kept, forgotten, kept, MasksFound(masks=()))
        assert Client(transport).segment_prompts(picture, []) == []

    def test_an_image_that_is_forgotten_each_time_is_an_error(self, picture):
        transport = Scripted(*[ImageNotCachedError("which?"), ImageKept(image_id=picture.image_id)] * 9)
        with pytest.raises(ImageNotCachedError):
            Client(transport).segment_prompts(picture, [click(1, 1)])
        assert transport.requests == [SegmentPrompts, PutImage, SegmentPrompts, PutImage, SegmentPrompts]

    def test_a_service_in_the_place_of_a_dead_one_is_sent_the_image_too(self, picture):
        kept = ImageKept(image_id=picture.image_id)
        anew = ImageNotSentError("which?")
        transport = Scripted(ImageNotCachedError("which?"), kept, anew, kept, MasksFound(masks=()))
        assert Client(transport).segment_prompts(picture, []) == []

    def test_a_service_that_dies_of_an_image_is_not_sent_it_for_ever(self, picture):
        answers = [ImageNotSentError("which?"), ImageKept(image_id=picture.image_id)] * 9
        transport = Scripted(*answers)
        with pytest.raises(ImageNotSentError):
            Client(transport).segment_prompts(picture, [])
        assert transport.requests.count(PutImage) == 3

    def test_cells_of_an_answer_that_broke_off_are_handed_over_once(self, scripted, picture):
        cells = [Cell(Mask(np.ones((3, 3), bool), (4 * i, 0), 0.5), 0.75) for i in range(3)]
        found = [CellsFound(cells=(convert.cell_data(cell),)) for cell in cells]

        def break_off(conversation):
            conversation.body()
            conversation.stream(*found[:2])

        end = Reply(result=Segmented(n_cells=3, diameter=None))
        server = scripted(break_off, lambda conversation: conversation.reply(*found, end))
        handed = []
        with Client(HttpTransport(server.url, "a-token")) as client:
            result = client.segment(picture, on_cells=handed.extend)
        assert [cell.mask.corner for cell in handed] == [(0, 0), (4, 0), (8, 0)]
        np.testing.assert_array_equal(result.labels[:12:4, 0], [1, 2, 3])
        assert len(server.heads) == 2

    def test_the_client_closes_its_transport(self):
        transport = Scripted()
        with Client(transport):
            assert not transport.closed
        assert transport.closed
