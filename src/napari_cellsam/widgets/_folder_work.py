"""Folder work: the images of a folder, one after the other, saved and opened without a dialog."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from psygnal import Signal

from napari_cellsam.data.read import list_images
from napari_cellsam.editing.folder_states import FolderStates, State
from napari_cellsam.errors import CellsamError, OptionError, OutputError
from napari_cellsam.export.formats import read_cells
from napari_cellsam.widgets._axes import stack_axis_of
from napari_cellsam.widgets._folder_ahead import FolderAhead
from napari_cellsam.widgets._folder_reading import LayerData, layers_of, read_layers
from napari_cellsam.widgets._folder_saving import cells_file, free_cells_file, labels_to_close, write_cells
from napari_cellsam.widgets._layers import same_layer

if TYPE_CHECKING:
    from napari.layers import Labels, Layer

    from napari_cellsam.export.cell_set import CellSet
    from napari_cellsam.service.transport import Call
    from napari_cellsam.widgets._jobs import Report
    from napari_cellsam.widgets._session import Session

__all__ = ["FolderWork"]

_NO_FOLDER = "No folder of images is open: open one in the dock, under Folder of images."
_OPEN, _SAVE = "folder open", "folder save"


class FolderWork:
    """Goes through the images of a folder.

    Leaving an image writes its cells to ``cells/<name>_labels.tif`` in the folder, notes its state, and closes its
    layers; what was done is in its journal, and is brought back when it is opened again. Without a journal the cells of
    that file are; if they cannot be, it stays as it is, and new cells are written beside it.

    ``changed`` is emitted when the list, a state or the current image changes.

    Parameters
    ----------
    session
        Which shows the images.

    Attributes
    ----------
    segment_new
        Whether an image that is new is segmented as soon as it is open.
    """

    changed = Signal()

    def __init__(self, session: Session) -> None:
        self._session = session
        self._paths: list[Path] = []
        self._at: int | None = None
        self._states: FolderStates | None = None
        self._layers: list[Layer] = []
        self._ahead = FolderAhead(session)
        self._begin: Path | None = None
        self._into: Path | None = None
        self._looked: tuple[Layer, Labels | None] | None = None  # at last, of ours, and the labels written into
        self.segment_new = True
        session.changed.connect(self._on_session)

    @property
    def paths(self) -> Sequence[Path]:
        """The images, by name."""
        return tuple(self._paths)

    @property
    def current(self) -> Path | None:
        """The image that is open."""
        return None if self._at is None else self._paths[self._at]

    def state_of(self, path: Path) -> State:
        """Return how far the work on an image is."""
        return "new" if self._states is None else self._states[path.name]

    def open(self, folder: Path) -> None:
        """List the images of a folder, and open the first one that is not done.

        Raises
        ------
        ImageReadError
            If there is no image in it.
        """
        paths = list_images([folder])
        self.leave()
        self._paths, self._at, self._states = paths, None, FolderStates(folder)
        self.go(next((i for i, path in enumerate(paths) if self.state_of(path) != "done"), 0))

    def go(self, at: int) -> None:
        """Save the image that is open, and open another one by its place in the list."""
        if not 0 <= at < len(self._paths):
            raise OptionError(_NO_FOLDER)
        self.leave()
        self._at = at
        path = self._paths[at]
        self.changed.emit()
        read = self._ahead.take(path)
        if read is not None:
            self._show(path, read)
            return
        self._session.jobs.submit(
            lambda call, report: read_layers(path),  # noqa: ARG005 - as long as a file takes to read
            on_done=lambda layers: self._show(path, layers),
            on_error=self._session.failed,
            topic=_OPEN,
            whole=True,
        )

    def next(self) -> None:
        """Save the image that is open, and open the next one that is not done."""
        if not self._paths:
            raise OptionError(_NO_FOLDER)
        after = range((-1 if self._at is None else self._at) + 1, len(self._paths))
        at = next((i for i in after if self.state_of(self._paths[i]) != "done"), None)
        if at is None:
            self.leave()
            self._session.say("This was the last image of the folder.")
            return
        self.go(at)

    def previous(self) -> None:
        """Save the image that is open, and open the one before."""
        if not self._paths:
            raise OptionError(_NO_FOLDER)
        self.go(max((self._at or 0) - 1, 0))

    def done(self) -> None:
        """Note that the image that is open is done, save it, and open the next one."""
        if self.current is None:
            raise OptionError(_NO_FOLDER)
        self._note("done")
        self.next()

    def leave(self) -> None:
        """Save the image that is open, and close its layers."""
        path, session = self.current, self._session
        session.jobs.cancel(_OPEN)
        if path is None or not self._layers:
            return
        self._look_back()
        if session.has_target and session.source is not None and self._is_ours(session.source.layer):
            broken_off = session.automatic.running or session.automatic.outcome(session.target) == "failed"
            session.automatic.cancel()
            self._save(path, broken_off)
        layers, self._layers = self._layers, []
        cells = labels_to_close(session, layers)
        for layer in (*layers, *cells):
            if any(same_layer(layer, there) for there in session.viewer.layers):
                session.viewer.layers.remove(layer)

    def look_ahead(self) -> None:
        """Read the next image, and let the model look at it while the user works; again if the model is another one."""
        if self._at is not None and self._at + 1 < len(self._paths):
            self._ahead.look(self._paths[self._at + 1])

    def close(self) -> None:
        """Let go; layers stay as they are."""
        self._session.changed.disconnect(self._on_session)
        self._ahead.forget()

    def _show(self, path: Path, data: list[LayerData]) -> None:
        """Show an image that was read."""
        self._layers, self._looked = [], None
        self._into = cells_file(path, self._paths)
        for layer in layers_of(path, data):
            self._layers.append(self._session.viewer.add_layer(layer))
        self._begin = path
        self._session.viewer.reset_view()
        self.look_ahead()
        self.changed.emit()
        self._on_session()

    def _on_session(self) -> None:
        """Bring earlier work back, or find the cells, once the image is looked at."""
        session, path = self._session, self._begin
        source = session.source
        if source is None or not self._is_ours(source.layer):
            return
        self._looked = source.layer, session.target.layer if session.has_target else None
        if path is None or session.journaling.looking:
            return
        self._begin = None
        if session.journaling.offer is not None:
            session.journaling.accept(lambda: self._find_rest(path), lambda: self._save_aside(path))
        elif cells_file(path, self._paths).exists():
            self._bring_back(path)
        elif self._is_to_be_found(path):
            session.automatic.run(rule=session.rule)

    def _is_to_be_found(self, path: Path) -> bool:
        return self.segment_new and self.state_of(path) == "new"

    def _find_rest(self, path: Path) -> None:
        """Find the cells that a run which was broken off did not come to, if nobody has done anything else."""
        session = self._session
        alone = len(session.history) <= 1 and all(record.is_replaceable for record in session.cells)
        if alone and self.current == path and self._is_to_be_found(path):
            session.automatic.run(rule="fill")

    def _bring_back(self, path: Path) -> None:
        """Go on with the cells that were saved, of which there is no journal."""
        session, file = self._session, cells_file(path, self._paths)

        def brought(cells: CellSet) -> None:
            source = session.source
            if self.current != path or source is None or not self._is_ours(source.layer):
                return
            if session.has_target or cells.labels.size != math.prod(source.shape):
                refused(OutputError(f"the cells in {file} are of another shape, or came too late"))
                return
            if self._is_to_be_found(path) and not cells.labels.any():
                session.automatic.run(rule=session.rule)
                return
            session.bring_in(np.array(cells.labels).reshape(source.shape))
            session.say(f"There is no journal of this image; its cells are those of {file.name}.")

        def refused(error: CellsamError) -> None:
            self._save_aside(path)
            session.say(f"{error}. That file stays as it is; new cells are saved in another one.", "warning")

        session.jobs.submit(
            lambda call, report: read_cells(file),  # noqa: ARG005 - as long as a file takes to read
            on_done=brought,
            on_error=refused,
            topic=_OPEN,
            whole=True,
        )

    def _save_aside(self, path: Path) -> None:
        """Leave the file of cells that were not brought back alone, and save new ones beside it."""
        if self.current == path:
            self._into = free_cells_file(path, self._paths)

    def _look_back(self) -> None:
        """Look at the image of the folder again, and its labels, if another one is looked at."""
        session = self._session
        if self._looked is None or (session.source is not None and self._is_ours(session.source.layer)):
            return
        image, labels = self._looked
        there = session.viewer.layers
        if any(same_layer(image, layer) for layer in there):
            session.use_image(image)
            if labels is not None and any(same_layer(labels, layer) for layer in there):
                session.use_labels(labels)

    def _save(self, path: Path, broken_off: bool) -> None:
        """Write the cells of the image that is open, in another thread, unless nothing was done; note its state."""
        session = self._session
        layer, records = session.settled.layer, list(session.cells)
        labels, axis = layer.data, stack_axis_of(layer)
        pixel_size_um = None if session.source is None else session.source.pixel_size_um
        worked_on = len(session.history) > 0 or session.automatic.outcome(session.target) == "found"
        if self.state_of(path) != "done" and worked_on:
            touched = not all(record.is_replaceable for record in records)
            self._note("in review" if touched else self.state_of(path) if broken_off else "segmented")
        file = self._into or cells_file(path, self._paths)

        def work(call: Call, report: Report) -> None:  # noqa: ARG001 - it is not to be cancelled
            if worked_on or file.exists() or np.any(labels):
                write_cells(file, labels, records, name=path.stem, pixel_size_um=pixel_size_um, axis=axis)

        topic = f"{_SAVE} {path.name}"
        session.jobs.submit(work, on_done=lambda _: None, on_error=session.failed, topic=topic, whole=True)

    def _note(self, state: State) -> None:
        if self._states is None or self.current is None:
            return
        try:
            self._states.set(self.current.name, state)
        except OutputError as error:
            self._session.say(str(error), "warning")
        self.changed.emit()

    def _is_ours(self, layer: Layer) -> bool:
        """Whether a layer was opened here."""
        return any(same_layer(layer, ours) for ours in self._layers)
