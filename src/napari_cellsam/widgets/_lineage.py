"""The lineage of models: which one is in use, what it was made from, and the change from one to another."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_cellsam.errors import OptionError

if TYPE_CHECKING:
    from napari_cellsam.types.finetuning import TrainingRecord
    from napari_cellsam.widgets._session import Session

__all__ = ["Lineage"]


class Lineage:
    """Knows the models of the service and those that were made meanwhile, and changes between them.

    Parameters
    ----------
    session
        Whose service and preferences.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._made: dict[str, TrainingRecord] = {}

    @property
    def taken(self) -> set[str]:
        """Names that models have."""
        info = self._session.connection.info
        return set(self._made) | ({model.name for model in info.models} if info is not None else set())

    @property
    def known(self) -> set[str]:
        """Names that models have, and those of models that were removed, but that others are made from."""
        info = self._session.connection.info
        records = [*self._made.values(), *((m.training for m in info.models) if info is not None else ())]
        return self.taken | {record.parent for record in records if record is not None}

    @property
    def record(self) -> TrainingRecord | None:
        """How the model in use was made; None if it was not made by training, or that is not known."""
        return self._record_of(self._session.preferences.model)

    @property
    def parent(self) -> str | None:
        """Model that the one in use was made from; None if that is not known."""
        return None if self.record is None else self.record.parent

    def add(self, name: str, record: TrainingRecord) -> None:
        """Take note of a model that was made."""
        self._made[name] = record

    def use(self, model: str, told: str) -> None:
        """Find cells with a model from now on, also those of the image that is looked at ahead.

        Parameters
        ----------
        model
            Its name.
        told
            What the user is told.
        """
        session = self._session
        session.prefer(model=model)
        session.connection.reconnect()
        session.folder.look_ahead()
        session.say(told)

    def go_back(self) -> None:
        """Find cells with the model again that the one in use was made from.

        Raises
        ------
        OptionError
            If that is not known, or the service does not have it any more.
        """
        parent, info = self.parent, self._session.connection.info
        if parent is None:
            raise OptionError("The model in use was not made by training: there is none to go back to.")
        if info is not None and parent not in self.taken:
            raise OptionError(f"The service does not have {parent} any more, from which this model was made.")
        if self.record in self._ancestry(parent):
            raise OptionError(f"The {parent} that there is now was made from this model; its own parent is gone.")
        self.use(parent, f"From now on, {parent} finds the cells again.")

    def _record_of(self, name: str) -> TrainingRecord | None:
        """Return how a model was made; "" is the one that the service chooses."""
        info = self._session.connection.info
        if name in self._made:
            return self._made[name]
        model = next((m for m in info.models if name in ("", m.name)), None) if info is not None else None
        return None if model is None else model.training

    def _ancestry(self, name: str) -> list[TrainingRecord]:
        """Return how a model was made, and those it comes from, as far as that is known."""
        records: list[TrainingRecord] = []
        record = self._record_of(name)
        while record is not None and record not in records:
            records.append(record)
            record = self._record_of(record.parent)
        return records
