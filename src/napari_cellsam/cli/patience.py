"""Patience with a server that is started anew, so that a batch over night goes on with the image it was at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from time import sleep
from typing import TYPE_CHECKING

from napari_cellsam.errors import ServiceUnavailableError

if TYPE_CHECKING:
    from napari_cellsam.cli.batch import Segmenter
    from napari_cellsam.types import Image, Segmentation, SegmentOptions

__all__ = ["PatientSegmenter"]

_LONGEST_PAUSE_S = 10.0


@dataclass
class PatientSegmenter:
    """A server's model, asked again while the server is started anew.

    Attributes
    ----------
    server
        What asks it.
    say
        Called with what the user should know while nothing happens.
    patience_s
        How long it is waited for. One that did not come is not waited for again, until it has answered.
    """

    server: Segmenter
    say: Callable[[str], None]
    patience_s: float = 60.0
    _is_gone: bool = field(default=False, init=False)

    def segment(
        self, image: Image, options: SegmentOptions, *, on_progress: Callable[[int, int], None] | None = None
    ) -> Segmentation:
        """Segment one image.

        Raises
        ------
        ServiceUnavailableError
            If the server did not come back.
        """
        waited_s, pause_s = 0.0, 1.0
        while True:
            try:
                result = self.server.segment(image, options, on_progress=on_progress)
            except ServiceUnavailableError as error:
                if self._is_gone or waited_s >= self.patience_s:
                    self._is_gone = True
                    raise
                if not waited_s:
                    self.say(f"{error}; it is waited for, {self.patience_s:g} s at most")
                sleep(pause_s)
                waited_s, pause_s = waited_s + pause_s, min(2 * pause_s, _LONGEST_PAUSE_S)
            else:
                self._is_gone = False
                return result
