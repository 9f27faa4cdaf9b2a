"""Cases that are told by hand: what happens is written here, what is right comes from the model."""

from __future__ import annotations

from attrs import frozen

from lastseat.spec.resource import Resource, State
from lastseat.spec.rules import Rule
from lastseat.spec.vocabulary import Request


@frozen
class Sequence:
    """Requests that are made one after the other, with nobody else around."""

    id: str
    rule: Rule
    start: State
    requests: tuple[Request, ...]


@frozen
class Story:
    """A script that is told rather than found: see ``scripts.follow``."""

    id: str
    rule: Rule
    scope: str
    told: str


def _room(capacity: int, **bookings: int) -> State:
    return State({"r1": Resource(capacity, bookings), "r2": Resource(1)})


def _asking(*asked: tuple[str, str, int]) -> tuple[Request, ...]:
    return tuple(Request(*request) for request in asked)


SEQUENCES = (
    Sequence("books-into-room", Rule.BOOKED, _room(3), _asking(("b1", "r1", 1))),
    Sequence("fills-to-the-last-unit", Rule.CAPACITY, _room(3, b0=1), _asking(("b1", "r1", 2))),
    Sequence("rejects-one-unit-too-many", Rule.REJECTED, _room(3, b0=1), _asking(("b1", "r1", 3))),
    Sequence("rejects-without-capacity", Rule.REJECTED, _room(0), _asking(("b1", "r1", 1))),
    Sequence("rejects-when-full", Rule.REJECTED, _room(1, b0=1), _asking(("b1", "r1", 1))),
    Sequence(
        "a-rejection-takes-nothing",
        Rule.DETERMINISM,
        _room(3, b0=2),
        _asking(("b1", "r1", 2), ("b2", "r1", 1)),
    ),
    Sequence(
        "the-same-request-twice-books-once",
        Rule.ONE_ID,
        _room(3),
        _asking(("b1", "r1", 2), ("b1", "r1", 2), ("b2", "r1", 1)),
    ),
    Sequence(
        "booked-beforehand-and-asked-for-again",
        Rule.ONE_ID,
        _room(1, b1=1),
        _asking(("b1", "r1", 1)),
    ),
    Sequence(
        "a-repetition-is-booked-although-it-is-full",
        Rule.ONE_ID,
        _room(1),
        _asking(("b1", "r1", 1), ("b2", "r1", 1), ("b1", "r1", 1)),
    ),
    Sequence(
        "an-id-binds-when-booked-not-when-asked-for",
        Rule.ONE_ID,
        _room(3),
        _asking(("b1", "r1", 5), ("b1", "r1", 1)),
    ),
    Sequence(
        "other-units-under-a-booked-id",
        Rule.PROGRAMMING_ERROR,
        _room(3),
        _asking(("b1", "r1", 1), ("b1", "r1", 2), ("b2", "r1", 2)),
    ),
    Sequence(
        "another-resource-under-a-booked-id",
        Rule.PROGRAMMING_ERROR,
        _room(3),
        _asking(("b1", "r1", 1), ("b1", "r2", 1), ("b2", "r2", 1)),
    ),
    Sequence(
        "inconsistent-counts-more-than-full",
        Rule.PROGRAMMING_ERROR,
        _room(1, b1=1),
        _asking(("b1", "r1", 2)),
    ),
    Sequence("asks-for-nothing", Rule.PROGRAMMING_ERROR, _room(3), _asking(("b1", "r1", 0))),
    Sequence("asks-for-less", Rule.PROGRAMMING_ERROR, _room(3), _asking(("b1", "r1", -1))),
    Sequence("an-unknown-resource", Rule.PROGRAMMING_ERROR, _room(3), _asking(("b1", "r9", 1))),
    Sequence(
        "resources-have-room-of-their-own",
        Rule.CAPACITY,
        _room(1),
        _asking(("b1", "r1", 1), ("b2", "r2", 1), ("b3", "r2", 1)),
    ),
)

STORIES = (
    Story(
        "two-callers-one-seat",
        Rule.CAPACITY,
        "two-for-one",
        "b1.1 INVOKE; b2.1 INVOKE; b1.1 OBSERVE; b2.1 OBSERVE; b1.1 PERSIST; b2.1 PERSIST;"
        "b1.1 LAND; b1.1 EMIT; b2.1 REFUSE REJECTED; b2.1 EMIT",
    ),
    Story(
        "a-stale-read-is-rejected",
        Rule.REJECTED,
        "two-for-one",
        "b1.1 INVOKE; b1.1 OBSERVE; b2.1 INVOKE; b2.1 OBSERVE; b2.1 PERSIST; b2.1 LAND; b2.1 EMIT;"
        "b1.1 PERSIST; b1.1 REFUSE REJECTED; b1.1 EMIT",
    ),
    Story(
        "one-after-the-other",
        Rule.DETERMINISM,
        "two-for-one",
        "b1.1 INVOKE; b1.1 OBSERVE; b1.1 PERSIST; b1.1 LAND; b1.1 EMIT;"
        "b2.1 INVOKE; b2.1 OBSERVE; b2.1 EMIT",
    ),
    Story(
        "a-conflict-is-repeated",
        Rule.CONFLICT,
        "two-for-one",
        "b1.1 INVOKE; b1.1 OBSERVE; b2.1 INVOKE; b2.1 OBSERVE; b1.1 PERSIST; b2.1 PERSIST;"
        "b1.1 LAND; b2.1 REFUSE CONFLICT; b1.1 EMIT; b2.1 EMIT; b2.1 FENCE;"
        "b2.2 REPEAT; b2.2 OBSERVE; b2.2 EMIT",
    ),
    Story(
        "two-callers-one-id",
        Rule.ONE_ID,
        "one-id-twice",
        "b1.1 INVOKE; b1.2 INVOKE; b1.1 OBSERVE; b1.2 OBSERVE; b1.1 PERSIST; b1.2 PERSIST;"
        "b1.1 LAND; b1.2 REFUSE BOOKED; b1.1 EMIT; b1.2 EMIT",
    ),
    Story(
        "in-doubt-and-landed",
        Rule.REVELATION,
        "alone",
        "b1.1 INVOKE; b1.1 OBSERVE; b1.1 PERSIST; b1.1 LAND; b1.1 LOSE_ANSWER; b1.1 EMIT;"
        "b1.2 REPEAT; b1.2 OBSERVE; b1.2 EMIT; b1.1 FENCE",
    ),
    Story(
        "in-doubt-and-never-arrived",
        Rule.REVELATION,
        "alone",
        "b1.1 INVOKE; b1.1 OBSERVE; b1.1 PERSIST; b1.1 LOSE_REQUEST; b1.1 EMIT; b1.1 FENCE;"
        "b1.2 REPEAT; b1.2 OBSERVE; b1.2 PERSIST; b1.2 LAND; b1.2 EMIT",
    ),
    Story(
        "in-doubt-and-lands-late",
        Rule.IN_DOUBT,
        "alone",
        "b1.1 INVOKE; b1.1 OBSERVE; b1.1 PERSIST; b1.1 TIME_OUT; b1.1 EMIT; b1.1 LAND_LATE;"
        "b1.1 FENCE; b1.2 REPEAT; b1.2 OBSERVE; b1.2 EMIT",
    ),
    Story(
        "in-doubt-and-overtaken-by-its-repetition",
        Rule.REVELATION,
        "alone",
        "b1.1 INVOKE; b1.1 OBSERVE; b1.1 PERSIST; b1.1 TIME_OUT; b1.1 EMIT;"
        "b1.2 REPEAT; b1.2 OBSERVE; b1.2 PERSIST; b1.2 LAND; b1.2 EMIT; b1.1 FENCE",
    ),
    Story(
        "in-doubt-and-the-seat-is-taken",
        Rule.REVELATION,
        "two-for-one",
        "b1.1 INVOKE; b1.1 OBSERVE; b1.1 PERSIST; b1.1 TIME_OUT; b1.1 EMIT; b2.1 INVOKE;"
        "b2.1 OBSERVE; b2.1 PERSIST; b2.1 LAND; b2.1 EMIT; b1.1 FENCE;"
        "b1.2 REPEAT; b1.2 OBSERVE; b1.2 EMIT",
    ),
    Story(
        "lost-before-the-commit-is-no-doubt",
        Rule.INFRASTRUCTURE,
        "alone",
        "b1.1 INVOKE; b1.1 OBSERVE; b1.1 LOSE_REQUEST; b1.1 EMIT; b1.1 FENCE;"
        "b1.2 REPEAT; b1.2 OBSERVE; b1.2 PERSIST; b1.2 LAND; b1.2 EMIT",
    ),
    Story(
        "committed-before-the-crash",
        Rule.BOOKED,
        "crash",
        "b1.1 INVOKE; b1.1 OBSERVE; b1.1 PERSIST; b1.1 LAND; b1.1 EMIT; b2.1 INVOKE; CRASH;"
        "b2.1 EMIT; b2.1 FENCE; b2.2 REPEAT; b2.2 OBSERVE; b2.2 EMIT",
    ),
    Story(
        "nobody-disturbs-another-resource",
        Rule.CONFLICT,
        "two-resources",
        "b1.1 INVOKE; b2.1 INVOKE; b1.1 OBSERVE; b2.1 OBSERVE; b1.1 PERSIST; b1.1 LAND; b1.1 EMIT;"
        "b2.1 EMIT",
    ),
)
