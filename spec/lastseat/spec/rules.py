"""The promises about outcomes, one sentence each, and what a judgement on them consists of."""

from __future__ import annotations

import enum

from attrs import frozen


class Rule(enum.Enum):
    """A promise; ``value`` is its stable short name."""

    CAPACITY = "capacity"
    COUNTER = "counter"
    ONE_OUTCOME = "one outcome"
    BOOKED = "BOOKED"
    REJECTED = "REJECTED"
    CONFLICT = "CONFLICT"
    INFRASTRUCTURE = "INFRASTRUCTURE"
    IN_DOUBT = "in doubt"
    ONE_ID = "one id"
    REVELATION = "revelation"
    TRANSIENCE = "transience"
    DETERMINISM = "determinism"
    PROGRAMMING_ERROR = "programming error"

    @property
    def sentence(self) -> str:
        """What is promised."""
        return _SENTENCES[self]


_SENTENCES = {
    Rule.CAPACITY: "In every committed state the bookings of a resource fit its capacity.",
    Rule.COUNTER: "A counter beside the bookings equals the sum of their units in every snapshot.",
    Rule.ONE_OUTCOME: "Every attempt emits one outcome, or raises, by its deadline plus its grace.",
    Rule.BOOKED: (
        "The booking exists exactly once, with the units asked for, from some moment at or before "
        "the emission, and is never lost."
    ),
    Rule.REJECTED: (
        "At some moment of the attempt the units did not fit and its id was not booked; the "
        "attempt never has an effect."
    ),
    Rule.CONFLICT: (
        "The attempt never has an effect, and the server reported a conflict to it or another "
        "attempt on its resource overlapped it; a mechanism that promises a winner has one."
    ),
    Rule.INFRASTRUCTURE: (
        "The failure is justified by evidence that reached this attempt; unless it is in doubt, "
        "the attempt never has an effect."
    ),
    Rule.IN_DOUBT: (
        "The attempt's commit was sent and no definite answer came back; its effect is whole, and "
        "comes after the commit was sent and before the fence, at most once."
    ),
    Rule.ONE_ID: (
        "Attempts of one booking id reserve at most once, and one request is never answered both "
        "BOOKED and REJECTED."
    ),
    Rule.REVELATION: (
        "After an attempt in doubt, the same request BOOKED means that exactly one booking ever "
        "exists, REJECTED that none ever does."
    ),
    Rule.TRANSIENCE: (
        "Once the faults have ended, and after one failed attempt for each connection that they "
        "broke, an attempt that nothing overlaps is BOOKED or REJECTED again."
    ),
    Rule.DETERMINISM: (
        "What reached an attempt shows in its answer; if nothing did and nothing overlapped it, "
        "the answer follows from the bookings and the request."
    ),
    Rule.PROGRAMMING_ERROR: (
        "A malformed or inconsistent request and an unknown resource are raised, never an outcome, "
        "and leave no trace; nothing else is raised without need."
    ),
}


@frozen
class Violation:
    """A broken promise: which attempts broke it, and the smallest evidence in words."""

    rule: Rule
    attempts: tuple[str, ...]
    resource: str | None
    explanation: str
    inequality: str | None = None
    """What fails, with its numbers, as far as the rule is an inequality."""
    fact: bool = False
    """Whether committed states and answers prove it by themselves: what was sent when, and what
    reached whom, is not needed to know it. A fact convicts at once; anything else must repeat."""

    def __str__(self) -> str:
        names = ", ".join(self.attempts)
        return f"{self.rule.value}{f' ({names})' if names else ''}: {self.explanation}"


@frozen
class Judgement:
    """What is broken, and what could not be judged because the evidence was not recorded."""

    violations: tuple[Violation, ...]
    not_judged: tuple[str, ...]
    undecided: tuple[str, ...] = ()
    """What was recorded, and is more than the judge could find out."""

    @property
    def legal(self) -> bool:
        """No promise is broken, as far as it could be judged."""
        return not self.violations
