"""Asking the model: for the outlines of cells, and to look at a plane before anything is asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from psygnal import Signal

from napari_cellsam.errors import CellsamError

if TYPE_CHECKING:
    from napari_cellsam.editing.edits import Plane
    from napari_cellsam.service.transport import Call
    from napari_cellsam.types import Mask, Prompt
    from napari_cellsam.widgets._jobs import Job, Report, TakenBack
    from napari_cellsam.widgets._session import Session

__all__ = ["Asking"]

_PREFETCH = "prefetch"


class Asking:
    """Sends a session's requests, and brings the answers.

    ``prefetched`` is emitted when the model has looked at the plane that is shown.
    """

    prefetched = Signal()

    def __init__(self, session: Session) -> None:
        self._session = session
        self._seen: tuple[object, ...] = ()  # what the model has looked at, and what it took cells for
        self._diameter: float | None = None

    def decode(
        self,
        plane: Plane,
        prompts: Sequence[Prompt],
        done: Callable[[list[Mask]], None],
        *,
        failed: Callable[[CellsamError], None] | None = None,
        on_taken_back: TakenBack | None = None,
        topic: str | None,
        slot: str | None = None,
    ) -> Job[list[Mask]]:
        """Ask for masks.

        ``done`` gets them unless something newer of the topic was asked, or other cells are worked on meanwhile: those
        of another image, or of another labels layer. ``failed`` gets what went wrong; the user is told if it is None.
        With ``on_taken_back``, the question is an action of the user's, as in `Jobs.submit`.
        """
        session = self._session
        source, target = session.source, session.target if session.has_target else None
        read, options = session.image_reader(plane), session.options

        def work(call: Call, report: Report) -> list[Mask]:  # noqa: ARG001 - there is nothing to report
            return session.client.segment_prompts(read(call), list(prompts), options, logits=True, slot=slot, call=call)

        def answered(masks: list[Mask]) -> None:
            elsewhere = target is not None and not (session.has_target and session.target is target)
            if elsewhere or session.source is not source:
                return
            try:
                done(masks)
            except CellsamError as error:
                session.failed(error)

        return session.jobs.submit(
            work, on_done=answered, on_error=failed or session.failed, on_taken_back=on_taken_back, topic=topic
        )

    def prefetch(self) -> None:
        """Let the model look at the plane while the user does; nothing happens while there is no model or no image."""
        session = self._session
        if session.connection.state != "ready" or session.source is None:
            return
        try:
            read, options = session.image_reader(session.plane), session.options
        except CellsamError as error:
            session.say(str(error), "warning")
            return

        seen = self._key(session.plane)

        def work(call: Call, report: Report) -> float | None:  # noqa: ARG001
            return session.client.prefetch(read(call), options, call=call).diameter

        def done(diameter: float | None) -> None:
            self._seen, self._diameter = seen, diameter
            self.prefetched.emit()

        session.jobs.submit(work, on_done=done, on_error=session.failed, topic=_PREFETCH)

    def diameter(self, plane: Plane) -> float | None:
        """Return how large cells of a plane are, in pixels, if the model has looked at it as it is now."""
        return self._diameter if self._seen == self._key(plane) else None

    def _key(self, plane: Plane) -> tuple[object, ...]:
        session = self._session
        return session.source, plane, session.options.diameter, session.connection.answering

    def stop_prefetch(self) -> None:
        """Let the model look at something else."""
        self._session.jobs.cancel(_PREFETCH)
