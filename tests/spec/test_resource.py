"""The sequential step on whole states, exhaustively in a small scope.

The decision over numbers is proved by CrossHair; here every state of two resources and three ids
shows that the step is that decision, and what becomes of the state.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from lastseat.spec.resource import (
    InconsistentRequest,
    MalformedRequest,
    ProgrammingError,
    Resource,
    State,
    UnknownResource,
    Verdict,
    decide,
    step,
)
from lastseat.spec.vocabulary import BOOKED, REJECTED, Answer, Request

IDS = ("a", "b", "c")
UNITS = (1, 2, 3)


def states() -> Iterator[State]:
    """Every legal state: each id is booked nowhere, or on one resource with some units."""
    holdings = [None, *itertools.product("rs", UNITS)]
    for capacities in itertools.product(range(4), repeat=2):
        for held in itertools.product(holdings, repeat=len(IDS)):
            resources = {
                name: Resource(
                    capacity,
                    {i: h[1] for i, h in zip(IDS, held, strict=True) if h and h[0] == name},
                )
                for name, capacity in zip("rs", capacities, strict=True)
            }
            if all(resource.booked <= resource.capacity for resource in resources.values()):
                yield State(resources)


def requests() -> list[Request]:
    # One id stands for all: every state has its mirror image with the ids exchanged.
    return [Request("a", name, units) for name in "rs" for units in UNITS]


STATES = tuple(states())


def verdict_on(state: State, request: Request) -> Verdict:
    """The decision over numbers, fed from the state by other means than the step's."""
    resource = state.resources[request.resource_id]
    others = [r for name, r in state.resources.items() if name != request.resource_id]
    return decide(
        resource.capacity,
        resource.booked,
        resource.bookings.get(request.booking_id),
        any(request.booking_id in other.bookings for other in others),
        request.requested_units,
    )


def bookings(state: State) -> set[Request]:
    return {
        Request(booking_id, name, units)
        for name, resource in state.resources.items()
        for booking_id, units in resource.bookings.items()
    }


def test_the_step_is_the_decision() -> None:
    seen = set()
    for state, request in itertools.product(STATES, requests()):
        verdict = verdict_on(state, request)
        seen.add(verdict)
        if verdict is Verdict.INCONSISTENT:
            with pytest.raises(InconsistentRequest):
                step(state, request)
            continue
        after, answer = step(state, request)
        assert answer == (REJECTED if verdict is Verdict.FULL else BOOKED)
        made = {request} if verdict is Verdict.FITS else set()
        assert bookings(after) == bookings(state) | made
        assert (after == state) == (verdict is not Verdict.FITS)
        for name, resource in after.resources.items():
            assert resource.capacity == state.resources[name].capacity
            assert resource.booked <= resource.capacity
    assert seen == set(Verdict)


def test_a_booked_request_is_answered_booked_for_ever() -> None:
    for state, request in itertools.product(STATES, requests()):
        if verdict_on(state, request) is Verdict.FITS:
            after, _ = step(state, request)
            assert step(after, request) == (after, BOOKED)


def test_an_id_binds_when_it_is_booked_not_when_it_is_asked_for() -> None:
    state = State({"r": Resource(3)})
    state, answer = step(state, Request("b", "r", 5))
    assert answer == REJECTED
    state, answer = step(state, Request("b", "r", 1))
    assert answer == BOOKED
    with pytest.raises(InconsistentRequest, match="5 of r as b is asked for, booked is 1 of"):
        step(state, Request("b", "r", 5))


@pytest.mark.parametrize(
    ("request_", "error", "message"),
    [
        (Request("b", "r", 0), MalformedRequest, "0 units are asked for; the least is 1"),
        (Request("b", "r", -1), MalformedRequest, "-1 units"),
        (Request("b", "nowhere", 1), UnknownResource, "there is no resource nowhere"),
        (Request("old", "s", 1), InconsistentRequest, "booked is 1 of r as old"),
    ],
)
def test_what_is_no_attempt_is_raised(
    request_: Request, error: type[ProgrammingError], message: str
) -> None:
    state = State({"r": Resource(3, {"old": 1}), "s": Resource(1)})
    with pytest.raises(error, match=message):
        step(state, request_)


def test_states_are_values() -> None:
    bookings = {"a": 1}
    resource = Resource(2, bookings)
    bookings["b"] = 1
    assert resource == Resource(2, {"a": 1})
    assert hash(State({"r": resource})) == hash(State({"r": Resource(2, {"a": 1})}))
    with pytest.raises(TypeError):
        resource.bookings["b"] = 1  # type: ignore[index]
    assert str(Answer(BOOKED.outcome)) == "BOOKED"
