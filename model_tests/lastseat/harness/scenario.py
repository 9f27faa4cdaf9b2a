"""Scenarios: which attempts meet on which resources. Data only; who goes when is a schedule."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from attrs import field, frozen

from lastseat.harness.mistakes import Mistake
from lastseat.spec.vocabulary import Request

CLIENTS = ("alice", "bob", "carol", "dave")


class UnknownScenario(Mistake):
    """No scenario has that name; the message lists those that are."""


@frozen
class Scenario:
    """``attempts`` maps each client to what it asks for, in turn.

    ``prior`` are bookings made before anything is observed, by attempts outside the gate.
    """

    name: str
    why: str
    capacities: Mapping[str, int]
    attempts: Mapping[str, tuple[Request, ...]]
    prior: tuple[Request, ...] = ()
    deadlines: Mapping[str, int] = field(factory=dict, kw_only=True)
    """In milliseconds, of clients that are given less time than others, so that they give up."""
    quick: bool = field(default=False, kw_only=True)
    """Is it looked at in the quick profile, too?"""
    small: bool = field(default=True, kw_only=True)
    """Can all its interleavings be run? Others are for drawing some."""
    faults: tuple[str, ...] = field(default=(), kw_only=True)
    """The schedules in which it is run with faults, too, at every turn: see ``sweep.BASES``."""


def _ask(booking_id: str, units: int = 1, resource_id: str = "r1") -> Request:
    return Request(booking_id, resource_id, units)


SCENARIOS: tuple[Scenario, ...] = (
    Scenario(
        "last-seat",
        "two callers, one seat: one is booked, the other is not",
        {"r1": 1},
        {"alice": (_ask("b1"),), "bob": (_ask("b2"),)},
        faults=("in-turn", "overtaken"),
        quick=True,
    ),
    Scenario(
        "room-for-both",
        "two callers and two seats: nobody may be told that it is full",
        {"r1": 2},
        {"alice": (_ask("b1"),), "bob": (_ask("b2"),)},
        quick=True,
    ),
    Scenario(
        "mixed-units",
        "either fits, both do not: what is compared is units, not bookings",
        {"r1": 3},
        {"alice": (_ask("b1", 2),), "bob": (_ask("b2", 2),)},
        quick=True,
    ),
    Scenario(
        "nearly-full",
        "one seat of three is left, and an over-demand beside it",
        {"r1": 3},
        {"alice": (_ask("b1", 1),), "bob": (_ask("b2", 2),)},
        prior=(_ask("b0", 2),),
        quick=True,
    ),
    Scenario(
        "same-id-at-once",
        "one booking is asked for twice at the same time: it is made once",
        {"r1": 3},
        {"alice": (_ask("b1"),), "bob": (_ask("b1"),)},
        faults=("round-robin", "overtaken"),
        quick=True,
    ),
    Scenario(
        "same-id-last-seat",
        "one booking is asked for twice, and it takes the last seat: nobody is rejected",
        {"r1": 1},
        {"alice": (_ask("b1"),), "bob": (_ask("b1"),)},
        quick=True,
    ),
    Scenario(
        "in-turn",
        "one caller alone: booked, repeated, over-demanded, booked to the last, rejected",
        {"r1": 3},
        {
            "alice": (
                _ask("b1", 2),
                _ask("b1", 2),
                _ask("b2", 2),
                _ask("b2", 1),
                _ask("b3", 1),
                _ask("b1", 2),
            )
        },
        quick=True,
    ),
    Scenario(
        "id-reused",
        "an id that is booked is asked for otherwise: an exception, and nothing changes",
        {"r1": 5, "r2": 5},
        {"alice": (_ask("b1", 2), _ask("b1", 1), _ask("b1", 2, "r2"), _ask("b1", 2))},
        quick=True,
    ),
    Scenario(
        "nothing-to-sell",
        "capacity nought: every caller is rejected",
        {"r1": 0},
        {"alice": (_ask("b1"),), "bob": (_ask("b2"),)},
        quick=True,
    ),
    Scenario(
        "two-resources",
        "callers that ask for different resources do not disturb each other's outcome",
        {"r1": 1, "r2": 1},
        {"alice": (_ask("b1"),), "bob": (_ask("b2", 1, "r2"),)},
        quick=True,
    ),
    Scenario(
        "exact-fit",
        "what is left is asked for to the last unit: it is given, and then nothing more",
        {"r1": 4},
        {"alice": (_ask("b1", 3),), "bob": (_ask("b2", 1),), "carol": (_ask("b3", 1),)},
    ),
    Scenario(
        "over-demand",
        "more is asked for than there ever was: rejected, and in nobody's way",
        {"r1": 2},
        {"alice": (_ask("b1", 3),), "bob": (_ask("b2", 2),)},
        quick=True,
    ),
    Scenario(
        "one-too-many",
        "three callers for two seats",
        {"r1": 2},
        {"alice": (_ask("b1"),), "bob": (_ask("b2"),), "carol": (_ask("b3"),)},
    ),
    Scenario(
        "three-for-one",
        "three callers, one seat: who waits behind whom is not told by the order of asking",
        {"r1": 1},
        {"alice": (_ask("b1"),), "bob": (_ask("b2"),), "carol": (_ask("b3"),)},
    ),
    Scenario(
        "room-for-three",
        "three callers and three seats: whoever is rejected was lied to",
        {"r1": 3},
        {"alice": (_ask("b1"),), "bob": (_ask("b2"),), "carol": (_ask("b3"),)},
    ),
    Scenario(
        "mixed-units-of-three",
        "any two of three fit, in one pairing only: 2 and 1, but not 2 and 2",
        {"r1": 3},
        {"alice": (_ask("b1", 2),), "bob": (_ask("b2", 2),), "carol": (_ask("b3", 1),)},
    ),
    Scenario(
        "same-id-one-unit-left",
        "one booking is asked for twice and another one once, and there is one unit",
        {"r1": 1},
        {"alice": (_ask("b1"),), "bob": (_ask("b1"),), "carol": (_ask("b2"),)},
    ),
    Scenario(
        "same-id-in-turn",
        "a booking is made and asked for again by its caller, while the last unit is contended for",
        {"r1": 2},
        {"alice": (_ask("b1"), _ask("b1")), "bob": (_ask("b2"),)},
        quick=True,
    ),
    Scenario(
        "asked-again-when-full",
        "what is booked stays booked: asked for again when nothing is left, beside a rejection",
        {"r1": 1},
        {"alice": (_ask("b1"), _ask("b2")), "bob": (_ask("b1"),)},
        quick=True,
    ),
    Scenario(
        "rejected-then-less",
        "an id binds when it is booked: too much is asked for under it, then what there is",
        {"r1": 2},
        {"alice": (_ask("b1", 2), _ask("b1", 1)), "bob": (_ask("b2", 1),)},
    ),
    Scenario(
        "id-contended",
        "one id for two different requests at once: they cannot both be booked",
        {"r1": 5},
        {"alice": (_ask("b1", 1),), "bob": (_ask("b1", 2),)},
        quick=True,
    ),
    Scenario(
        "id-across-resources",
        "one id on two resources at once: no lock on either keeps them apart, only the key does",
        {"r1": 1, "r2": 1},
        {"alice": (_ask("b1", 1),), "bob": (_ask("b1", 1, "r2"),)},
        quick=True,
    ),
    Scenario(
        "two-resources-same-order",
        "two callers book on two resources, one after the other, in the same order",
        {"r1": 1, "r2": 1},
        {
            "alice": (_ask("a1"), _ask("a2", 1, "r2")),
            "bob": (_ask("b1"), _ask("b2", 1, "r2")),
        },
    ),
    Scenario(
        "two-resources-crossed",
        "two callers book on two resources in opposite order: nobody waits for who waits for him",
        {"r1": 1, "r2": 1},
        {
            "alice": (_ask("a1"), _ask("a2", 1, "r2")),
            "bob": (_ask("b2", 1, "r2"), _ask("b1")),
        },
    ),
    Scenario(
        "nothing-booked-yet",
        "an empty resource with room for one of two: there is no row of a booking to lock",
        {"r1": 5},
        {"alice": (_ask("b1", 3),), "bob": (_ask("b2", 3),)},
        quick=True,
    ),
    Scenario(
        "three-on-two-resources",
        "two callers contend, and a third one on another resource must not feel it",
        {"r1": 1, "r2": 1},
        {"alice": (_ask("b1"),), "bob": (_ask("b2"),), "carol": (_ask("b3", 1, "r2"),)},
    ),
    Scenario(
        "four-for-two",
        "four callers for two seats",
        {"r1": 2},
        {name: (_ask(f"b{n}"),) for n, name in enumerate(CLIENTS, start=1)},
        small=False,
    ),
    Scenario(
        "busy-day",
        "four callers, two resources, repetitions, over-demand and mixed units",
        {"r1": 3, "r2": 2},
        {
            "alice": (_ask("b1", 2), _ask("b5", 1, "r2"), _ask("b1", 2)),
            "bob": (_ask("b2", 2), _ask("b1", 2)),
            "carol": (_ask("b3", 1, "r2"), _ask("b2", 2)),
            "dave": (_ask("b4", 2, "r2"), _ask("b6", 4)),
        },
        small=False,
    ),
)


WRONG_IN_THEMSELVES: tuple[Scenario, ...] = (
    Scenario(
        "no-units",
        "nothing is asked for: an exception, and nothing changes",
        {"r1": 3},
        {"alice": (_ask("b1", 0), _ask("b2"))},
    ),
    Scenario(
        "fewer-units-than-none",
        "less than nothing is asked for, which would make room: an exception, and nothing changes",
        {"r1": 1},
        {"alice": (_ask("b1"), _ask("b2", -1), _ask("b3"))},
    ),
    Scenario(
        "unknown-resource",
        "there is no such resource: an exception, and nothing changes",
        {"r1": 1},
        {"alice": (_ask("b1", 1, "r2"), _ask("b2"))},
    ),
)
"""Requests that are no attempts at all: validation is not the subject, but they leave no trace."""


def warm_up(clients: Iterable[str] = CLIENTS) -> Scenario:
    """Before anything is observed, each client books for itself, often enough.

    Drivers connect at the first statement and ask for the types that they meet, and prepare a
    statement at its sixth execution.
    """
    asked = {name: tuple(_ask(f"w-{name}-{i}", 1, name) for i in range(10)) for name in clients}
    why = "ten attempts each: drivers prepare a statement when they have seen it often enough"
    return Scenario("warm-up", why, dict.fromkeys(asked, 20), asked)


def named(name: str) -> Scenario:
    """The scenario of that name; raises UnknownScenario."""
    for scenario in SCENARIOS:
        if scenario.name == name:
            return scenario
    raise UnknownScenario(
        f"there is no scenario {name!r}; there are {', '.join(s.name for s in SCENARIOS)}"
    )
