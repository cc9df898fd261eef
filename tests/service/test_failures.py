"""Errors cross the wire under their names, and tell no more than they should."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_cellsam import errors
from napari_cellsam.errors import CellsamError, ImageNotCachedError, ServiceError
from napari_cellsam.service.codec import FrameReader, encode_frame
from napari_cellsam.service.failures import error_of, failure_of
from napari_cellsam.service.messages import Failure


@pytest.mark.parametrize("name", errors.__all__)
def test_an_error_of_ours_comes_back_as_itself(name):
    kind = getattr(errors, name)
    (failure,) = FrameReader(10_000).feed(encode_frame(failure_of(kind("got this; do that"))))
    error = error_of(failure)
    assert type(error) is kind
    assert str(error) == "got this; do that"


def test_a_kind_that_others_do_not_know_goes_as_the_nearest_that_they_do():
    class ImageForgottenError(ImageNotCachedError):
        """Known here alone."""

    assert failure_of(ImageForgottenError("gone")) == Failure(error="ImageNotCachedError", message="gone")


@pytest.mark.parametrize(
    "error", [ValueError("a secret path"), KeyError("a secret"), OSError(5, "a secret"), SystemExit("a secret")]
)
def test_an_unforeseen_error_tells_its_kind_and_nothing_else(error):
    failure = failure_of(error)
    assert failure.error == "ServiceInternalError"
    assert type(error).__name__ in failure.message
    assert "secret" not in failure.message


def test_another_ones_error_of_the_same_name_is_unforeseen():
    class DeviceError(Exception):
        """Some driver's."""

    failure = failure_of(DeviceError("a secret"))
    assert failure.error == "ServiceInternalError"
    assert "secret" not in failure.message


def test_the_cause_of_an_error_is_not_told():
    error = CellsamError("told")
    error.__cause__ = ValueError("a secret")
    assert failure_of(error).message == "told"


@pytest.mark.parametrize("name", ["FutureError", "ValueError", "SystemExit", "__all__", "__doc__", ""])
def test_a_name_that_is_no_error_of_ours_is_a_service_error(name):
    error = error_of(Failure(error=name, message="what happened"))
    assert type(error) is ServiceError
    assert str(error) == f"{name}: what happened"


def test_a_message_of_any_length_is_cut():
    assert len(failure_of(CellsamError("x" * 10**6)).message) == 2000
    assert len(str(error_of(Failure(error="y" * 10**6, message="x" * 10**6)))) < 2100


def test_the_name_of_a_file_that_is_no_text_can_be_told():
    failure = failure_of(CellsamError("cannot read caf\udce9.tif"))
    assert failure.message == "cannot read caf?.tif"
    assert encode_frame(failure)


def test_what_would_steer_a_terminal_is_not_shown():
    assert str(error_of(Failure(error="ServiceError", message="a\x1b[2J\rb\nc"))) == "a?[2J?b\nc"


@given(st.text(max_size=60), st.text(max_size=60))
def test_any_failure_is_an_error_of_ours(name, message):
    assert isinstance(error_of(Failure(error=name, message=message)), CellsamError)


@given(st.text(st.characters(), max_size=60))
def test_any_message_can_be_sent(message):
    (failure,) = FrameReader(10_000).feed(encode_frame(failure_of(CellsamError(message))))
    assert failure.error == "CellsamError"
