"""Scenarios: which attempts meet on which resources. Data only; who goes when is a schedule."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import field, frozen

from lastseat.spec.vocabulary import Request

CLIENTS = ("alice", "bob", "carol", "dave")


class UnknownScenario(Exception):
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
    ),
    Scenario(
        "room-for-both",
        "two callers and two seats: nobody may be told that it is full",
        {"r1": 2},
        {"alice": (_ask("b1"),), "bob": (_ask("b2"),)},
    ),
    Scenario(
        "mixed-units",
        "either fits, both do not: what is compared is units, not bookings",
        {"r1": 3},
        {"alice": (_ask("b1", 2),), "bob": (_ask("b2", 2),)},
    ),
    Scenario(
        "nearly-full",
        "one seat of three is left, and an over-demand beside it",
        {"r1": 3},
        {"alice": (_ask("b1", 1),), "bob": (_ask("b2", 2),)},
        prior=(_ask("b0", 2),),
    ),
    Scenario(
        "same-id-at-once",
        "one booking is asked for twice at the same time: it is made once",
        {"r1": 3},
        {"alice": (_ask("b1"),), "bob": (_ask("b1"),)},
        faults=("round-robin", "overtaken"),
    ),
    Scenario(
        "same-id-last-seat",
        "one booking is asked for twice, and it takes the last seat: nobody is rejected",
        {"r1": 1},
        {"alice": (_ask("b1"),), "bob": (_ask("b1"),)},
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
    ),
    Scenario(
        "id-reused",
        "an id that is booked is asked for otherwise: an exception, and nothing changes",
        {"r1": 5, "r2": 5},
        {"alice": (_ask("b1", 2), _ask("b1", 1), _ask("b1", 2, "r2"), _ask("b1", 2))},
    ),
    Scenario(
        "nothing-to-sell",
        "capacity nought: every caller is rejected",
        {"r1": 0},
        {"alice": (_ask("b1"),), "bob": (_ask("b2"),)},
    ),
    Scenario(
        "two-resources",
        "callers that ask for different resources do not disturb each other's outcome",
        {"r1": 1, "r2": 1},
        {"alice": (_ask("b1"),), "bob": (_ask("b2", 1, "r2"),)},
    ),
)

WARM_UP = Scenario(
    "warm-up",
    "ten attempts each: drivers prepare a statement when they have seen it often enough",
    dict.fromkeys(CLIENTS, 20),
    {name: tuple(_ask(f"w-{name}-{i}", 1, name) for i in range(10)) for name in CLIENTS},
)


def named(name: str) -> Scenario:
    """The scenario of that name; raises UnknownScenario."""
    for scenario in SCENARIOS:
        if scenario.name == name:
            return scenario
    raise UnknownScenario(
        f"there is no scenario {name!r}; there are {', '.join(s.name for s in SCENARIOS)}"
    )
