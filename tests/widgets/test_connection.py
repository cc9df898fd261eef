"""The connection: how it starts, follows the preferences, fails and comes back."""

from __future__ import annotations

import threading

import pytest

from napari_cellsam.errors import (
    AuthenticationError,
    CheckpointError,
    ImageNotCachedError,
    OptionError,
    RequestCancelledError,
    ServiceBusyError,
    ServiceTimeoutError,
    ServiceUnavailableError,
    UnsupportedTaskError,
)
from napari_cellsam.service.client import Client
from napari_cellsam.service.home import HomeDecoding
from napari_cellsam.service.messages import LimitsInfo, ModelInfo, ServiceInfo
from napari_cellsam.widgets import _connecting, _connection, _jobs, _secrets
from napari_cellsam.widgets._connecting import connect_as, told
from napari_cellsam.widgets._connection import Connection
from napari_cellsam.widgets._jobs import Jobs
from napari_cellsam.widgets._preferences import Preferences, PreferenceStore
from napari_cellsam.widgets._settings_places import JsonFile

HANG_MS = 10_000
HANG_S = HANG_MS / 1000
GONE = ServiceUnavailableError("the service has died")


class FakeService:
    """What clients speak to; its attributes say how it answers."""

    def __init__(self):
        self.models = {"compact": False, "big": True}
        self.weights = ""
        self.error = None
        self.made, self.closed, self.asked = [], [], []
        self.answering = threading.Event()
        self.answering.set()
        self.making = threading.Event()
        self.making.set()

    def make(self, preferences):
        assert threading.current_thread() is not threading.main_thread()
        self.made.append(preferences)
        number = len(self.made)
        assert self.making.wait(HANG_S)
        if isinstance(self.error, AuthenticationError | OptionError | KeyError):
            raise self.error
        return FakeClient(self, number)

    def answer(self, what, call):
        self.asked.append(what)
        stopped = threading.Event()
        if call is not None:
            call.on_cancel(lambda: (stopped.set(), self.answering.set()))
        assert self.answering.wait(HANG_S)
        if stopped.is_set():
            self.answering.clear()
            raise RequestCancelledError("cancelled")
        if self.error is not None:
            raise self.error

    def info(self):
        models = tuple(
            ModelInfo(
                name=name, title="A sentence.", licence="BSD", weights_id=self.weights, loaded=loaded, can_detect=None
            )
            for name, loaded in self.models.items()
        )
        limits = LimitsInfo(max_body_bytes=1, max_pixels=1, max_prompts=1, max_waiting=1)
        return ServiceInfo(
            version="1",
            protocol=1,
            device="cpu",
            memory_bytes=1,
            memory_used_bytes=1,
            models=models,
            limits=limits,
            private=True,
        )


class FakeClient:
    def __init__(self, service, number):
        self.service, self.number = service, number

    def info(self, *, call=None):
        self.service.answer("info", call)
        return self.service.info()

    def detect(self, image, box_score=None, *, call=None):
        self.service.answer("detect", call)
        raise UnsupportedTaskError("this model has no detector")

    def segment_prompts(self, image, prompts, options=None, *, call=None):
        self.service.answer("segment_prompts", call)
        self.service.models["compact"] = True
        return []

    def close(self):
        self.service.closed.append(self.number)


@pytest.fixture
def service():
    return FakeService()


@pytest.fixture
def store(tmp_path):
    return PreferenceStore(JsonFile(tmp_path / "preferences.json"))


@pytest.fixture
def connection(service, store, qtbot, monkeypatch):
    monkeypatch.setattr(_connection, "_TYPING_MS", 1)
    made = Connection(Jobs(), store, service.make)
    yield made
    service.making.set()
    service.answering.set()
    made.close()


@pytest.fixture
def wait_for(connection, qtbot):
    """Wait until the connection is in a state."""

    def wait_for(state):
        qtbot.waitUntil(lambda: connection.state == state, timeout=HANG_MS)

    return wait_for


@pytest.fixture
def soon(monkeypatch):
    """Let closing wait for nothing."""
    monkeypatch.setattr(_jobs, "_CLOSING_S", 0.01)
    monkeypatch.setattr(_connection, "_CLOSING_S", 0.01)


@pytest.fixture
def elsewhere(qtbot):
    """Do something in another thread, while this one goes on; return what came of it, an error too."""
    threads = []

    class Elsewhere:
        def __init__(self, do):
            self.outcome = []
            self.thread = threading.Thread(target=self._run, args=(do,), daemon=True)
            threads.append(self.thread)
            self.thread.start()

        def _run(self, do):
            try:
                self.outcome.append(do())
            except Exception as error:  # noqa: BLE001 - looked at by the test
                self.outcome.append(error)

        def result(self):
            qtbot.waitUntil(lambda: bool(self.outcome), timeout=HANG_MS)
            return self.outcome[0]

    yield Elsewhere
    for thread in threads:
        thread.join(HANG_S)
        assert not thread.is_alive()


# --- starting


def test_nothing_happens_before_the_start(connection, service):
    assert (connection.state, connection.info, connection.seconds_to_ready) == ("off", None, None)
    assert service.made == []
    with pytest.raises(ServiceUnavailableError, match="off"):
        connection.client  # noqa: B018


def test_starting_makes_the_model_ready_and_says_where_it_runs(connection, service, wait_for):
    connection.start()
    assert connection.state == "starting"
    wait_for("ready")
    assert service.asked == ["info", "detect", "segment_prompts", "info"]
    assert connection.info.models[0].loaded
    assert connection.text == f"compact on cpu · this machine · ready after {connection.seconds_to_ready:.1f} s"
    assert connection.error is None


def test_a_model_that_is_loaded_is_not_warmed_up(connection, service, wait_for):
    service.models["compact"] = True
    connection.start()
    wait_for("ready")
    assert service.asked == ["info"]


def test_each_step_of_the_start_is_told(connection, service, qtbot, wait_for):
    told_so_far = []
    connection.changed.connect(lambda: told_so_far.append((connection.state, connection.text.split(" ·")[0])))
    connection.start()
    wait_for("ready")
    assert told_so_far == [
        ("starting", "Connecting to the model service on this machine …"),
        ("starting", "Loading compact on cpu …"),
        ("ready", "compact on cpu"),
    ]


def test_starting_again_does_nothing_while_it_starts_or_is_ready(connection, service, wait_for):
    connection.start()
    connection.start()
    wait_for("ready")
    connection.start()
    assert len(service.made) == 1
    assert connection.state == "ready"


def test_the_preferences_say_which_model(connection, service, store, wait_for):
    store.update(model="big")
    connection.start()
    wait_for("ready")
    assert service.made[0].model == "big"
    assert connection.text.startswith("big on cpu")


def test_a_server_is_named_in_the_text(connection, store, wait_for):
    store.update(server="https://GPU.example.org/")
    connection.start()
    assert connection.text == "Connecting to the model service on https://gpu.example.org …"
    wait_for("ready")
    assert "· https://gpu.example.org ·" in connection.text


def test_a_password_in_the_servers_url_is_not_shown(connection, store, service, wait_for):
    store.update(server="https://me:geheim@gpu.example.org")
    service.error = OptionError("the server's URL holds a user, a password or a query")
    connection.start()
    assert "geheim" not in connection.text
    wait_for("failed")
    assert "geheim" not in connection.text


def test_what_answers_is_the_same_after_connecting_anew_unless_the_weights_are_others(connection, service, wait_for):
    connection.start()
    first = connection.answering
    wait_for("ready")
    assert connection.answering == first
    for weights, is_same in (("a", True), ("", True), ("a", True), ("b", False)):
        service.weights = weights
        connection.reconnect()
        assert connection.answering == first
        wait_for("ready")
        assert (connection.answering == first) == is_same


def test_another_model_answers_from_when_it_is_connected_to(connection, service, store, monkeypatch, wait_for):
    monkeypatch.setattr(connection._typing, "start", lambda: None)
    connection.start()
    wait_for("ready")
    first = connection.answering
    store.update(model="big")
    assert connection.answering == first
    connection.reconnect()
    assert connection.answering != first
    store.update(model="")
    connection.reconnect()
    wait_for("ready")
    assert connection.answering == first


# --- clients for the threads that want them


def test_a_thread_waits_for_the_client_but_not_for_the_model(connection, service, elsewhere):
    service.making.clear()
    service.answering.clear()
    connection.start()
    waiting = elsewhere(lambda: connection.client)
    service.making.set()
    assert waiting.result().number == 1
    assert connection.state == "starting"


def test_the_gui_thread_never_waits_for_the_client(connection, service, wait_for):
    service.making.clear()
    connection.start()
    with pytest.raises(ServiceUnavailableError, match="starting"):
        connection.client  # noqa: B018
    service.making.set()
    wait_for("ready")
    assert connection.client.number == 1


def test_a_thread_that_waits_hears_why_there_is_no_client(connection, service, elsewhere, wait_for):
    service.making.clear()
    connection.start()
    waiting = elsewhere(lambda: connection.client)
    service.error = AuthenticationError("the token is not known")
    service.making.set()
    assert waiting.result() is service.error
    wait_for("failed")


def test_a_thread_that_waits_gets_the_client_of_the_service_chosen_meanwhile(
    connection, service, store, elsewhere, qtbot, wait_for
):
    service.making.clear()
    connection.start()
    waiting = elsewhere(lambda: connection.client)
    qtbot.waitUntil(lambda: len(service.made) == 1, timeout=HANG_MS)
    store.update(model="big")
    connection.reconnect()
    service.making.set()
    assert waiting.result().number == 2
    wait_for("ready")
    assert service.closed == [1]


def test_a_thread_that_waits_is_woken_by_closing(connection, service, elsewhere, soon):
    service.making.clear()
    connection.start()
    waiting = elsewhere(lambda: connection.client)
    connection.close()
    assert isinstance(waiting.result(), ServiceUnavailableError)


# --- failures


@pytest.mark.parametrize(
    "error",
    [GONE, AuthenticationError("the token was refused"), CheckpointError("the weights are broken")],
    ids=lambda error: type(error).__name__,
)
def test_a_start_that_fails_says_why(connection, service, wait_for, error):
    service.error = error
    connection.start()
    wait_for("failed")
    assert connection.text == told(error)
    assert connection.error is error
    assert connection.seconds_to_ready is None


def test_a_model_that_the_service_does_not_have_is_a_failure_that_names_those_it_has(connection, store, wait_for):
    store.update(model="huge")
    connection.start()
    wait_for("failed")
    assert connection.text == "The service has no model 'huge'; it has compact, big."


def test_a_fault_of_ours_is_a_failure_and_shown(connection, service, qtbot, wait_for):
    service.error = KeyError("a fault")
    with qtbot.captureExceptions() as raised:
        connection.start()
        wait_for("failed")
        qtbot.waitUntil(lambda: bool(raised), timeout=HANG_MS)
    assert raised[0][0] is KeyError
    assert "KeyError" in connection.text


def test_after_a_failure_the_start_can_be_repeated(connection, service, wait_for):
    service.error = GONE
    connection.start()
    wait_for("failed")
    service.error = None
    connection.start()
    wait_for("ready")
    assert connection.error is None


@pytest.mark.parametrize("error", [GONE, ServiceTimeoutError("no answer in 30 s"), AuthenticationError("revoked")])
def test_a_service_that_dies_later_is_a_failure(connection, wait_for, error):
    connection.start()
    wait_for("ready")
    connection.failed(error)
    assert (connection.state, connection.text) == ("failed", told(error))


@pytest.mark.parametrize("error", [ServiceBusyError("busy"), ImageNotCachedError("gone"), CheckpointError("broken")])
def test_a_request_that_fails_by_itself_is_none_of_the_connections_business(connection, wait_for, error):
    connection.start()
    wait_for("ready")
    connection.failed(error)
    assert connection.state == "ready"


def test_a_request_to_the_former_service_that_fails_does_not_stop_the_start(connection, service, wait_for):
    service.answering.clear()
    connection.start()
    connection.failed(GONE)
    assert connection.state == "starting"
    service.answering.set()
    wait_for("ready")


def test_the_next_action_after_a_failure_tries_again(connection, service, elsewhere, wait_for):
    connection.start()
    wait_for("ready")
    connection.failed(GONE)
    assert elsewhere(lambda: connection.client).result().number == 2
    wait_for("ready")
    assert service.closed == [1]


def test_many_actions_after_a_failure_try_again_together(connection, service, elsewhere, wait_for):
    connection.start()
    wait_for("ready")
    connection.failed(GONE)
    service.making.clear()
    waiting = [elsewhere(lambda: connection.client) for _ in range(5)]
    service.making.set()
    assert {one.result().number for one in waiting} == {2}
    wait_for("ready")
    assert len(service.made) == 2


def test_an_action_that_tries_again_in_vain_hears_why_and_the_next_one_tries_once_more(
    connection, service, elsewhere, wait_for
):
    connection.start()
    wait_for("ready")
    connection.failed(GONE)
    service.error = AuthenticationError("the token was revoked")
    assert elsewhere(lambda: connection.client).result() is service.error
    wait_for("failed")
    service.error = None
    assert elsewhere(lambda: connection.client).result().number == 3
    wait_for("ready")


def test_an_action_that_waits_gets_its_client_also_if_the_user_connects_anew_first(
    connection, service, elsewhere, wait_for, qtbot
):
    connection.start()
    wait_for("ready")
    connection.failed(GONE)
    waiting = elsewhere(lambda: connection.client)
    connection.reconnect()  # before the window hears of the action, or after: the result is the same
    assert waiting.result().number >= 2
    wait_for("ready")


# --- following the preferences


def test_connecting_anew_closes_the_former_client_once_the_new_one_is_made(connection, service, wait_for):
    connection.start()
    wait_for("ready")
    service.making.clear()
    connection.reconnect()
    assert service.closed == []
    service.making.set()
    wait_for("ready")
    assert service.closed == [1]
    assert connection.client.number == 2


def test_connecting_anew_while_it_starts_cancels_that_start(connection, service, qtbot, wait_for):
    service.answering.clear()
    connection.start()
    qtbot.waitUntil(lambda: service.asked == ["info"], timeout=HANG_MS)
    connection.reconnect()
    qtbot.waitUntil(lambda: len(service.made) == 2, timeout=HANG_MS)
    qtbot.waitUntil(lambda: service.closed == [1], timeout=HANG_MS)
    service.answering.set()
    wait_for("ready")
    assert connection.client.number == 2


@pytest.mark.parametrize("change", [{"model": "big"}, {"server": "https://gpu.example.org"}], ids=str)
def test_another_service_in_the_preferences_is_followed(connection, service, store, qtbot, wait_for, change):
    connection.start()
    wait_for("ready")
    store.update(**change)
    qtbot.waitUntil(lambda: len(service.made) == 2, timeout=HANG_MS)
    wait_for("ready")
    assert service.made[1] == Preferences(**change)


def test_a_url_that_is_typed_letter_by_letter_is_followed_once(connection, service, store, qtbot, wait_for):
    connection._typing.setInterval(200)
    connection.start()
    wait_for("ready")
    for n in range(1, 24):
        store.update(server="https://gpu.example.org"[:n])
    qtbot.waitUntil(lambda: len(service.made) == 2, timeout=HANG_MS)
    wait_for("ready")
    assert [made.server for made in service.made] == ["", "https://gpu.example.org"]


@pytest.mark.parametrize("change", [{"hover": False}, {"diameter": 30.0}, {"decode_at_home": "home"}], ids=str)
def test_preferences_that_do_not_concern_the_service_leave_it_alone(
    connection, service, store, qtbot, wait_for, change
):
    connection.start()
    wait_for("ready")
    store.update(**change)
    qtbot.wait(20)
    assert len(service.made) == 1


def test_a_change_that_is_taken_back_is_not_followed(connection, service, store, qtbot, wait_for):
    connection._typing.setInterval(20)
    connection.start()
    wait_for("ready")
    store.update(model="big")
    store.update(model="")
    qtbot.wait(60)
    assert len(service.made) == 1


def test_before_the_start_preferences_are_not_followed(connection, service, store, qtbot):
    store.update(model="big")
    qtbot.wait(20)
    assert (connection.state, service.made) == ("off", [])


# --- closing


def test_closing_lets_go_of_the_client_for_good(connection, service, wait_for):
    connection.start()
    wait_for("ready")
    connection.close()
    connection.close()
    assert service.closed == [1]
    assert (connection.state, connection.info) == ("off", None)
    connection.start()
    connection.reconnect()
    assert (connection.state, len(service.made)) == ("off", 1)


def test_closing_while_a_client_is_made_closes_that_client_too(connection, service, qtbot, soon):
    service.making.clear()
    connection.start()
    qtbot.waitUntil(lambda: bool(service.made), timeout=HANG_MS)
    connection.close()
    assert service.closed == []
    service.making.set()
    qtbot.waitUntil(lambda: service.closed == [1], timeout=HANG_MS)


def test_a_client_that_does_not_end_does_not_hold_the_window(connection, wait_for, monkeypatch, soon):
    release = threading.Event()
    monkeypatch.setattr(FakeClient, "close", lambda self: release.wait(HANG_S))
    connection.start()
    wait_for("ready")
    connection.close()
    assert connection.state == "off"
    release.set()


def test_a_closed_connection_leaves_no_thread(connection, wait_for):
    before = set(threading.enumerate())
    connection.start()
    wait_for("ready")
    connection.close()
    assert {thread for thread in threading.enumerate() if thread not in before and thread.is_alive()} == set()


# --- tokens


def test_signing_in_remembers_the_token_and_connects(connection, service, store, qtbot, wait_for, monkeypatch):
    remembered, notes = [], []
    monkeypatch.setattr(_secrets, "remember", lambda server, token: remembered.append((server, token)) or "in a file")
    connection.noted.connect(notes.append)
    store.update(server="https://gpu.example.org")
    connection.sign_in("a-token")
    wait_for("ready")
    assert remembered == [("https://gpu.example.org", "a-token")]
    assert notes == ["in a file"]


def test_a_token_that_cannot_be_remembered_is_told_and_the_connection_stays(
    connection, service, qtbot, wait_for, monkeypatch
):
    def refuse(server, token):
        raise OptionError("the server's URL is ''")

    notes = []
    monkeypatch.setattr(_secrets, "remember", refuse)
    connection.noted.connect(notes.append)
    connection.start()
    wait_for("ready")
    connection.sign_in("a-token")
    qtbot.waitUntil(lambda: bool(notes), timeout=HANG_MS)
    assert notes == ["The server's URL is ''."]
    assert connection.state == "ready"


# --- which client the preferences ask for


@pytest.fixture
def local(monkeypatch):
    """The service on this machine, which is not started."""
    asked = []

    class Nowhere:
        def close(self):
            asked.append("closed")

    def connect(server=None, token_file=None, model=""):
        assert server is None
        asked.append(model)
        return Client(Nowhere(), model)

    monkeypatch.setattr("napari_cellsam.service.connect.connect", connect)
    monkeypatch.setattr(_secrets, "token_for", lambda server: None if "unknown" in server else "a-long-enough-token")
    return asked


def test_without_a_server_the_service_on_this_machine_is_used(local):
    client = connect_as(Preferences(model="mine"))
    assert isinstance(client, Client)
    assert local == ["mine"]


def test_a_servers_clicks_are_decoded_at_home_where_that_is_wanted(local):
    with connect_as(Preferences(server="https://gpu.example.org", model="mine", decode_at_home="home")) as client:
        assert isinstance(client, HomeDecoding)
        assert (client.mode, client.model) == ("home", "mine")
    assert local == ["mine", "closed"]


def test_a_server_that_decodes_clicks_itself_needs_no_service_here(local):
    with connect_as(Preferences(server="https://gpu.example.org", decode_at_home="server")) as client:
        assert isinstance(client, Client)
    assert local == []


def test_a_server_without_a_known_token_is_refused_before_anything_is_sent(local):
    with pytest.raises(AuthenticationError, match=r"unknown\.example\.org"):
        connect_as(Preferences(server="https://unknown.example.org"))
    assert local == []


def test_what_is_no_url_is_refused(local):
    with pytest.raises(OptionError, match="URL"):
        connect_as(Preferences(server="gpu"))


# --- what is told


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (GONE, "The service has died. The next action tries again."),
        (AuthenticationError("no token;"), "No token. Enter the server's token, or set NAPARI_CELLSAM_TOKEN."),
        (ServiceUnavailableError("it cannot start:\n  File x\nImportError: y\n"), "It cannot start: ImportError: y."),
        (ServiceBusyError("busy: wait.\nmore"), "Busy: wait."),
        (ServiceBusyError(""), "ServiceBusyError."),
    ],
)
def test_an_error_is_told_in_one_line_that_says_what_to_do(error, line):
    assert told(error).startswith(line)
    assert "\n" not in told(error)


def test_the_default_client_is_made_by_the_preferences(store, monkeypatch, qtbot):
    made = Connection(Jobs(), store)
    assert made._make_client is _connecting.connect_as
    made.close()
