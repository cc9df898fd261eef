"""Training: the model learns from corrected images, is judged before anything is replaced, and can be taken back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from psygnal import Signal

from napari_cellsam.errors import CellsamError, OptionError, RequestCancelledError
from napari_cellsam.types.finetuning import FinetuneOptions, TrainingProgress, TrainingRecord
from napari_cellsam.widgets._collecting import read_pictures
from napari_cellsam.widgets._jobs import Jobs
from napari_cellsam.widgets._learning_curve import LearningCurve
from napari_cellsam.widgets._lineage import Lineage
from napari_cellsam.widgets._model_names import free_name, refuse_taken
from napari_cellsam.widgets._training_words import is_judging, training_words
from napari_cellsam.widgets._verdict import verdict_on, verdict_text

if TYPE_CHECKING:
    from napari_cellsam.service.messages import Trained
    from napari_cellsam.service.transport import Call
    from napari_cellsam.widgets._jobs import Report
    from napari_cellsam.widgets._session import Session

__all__ = ["Training", "TrainingState"]

TrainingState = Literal["idle", "judging", "learning", "done", "failed"]

_TRAIN, _STOP = "train", "stop"
_AGAIN = "Begun again with the same pictures, model and name, it goes on from where it was."
_RUNNING = "A model is learning already. Stop it, or wait until it is done."


class Training:
    """Lets the service train a model on the training set, while the user goes on working.

    Nothing is replaced by a training: its model has a name of its own, and is used once it is chosen. ``changed`` is
    emitted when its state changes, and with every hundredth of its way; ``progressed`` with each report.

    Parameters
    ----------
    session
        Whose training set, service and preferences.

    Attributes
    ----------
    wanted_name
        Name that the user gave for the next model; empty for the next free one.
    state
        How far it is.
    name
        Of the model that learns, or has learned last.
    progress
        The newest report; None before the first one.
    curve
        How it has gone so far.
    record
        What came of it; None until it is done, and when the user has decided to keep the model before.
    stopping
        Whether it was told to come to its end.
    lineage
        Which models there are, and which one is in use.
    """

    changed = Signal()
    progressed = Signal()

    def __init__(self, session: Session) -> None:
        self._session = session
        self._jobs = Jobs()  # its own: whoever cancels what is under way in the image does not mean a training
        self.wanted_name = ""
        self.state: TrainingState = "idle"
        self.name = ""
        self.progress: TrainingProgress | None = None
        self.curve = LearningCurve()
        self.record: TrainingRecord | None = None
        self.stopping = False
        self.lineage = Lineage(session)

    @property
    def minutes(self) -> float:
        """How long a model learns."""
        return self._session.preferences.training_minutes

    @property
    def uses_better(self) -> bool:
        """Whether the new model is used when it is better."""
        return self._session.preferences.use_better

    @property
    def running(self) -> bool:
        """Whether a model learns."""
        return self._jobs.running(_TRAIN)

    @property
    def next_name(self) -> str:
        """Name of the next model."""
        folder = self._session.folder.current
        base = self._session.collecting.folder if folder is None else folder.parent
        return self.wanted_name or free_name(base.name, self.lineage.known)

    @property
    def is_used(self) -> bool:
        """Whether the model that was trained last is the one in use."""
        return self.record is not None and self._session.preferences.model == self.name

    @property
    def share(self) -> float:
        """How much of its time it has learned, 0 to 1."""
        return 0.0 if self.progress is None else self.progress.share

    @property
    def words(self) -> str:
        """What is being done, and how long it will take; empty while nothing is."""
        return training_words(self.progress, stopping=self.stopping) if self.running else ""

    def learn(self) -> None:
        """Add the image to the training set if something of it is certain, and train.

        Raises
        ------
        OptionError, ModelError
            If a model learns already, or the new one cannot have its name.
        """
        self._refuse(self.next_name)
        if self._session.collecting.certain:
            self._session.collecting.add(then=self._begin)
        else:
            self.start()

    def start(self, name: str | None = None, minutes: float | None = None) -> None:
        """Train on the training set as it is.

        Parameters
        ----------
        name
            Of the new model; the next one if None.
        minutes
            How long it learns; as chosen if None.

        Raises
        ------
        OptionError, ModelError
            If a model learns already, or the new one cannot have its name.
        """
        name = name or self.next_name
        self._refuse(name)
        options = FinetuneOptions(minutes=minutes or self.minutes)
        session, folder = self._session, self._session.collecting.folder

        def work(call: Call, report: Report) -> Trained:
            return session.client.train(*read_pictures(folder), name, options, on_progress=report, call=call)

        self.name, self.record, self.progress, self.stopping = name, None, None, False
        self.curve = LearningCurve()
        self._jobs.submit(work, on_done=self._done, on_error=self._failed, on_report=self._on_progress, topic=_TRAIN)
        self._set("judging")

    def stop_and_keep(self) -> None:
        """End the training early; what was best so far is judged and kept.

        Raises
        ------
        OptionError
            If no model learns.
        """
        if not self.running:
            raise OptionError("No model is learning.")
        session, name = self._session, self.name
        self.stopping = True
        self._jobs.submit(
            lambda call, report: session.client.stop_training(name, call=call),  # noqa: ARG005
            on_done=self._on_stopped,
            on_error=session.failed,
            topic=_STOP,
        )
        self.changed.emit()

    def cancel(self) -> None:
        """End the training without a model; the same one goes on from there when it is begun again."""
        if not self.running:
            return
        self._jobs.cancel()
        self._session.say(f"The training of {self.name} was cancelled. {_AGAIN}")
        self._set("idle")

    def use_new(self) -> None:
        """Find cells with the model that was trained last, from now on.

        Raises
        ------
        OptionError
            If there is none.
        """
        if self.record is None:
            raise OptionError("No model was trained that could be used: train one first.")
        self._refuse_while_running()
        self._use(f"From now on, {self.name} finds the cells.")

    def keep_present(self) -> None:
        """Leave the present model in use; the new one stays among the service's models."""
        self.record = None
        self._set("idle")

    def go_back(self) -> None:
        """Find cells with the model again that the one in use was made from.

        Raises
        ------
        OptionError
            If that is not known.
        """
        self._refuse_while_running()
        self.lineage.go_back()
        self.changed.emit()

    def close(self) -> None:
        """Let go; a training is cancelled, and goes on from there when it is begun again."""
        self._session.automatic.changed.disconnect(self._use_when_free, missing_ok=True)
        self._jobs.close()

    # --- what comes of it

    def _on_progress(self, progress: TrainingProgress) -> None:
        before, self.progress = self.progress, progress
        self.curve.add(progress)
        self.state = "judging" if is_judging(progress) else "learning"
        self.progressed.emit()
        if before is None or _shown(before) != _shown(progress):
            self.changed.emit()

    def _done(self, trained: Trained) -> None:
        self._jobs.cancel(_STOP)
        self.name, self.record, self.stopping = trained.name, trained.record, False
        self.wanted_name = ""
        self.lineage.add(trained.name, trained.record)
        self._session.say(f"The model {trained.name} is trained. {verdict_text(trained.record)}")
        self._set("done")
        if self.uses_better and verdict_on(trained.record) == "better":
            self._use_when_free()
        else:
            self._session.connection.look_again()

    def _failed(self, error: CellsamError) -> None:
        self._jobs.cancel(_STOP)
        self.stopping = False
        if isinstance(error, RequestCancelledError):
            self._session.say(f"The training of {self.name} was broken off. {_AGAIN}")
            self._set("idle")
            return
        self._session.failed(error)
        self._set("failed")

    def _on_stopped(self, found: bool) -> None:
        if not found and self.running:
            self.stopping = False
            self._session.say("The training has not begun to learn yet; cancel it instead, or stop it later.")
            self.changed.emit()

    # --- helpers

    def _begin(self) -> None:
        """Start a training when nobody is there to hear of what is wrong."""
        try:
            self.start()
        except CellsamError as error:
            self._session.failed(error)

    def _use_when_free(self) -> None:
        """Use the new model at once, or when what is being segmented is done: a change of model would break it off."""
        automatic = self._session.automatic
        automatic.changed.disconnect(self._use_when_free, missing_ok=True)
        if self.record is None or self.is_used or self.running:
            return  # the user has decided meanwhile
        if automatic.running:
            automatic.changed.connect(self._use_when_free)
        else:
            self._use(f"{verdict_text(self.record)} From now on, {self.name} finds the cells.")

    def _use(self, told: str) -> None:
        self.lineage.use(self.name, told)
        self.changed.emit()

    def _refuse(self, name: str) -> None:
        self._refuse_while_running()
        refuse_taken(name, self.lineage.taken)

    def _refuse_while_running(self) -> None:
        if self.running:
            raise OptionError(_RUNNING)

    def _set(self, state: TrainingState) -> None:
        self.state = state
        self.changed.emit()


def _shown(progress: TrainingProgress) -> tuple[str, int]:
    return progress.stage, round(100 * progress.share)
