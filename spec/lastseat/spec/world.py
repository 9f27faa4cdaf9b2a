"""A world in which attempts live: what it consists of, and the words for what can happen in it.

A :class:`World` is what all attempts share and, for each booking id, a :class:`Claim`. No move
looks at more than the shared part and one claim (the crash, which hits all alike, is the
exception), and a claim's place among the others means nothing.
"""

from __future__ import annotations

import enum

from attrs import evolve, field, frozen

from lastseat.spec.resource import Verdict, decide
from lastseat.spec.vocabulary import Answer


class Move(enum.Enum):
    """What can happen; the value says it in words."""

    INVOKE = "is invoked"
    REPEAT = "is invoked again with the same id"
    OBSERVE = "reads the resource and proposes"
    LOCK = "takes the lock of the resource, reads it and proposes"
    WRITE = "writes, uncommitted, because the version it read still stands"
    PERSIST = "hands its commit to the connection"
    LAND = "commits: the booking exists"
    REFUSE = "changes nothing; the database answers"
    EMIT = "emits"

    LOSE_REQUEST = "loses its connection: what it had sent never arrives"
    LOSE_ANSWER = "loses its connection: the answer never arrives"
    TIME_OUT = "runs into its deadline while its commit is under way"
    REPORT = "is told by the server of a conflict (a serialization failure, a deadlock)"
    CRASH = "the server crashes and recovers"
    LAND_LATE = "given up by its caller, commits after all: the booking exists"
    FENCE = "is fenced: its server process is gone"


INVOCATIONS = frozenset({Move.INVOKE, Move.REPEAT})
EFFECTS = frozenset({Move.LAND, Move.LAND_LATE})
FAULTS = frozenset({Move.LOSE_REQUEST, Move.LOSE_ANSWER, Move.TIME_OUT, Move.REPORT})
"""Each hits one attempt, and costs one of the faults that a world has left."""


class Stage(enum.Enum):
    """How far an attempt has come."""

    RUNNING = "running"
    OBSERVED = "has seen room"
    WRITTEN = "has an open transaction that wrote"
    """Only in lives that write and commit in two steps."""
    PERSISTING = "waits for the answer to its commit"
    ANSWERED = "the deciding answer is on its way"
    BROKEN = "will not learn its answer"
    GONE = "has emitted, but its server process may live"


class Commit(enum.Enum):
    """What became of the attempt's commit."""

    UNSENT = "not sent"
    IN_FLIGHT = "sent, not yet arbitrated"
    LANDED = "took effect"
    NEVER = "sent, and can have no effect any more"


@frozen
class Attempt:
    """One execution of the use case, between its invocation and the end of its server process."""

    stage: Stage = Stage.RUNNING
    commit: Commit = Commit.UNSENT
    verdict: Answer | None = None
    """In ANSWERED: the answer that is on its way."""
    seen: int | None = None
    """Once room has been read: the version at which it was read."""
    holds: bool = False
    """Whether its transaction holds the lock of the resource, in lives that lock."""


@frozen
class Claim:
    """One booking id: its request, its rows in the database, its attempts, what they were told."""

    resource: int
    units: int
    callers: int = 1
    """How many use the id, each with one attempt to begin with; more than one may do so at once."""
    invoked: int = 0
    """How many of them have begun."""
    rows: int = 0
    """Bookings that exist under this id. More than one would be a violation."""
    told: frozenset[Answer] = frozenset()
    """Which of BOOKED, REJECTED and IN_DOUBT was ever emitted for this id."""
    live: tuple[Attempt, ...] = ()
    """In the order of their invocation; whoever has emitted and is gone for good is left out."""


@frozen
class Ledger:
    """What is common to all claims on one resource."""

    capacity: int
    booked: int = 0
    active: int = 0
    """Attempts that are invoked and have not emitted, or whose server process may still live."""
    version: int = 0
    locked: bool = False


@frozen
class Shared:
    """Everything that is not one claim's own: the resources, and the budgets of the scope."""

    ledgers: tuple[Ledger, ...]
    faults: int = 0
    crashes: int = 0
    repeats: int = 0


@frozen
class World:
    """A global state: the shared part and the claims."""

    shared: Shared
    claims: tuple[Claim, ...]


@frozen
class Action:
    """One transition's label: who does what. ``answer`` speaks of REFUSE and EMIT only."""

    move: Move
    claim: int | None = None
    """The claim's place in the world; None: it happens to all."""
    slot: int = 0
    """The attempt's place in the claim's ``live``, before the move."""
    answer: Answer | None = None


@frozen
class Step:
    """A move of one claim, with the shared part and the claim as it leaves them."""

    move: Move
    slot: int
    answer: Answer | None
    shared: Shared
    claim: Claim


@frozen
class Moment:
    """One attempt in its surroundings; the moves below are sentences about it."""

    shared: Shared
    claim: Claim
    slot: int
    attempt: Attempt = field(init=False)
    ledger: Ledger = field(init=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "attempt", self.claim.live[self.slot])
        object.__setattr__(self, "ledger", self.shared.ledgers[self.claim.resource])

    def verdict(self) -> Verdict:
        """What the sequential step says of the request, were it executed now."""
        held = self.claim.units * self.claim.rows if self.claim.rows else None
        return decide(self.ledger.capacity, self.ledger.booked, held, False, self.claim.units)

    def then(self, move: Move, attempt: Attempt | None, answer: Answer | None = None) -> Step:
        """The step after which the attempt stands as given; None: nothing is left of it.

        Locks follow the attempt: the ledger is locked when it comes to hold the lock, and unlocked
        when it no longer does.
        """
        live = list(self.claim.live)
        live[self.slot : self.slot + 1] = [] if attempt is None else [attempt]
        holds = attempt is not None and attempt.holds
        ledger = self.ledger
        if holds != self.attempt.holds:
            ledger = evolve(ledger, locked=holds)
        if attempt is None:
            ledger = evolve(ledger, active=ledger.active - 1)
        shared = evolve(
            with_ledger(self.shared, self.claim.resource, ledger),
            faults=self.shared.faults - (move in FAULTS),
        )
        return Step(move, self.slot, answer, shared, evolve(self.claim, live=tuple(live)))

    def land(self, move: Move, attempt: Attempt) -> Step:
        """The effect: the booking comes to exist, in one atomic moment."""
        step = self.then(move, attempt)
        ledger = step.shared.ledgers[self.claim.resource]
        ledger = evolve(ledger, booked=ledger.booked + self.claim.units)
        return evolve(
            step,
            shared=with_ledger(step.shared, self.claim.resource, ledger),
            claim=evolve(step.claim, rows=step.claim.rows + 1),
        )


def with_ledger(shared: Shared, index: int, ledger: Ledger) -> Shared:
    """``shared`` with one ledger replaced."""
    ledgers = (*shared.ledgers[:index], ledger, *shared.ledgers[index + 1 :])
    return evolve(shared, ledgers=ledgers)
