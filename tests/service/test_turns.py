"""Whose turn it is."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_cellsam.service.turns import Turns, Urgency


@dataclass(frozen=True)
class One:
    urgency: Urgency
    number: int
    clients: tuple[str, ...] = ("anna",)


def served(turns, candidates, n):
    """Return the numbers of those that take turns, nobody ever being done."""
    return [turns.choose(candidates).number for _ in range(n)]


def test_nobody_has_no_turn():
    assert Turns(in_a_row=1).choose([]) is None


def test_the_most_urgent_goes_first():
    candidates = [One(urgency, number) for number, urgency in enumerate(reversed(Urgency))]
    assert served(Turns(in_a_row=1), candidates, 3) == [3, 3, 3]


def test_of_one_client_the_first_comes_first():
    assert served(Turns(in_a_row=1), [One(Urgency.RUN, 2), One(Urgency.RUN, 1)], 3) == [1, 1, 1]


def test_clients_take_turns():
    candidates = [One(Urgency.RUN, 1, ("anna",)), One(Urgency.RUN, 2, ("ben",)), One(Urgency.RUN, 3, ("cleo",))]
    assert served(Turns(in_a_row=1), candidates, 7) == [1, 2, 3, 1, 2, 3, 1]


def test_who_has_begun_goes_on_for_a_few_turns():
    candidates = [One(Urgency.RUN, 1, ("anna",)), One(Urgency.RUN, 2, ("ben",))]
    assert served(Turns(in_a_row=3), candidates, 8) == [1, 1, 1, 2, 2, 2, 1, 1]


def test_who_cannot_go_on_loses_the_turns_that_are_left():
    turns = Turns(in_a_row=3)
    anna, ben = One(Urgency.RUN, 1, ("anna",)), One(Urgency.RUN, 2, ("ben",))
    assert [turns.choose(there).number for there in ([anna, ben], [ben], [anna, ben], [anna, ben])] == [1, 2, 2, 2]


def test_more_urgent_work_interrupts_who_has_begun():
    turns = Turns(in_a_row=3)
    run, prompt = One(Urgency.RUN, 1), One(Urgency.PROMPT, 2)
    assert [turns.choose(there).number for there in ([run], [run, prompt], [run, prompt], [run])] == [1, 2, 2, 1]


def test_many_requests_of_one_client_do_not_hold_up_another():
    candidates = [One(Urgency.PROMPT, number, ("anna",)) for number in range(50)]
    turns = Turns(in_a_row=1)
    turns.choose(candidates)
    assert turns.choose([*candidates, One(Urgency.PROMPT, 99, ("ben",))]).number == 99


def test_turns_in_one_class_do_not_count_in_another():
    turns = Turns(in_a_row=1)
    served(turns, [One(Urgency.PROMPT, 1, ("anna",))], 5)
    assert served(turns, [One(Urgency.RUN, 2, ("anna",)), One(Urgency.RUN, 3, ("ben",))], 2) == [2, 3]


def test_a_turn_together_counts_for_all():
    turns = Turns(in_a_row=1)
    candidates = [One(Urgency.PROMPT, 1, ("anna", "ben")), One(Urgency.PROMPT, 2, ("cleo",))]
    assert served(turns, candidates, 2) == [1, 2]
    turns.note(Urgency.PROMPT, ["cleo"])
    assert turns.choose([One(Urgency.PROMPT, 3, ("cleo",)), One(Urgency.PROMPT, 4, ("ben",))]).number == 4


def test_less_urgent_work_goes_on_slowly():
    candidates = [One(Urgency.PROMPT, 1), One(Urgency.RUN, 2)]
    assert served(Turns(patience=3, in_a_row=1), candidates, 9) == [1, 1, 1, 2, 1, 1, 1, 2, 1]


def test_patience_begins_anew_when_there_was_nothing_to_wait_for():
    turns = Turns(patience=3, in_a_row=1)
    prompt, run = One(Urgency.PROMPT, 1), One(Urgency.RUN, 2)
    assert served(turns, [prompt, run], 3) == [1, 1, 1]
    assert served(turns, [prompt], 1) == [1]
    assert served(turns, [prompt, run], 4) == [1, 1, 1, 2]


@given(st.integers(1, 8), st.lists(st.sampled_from(list(Urgency)), min_size=1, max_size=4, unique=True))
def test_no_class_starves(patience, classes):
    candidates = [One(urgency, urgency.value) for urgency in classes]
    n = (patience + 1) ** 2 * len(classes)
    assert set(served(Turns(patience=patience, in_a_row=1), candidates, n)) == {urgency.value for urgency in classes}


@pytest.mark.parametrize("n_clients", [5000])
def test_clients_that_are_gone_are_forgotten(n_clients):
    turns = Turns(in_a_row=1)
    for number in range(n_clients):
        turns.choose([One(Urgency.PROMPT, number, (str(number),))])
    assert turns.n_remembered < n_clients
