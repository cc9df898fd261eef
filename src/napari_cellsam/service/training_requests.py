"""The client's requests about training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from napari_cellsam.service.expecting import expect
from napari_cellsam.service.messages import Learning, StopTraining, Trained, TrainingStopped, TrainModel
from napari_cellsam.types.finetuning import FinetuneOptions

if TYPE_CHECKING:
    from napari_cellsam.data.retraining.pictures import RetrainingPicture
    from napari_cellsam.service.messages import Frame
    from napari_cellsam.service.transport import Call, Transport
    from napari_cellsam.types.finetuning import TrainingProgress

__all__ = ["TrainingRequests"]


class TrainingRequests:
    """Ask a service to train.

    Parameters
    ----------
    transport
        The way to the service.
    model
        Which of the service's models is made better; its first one when empty.
    """

    def __init__(self, transport: Transport, model: str = "") -> None:
        self._transport = transport
        self.model = model

    def train(
        self,
        train: Sequence[RetrainingPicture],
        val: Sequence[RetrainingPicture],
        name: str,
        options: FinetuneOptions | None = None,
        *,
        on_progress: Callable[[TrainingProgress], None] | None = None,
        call: Call | None = None,
    ) -> Trained:
        """Make a new model out of the client's, with corrected pictures.

        A training that was cancelled, or broke off, goes on from its last checkpoint when it is asked for again.

        Parameters
        ----------
        train, val
            Pictures to learn from, and to be judged on, as `RetrainingSet.pictures` returns them; without the latter,
            parts of the former are held out.
        name
            Of the new model.
        options
            How.
        on_progress
            Called with every step.

        Raises
        ------
        UnsupportedTaskError
            If the service does not train for its clients.
        DatasetError
            If nothing can be learned from the pictures.
        """
        from napari_cellsam.service.convert_lessons import lesson_data

        def take(frame: Frame) -> None:
            if isinstance(frame, Learning) and on_progress:
                on_progress(frame.progress)

        request = TrainModel(
            name=name,
            train=tuple(map(lesson_data, train)),
            val=tuple(map(lesson_data, val)),
            model=self.model,
            options=options or FinetuneOptions(),
        )
        return expect(Trained, self._transport.send(request, call=call, on_frame=take))

    def stop_training(self, name: str, *, call: Call | None = None) -> bool:
        """End one of this client's trainings early, with the best so far; return whether there is such a one.

        Parameters
        ----------
        name
            Of the new model.
        """
        return expect(TrainingStopped, self._transport.send(StopTraining(name=name), call=call)).found
