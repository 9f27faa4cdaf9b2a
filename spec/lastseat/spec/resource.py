"""The sequential step: what an attempt is answered with nobody else around and no fault.

With ``b``, ``r``, ``n`` the booking id, the resource and the units that are asked for:

1. ``b`` is booked with the same ``(r, n)``: BOOKED, nothing changes. Booking is idempotent by id.
2. ``b`` is booked with another resource or other units: a programming error. It is raised, it is
   not an outcome, and nothing changes.
3. ``booked + n > capacity``: REJECTED, nothing changes.
4. Otherwise: BOOKED, and the booking exists.

An id binds when it is booked, not when it is asked for. FAILED is never the answer of the
sequential step; it comes from contention or from the environment only.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from attrs import evolve, field, frozen

from lastseat.spec.vocabulary import BOOKED, REJECTED, Answer, Request


class ProgrammingError(Exception):
    """A request that is no attempt at all. It is raised, never an outcome, and leaves no trace."""


class MalformedRequest(ProgrammingError):
    """Fewer than one unit is asked for."""


class UnknownResource(ProgrammingError):
    """The resource does not exist."""


class InconsistentRequest(ProgrammingError):
    """The id is booked already, with another resource or other units."""


def _unchanging(mapping: Mapping[str, Any]) -> Mapping[str, Any]:
    return MappingProxyType(dict(mapping))


def _items(mapping: Mapping[str, Any]) -> frozenset[tuple[str, Any]]:
    return frozenset(mapping.items())


@frozen
class Resource:
    """Something of fixed ``capacity`` (at least 0), and the units of each booking made on it."""

    capacity: int
    bookings: Mapping[str, int] = field(factory=dict, converter=_unchanging, eq=_items)

    @property
    def booked(self) -> int:
        """The units taken. The invariant of the whole system is ``booked <= capacity``."""
        return sum(self.bookings.values())


@frozen
class State:
    """Every resource by its id. A booking id is unique over all of them."""

    resources: Mapping[str, Resource] = field(factory=dict, converter=_unchanging, eq=_items)

    def booking(self, booking_id: str) -> Request | None:
        """The request under which ``booking_id`` is booked, on whatever resource, if it is."""
        for resource_id, resource in self.resources.items():
            if booking_id in resource.bookings:
                return Request(booking_id, resource_id, resource.bookings[booking_id])
        return None


class Verdict(enum.Enum):
    """Which of the four cases of the step applies."""

    REPEATED = 1
    INCONSISTENT = 2
    FULL = 3
    FITS = 4

    @property
    def answer(self) -> Answer | None:
        """What is emitted in this case; None where an exception is raised instead."""
        if self is Verdict.INCONSISTENT:
            return None
        return REJECTED if self is Verdict.FULL else BOOKED


def decide(capacity: int, booked: int, held: int | None, held_elsewhere: bool, n: int) -> Verdict:
    """The decision at the heart of the step, over numbers only, so that it can be proved.

    ``held`` is what the id holds on the resource that is asked for (None: nothing),
    ``held_elsewhere`` whether it holds anything on another one, ``n`` the units asked for.
    """
    if held_elsewhere:
        return Verdict.INCONSISTENT
    if held is not None:
        return Verdict.REPEATED if held == n else Verdict.INCONSISTENT
    if booked + n > capacity:
        return Verdict.FULL
    return Verdict.FITS


def step(state: State, request: Request) -> tuple[State, Answer]:
    """The state after one attempt that runs alone, and what it is answered.

    Raises:
        MalformedRequest: fewer than one unit is asked for.
        UnknownResource: there is no such resource.
        InconsistentRequest: the id is booked with another resource or other units.
    """
    if request.requested_units < 1:
        raise MalformedRequest(f"{request.requested_units} units are asked for; the least is 1")
    resource = state.resources.get(request.resource_id)
    if resource is None:
        raise UnknownResource(f"there is no resource {request.resource_id}")

    existing = state.booking(request.booking_id)
    verdict = decide(
        resource.capacity,
        resource.booked,
        held=resource.bookings.get(request.booking_id),
        held_elsewhere=existing is not None and existing.resource_id != request.resource_id,
        n=request.requested_units,
    )
    if verdict.answer is None:
        raise InconsistentRequest(f"{request} is asked for, booked is {existing}")
    if verdict is Verdict.FITS:
        state = _with_booking(state, request)
    return state, verdict.answer


def _with_booking(state: State, request: Request) -> State:
    resource = state.resources[request.resource_id]
    bookings = {**resource.bookings, request.booking_id: request.requested_units}
    changed = evolve(resource, bookings=bookings)
    return State({**state.resources, request.resource_id: changed})
