"""The turns: which of several jobs goes next."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from enum import IntEnum
from typing import Protocol, TypeVar

__all__ = ["Candidate", "Turns", "Urgency"]

_PATIENCE = 16
_IN_A_ROW = 8  # enough for a click: whoever is half done goes on, so that all wait less on the average
_MOST_REMEMBERED = 4096


class Urgency(IntEnum):
    """How soon a job's turn comes: all of a lower number go first, but for one turn in `Turns.patience`."""

    PROMPT = 0
    SOON = 1
    RUN = 2
    TRAINING = 3


class Candidate(Protocol):
    """Something that can take a turn."""

    @property
    def urgency(self) -> Urgency:
        """Its class."""
        ...

    @property
    def number(self) -> int:
        """The lower, the earlier it came."""
        ...

    @property
    def clients(self) -> Iterable[str]:
        """Who waits for it."""
        ...


Chosen = TypeVar("Chosen", bound=Candidate)


class Turns:
    """Choose the most urgent, in a class the client that waited longest for a turn, of a client what came first.

    Parameters
    ----------
    patience
        Turns of more urgent jobs after which one of a less urgent class goes first, so that none starves.
    in_a_row
        Turns that one job of a class takes before another client's, if it can take them.
    """

    def __init__(self, patience: int = _PATIENCE, in_a_row: int = _IN_A_ROW) -> None:
        self.patience, self.in_a_row = patience, in_a_row
        self._holders: dict[Urgency, tuple[int, int]] = {}  # number of the job that goes on, and turns it had in a row
        self._passed_over: dict[Urgency, int] = defaultdict(int)
        self._served: dict[tuple[Urgency, str], int] = {}
        self._turn = 0

    @property
    def n_remembered(self) -> int:
        """Of how many clients it is known when they had a turn."""
        return len(self._served)

    def choose(self, candidates: Iterable[Chosen]) -> Chosen | None:
        """Return who has the next turn, and count it as taken; None if there is nobody."""
        classes: dict[Urgency, list[Chosen]] = defaultdict(list)
        for candidate in candidates:
            classes[candidate.urgency].append(candidate)
        if not classes:
            return None
        urgency = self._choose_class(sorted(classes))
        chosen = self._choose_one(urgency, classes[urgency])
        self.note(urgency, chosen.clients)
        return chosen

    def note(self, urgency: Urgency, clients: Iterable[str]) -> None:
        """Count a turn for these clients."""
        self._turn += 1
        for client in clients:
            self._served.pop((urgency, client), None)
            self._served[urgency, client] = self._turn
        while len(self._served) > _MOST_REMEMBERED:  # clients make up their names, and may make up any number
            del self._served[next(iter(self._served))]

    def _choose_class(self, there: list[Urgency]) -> Urgency:
        """Return the most urgent class, or one that was passed over too often."""
        for urgency in set(self._passed_over) - set(there):
            del self._passed_over[urgency]
        overdue = [urgency for urgency in there if self._passed_over[urgency] >= self.patience]
        chosen = overdue[0] if overdue else there[0]
        for urgency in there:
            if urgency > chosen:
                self._passed_over[urgency] += 1
        self._passed_over[chosen] = 0
        return chosen

    def _choose_one(self, urgency: Urgency, there: list[Chosen]) -> Chosen:
        """Return who goes on, or else the one whose client waited longest."""
        holder, n_turns = self._holders.get(urgency, (0, self.in_a_row))
        if n_turns < self.in_a_row:
            for one in there:
                if one.number == holder:
                    self._holders[urgency] = holder, n_turns + 1
                    return one
        chosen = min(there, key=lambda one: (self._last_served(one), one.number))
        self._holders[urgency] = chosen.number, 1
        return chosen

    def _last_served(self, candidate: Candidate) -> int:
        return min((self._served.get((candidate.urgency, client), 0) for client in candidate.clients), default=0)
