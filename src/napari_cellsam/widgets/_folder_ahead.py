"""Looking ahead: the next image of a folder is read, and looked at by the model, while the user works on this one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from napari_cellsam.widgets._folder_reading import LayerData, plain_image, read_layers

if TYPE_CHECKING:
    from napari_cellsam.service.transport import Call
    from napari_cellsam.widgets._jobs import Report
    from napari_cellsam.widgets._session import Session

__all__ = ["FolderAhead"]

_TOPIC = "folder ahead"


class FolderAhead:
    """Reads one image ahead, in another thread.

    Parameters
    ----------
    session
        Whose service looks at it.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._read: tuple[Path, list[LayerData]] | None = None
        self._taken: Path | None = None

    def look(self, path: Path) -> None:
        """Read an image, and let the model look at it; again if the model is another one."""
        session, options = self._session, self._session.options

        def work(call: Call, report: Report) -> tuple[Path, list[LayerData]]:
            layers = read_layers(path)
            report((path, layers))
            image = plain_image(layers)
            if image is not None:
                session.client.prefetch(image, options, call=call)
            return path, layers

        session.jobs.submit(
            work,
            on_done=self._keep,
            on_error=lambda _: None,  # it is told of when the image is opened
            on_report=self._keep,
            topic=_TOPIC,
        )

    def take(self, path: Path) -> list[LayerData] | None:
        """Return what was read of an image that is opened now, if it was, and keep it no longer."""
        read, self._read, self._taken = self._read, None, path
        return read[1] if read is not None and read[0] == path else None

    def forget(self) -> None:
        """Keep nothing."""
        self._read = None

    def _keep(self, read: tuple[Path, list[LayerData]]) -> None:
        if read[0] != self._taken:
            self._read = read
