"""What must always hold in the model, and what must sometimes happen.

Every property is a sentence about one transition: the shared part and one claim before it, and the
same after it. That is enough, since bookings are only ever added: what is booked never shrinks, so
that a rejection was justified at some moment of its attempt iff it still is when it is emitted.

What needs more than one transition is not here: that nobody hangs is a property of dead ends (the
search looks for them), and that a whole history is legal is left to the judge of histories.
"""

from __future__ import annotations

from collections.abc import Callable

from attrs import evolve, frozen

from lastseat.spec.life import Life
from lastseat.spec.resource import Verdict, decide
from lastseat.spec.vocabulary import BOOKED, CONFLICT, IN_DOUBT, INFRASTRUCTURE, REJECTED, Answer
from lastseat.spec.world import (
    EFFECTS,
    INVOCATIONS,
    Attempt,
    Claim,
    Commit,
    Ledger,
    Move,
    Shared,
    Stage,
)


@frozen
class Edge:
    """One transition, as far as it concerns one claim."""

    life: Life
    shared: Shared
    claim: Claim
    move: Move
    slot: int
    answer: Answer | None
    shared_after: Shared
    claim_after: Claim

    @property
    def attempt(self) -> Attempt | None:
        """The attempt that moves, as it stands before; None at an invocation and at the crash."""
        if self.move in INVOCATIONS or self.move is Move.CRASH:
            return None
        return self.claim.live[self.slot]

    @property
    def ledger(self) -> Ledger:
        """The claim's resource, before the transition."""
        return self.shared.ledgers[self.claim.resource]

    @property
    def ledger_after(self) -> Ledger:
        """The claim's resource, after it."""
        return self.shared_after.ledgers[self.claim.resource]

    def emits(self, *answers: Answer) -> bool:
        """Whether it is the emission of one of these."""
        return self.move is Move.EMIT and self.answer in answers

    def refuses(self, answer: Answer) -> bool:
        """Whether the database answers so, having changed nothing."""
        return self.move is Move.REFUSE and self.answer == answer

    def commit(self) -> Commit | None:
        """What had become of the attempt's commit before the transition."""
        return None if self.attempt is None else self.attempt.commit


@frozen
class Always:
    """A property of every transition."""

    name: str
    sentence: str
    holds: Callable[[Edge], bool]


@frozen
class Sometimes:
    """Something that some transition must show, in scopes that have what it ``needs``.

    A property that is never reached means that the search did not look where it should have.
    """

    name: str
    happens: Callable[[Edge], bool]
    needs: frozenset[str] = frozenset()


def within_capacity(edge: Edge) -> bool:
    return edge.ledger_after.booked <= edge.ledger_after.capacity


def counter_is_sum(edge: Edge) -> bool:
    added = edge.claim.units * (edge.claim_after.rows - edge.claim.rows)
    return edge.ledger_after.booked - edge.ledger.booked == added


def one_booking(edge: Edge) -> bool:
    return edge.claim_after.rows <= 1


def never_lost(edge: Edge) -> bool:
    return edge.claim_after.rows >= edge.claim.rows


def booked_exists(edge: Edge) -> bool:
    return not edge.emits(BOOKED) or edge.claim.rows >= 1


def rejected_justified(edge: Edge) -> bool:
    if not edge.emits(REJECTED):
        return True
    full = edge.ledger.booked + edge.claim.units > edge.ledger.capacity
    return full and edge.claim.rows == 0


def no_effect_of(*answers: Answer) -> Callable[[Edge], bool]:
    def holds(edge: Edge) -> bool:
        return not edge.emits(*answers) or edge.commit() not in (Commit.IN_FLIGHT, Commit.LANDED)

    return holds


def doubt_not_denied(edge: Edge) -> bool:
    return not edge.emits(INFRASTRUCTURE) or edge.commit() is Commit.UNSENT


def doubt_not_feigned(edge: Edge) -> bool:
    return not edge.emits(IN_DOUBT) or edge.commit() is not Commit.UNSENT


def conflict_justified(edge: Edge) -> bool:
    return not edge.refuses(CONFLICT) or edge.ledger.active > 1 or overtaken(edge)


def winner_named(edge: Edge) -> bool:
    return "winner" not in edge.life.promises or not edge.refuses(CONFLICT) or overtaken(edge)


def overtaken(edge: Edge) -> bool:
    """Whether somebody has committed since the attempt's reading."""
    seen = edge.attempt and edge.attempt.seen
    return seen is not None and seen != edge.ledger.version


def one_answer(edge: Edge) -> bool:
    told = edge.claim_after.told
    return not {BOOKED, REJECTED} <= told


def revealed(edge: Edge) -> bool:
    told = edge.claim_after.told
    rows = edge.claim_after.rows
    return (BOOKED not in told or rows == 1) and (REJECTED not in told or rows == 0)


def one_outcome(edge: Edge) -> bool:
    if edge.move is not Move.EMIT or edge.attempt is None:
        return True
    left = len(edge.claim_after.live) == len(edge.claim.live)
    over = not left or edge.claim_after.live[edge.slot].stage is Stage.GONE
    return over and edge.attempt.stage is not Stage.GONE


def failures_pass(edge: Edge) -> bool:
    """Once all is quiet and no fault is left, this request, repeated, is answered for good."""
    quiet = not any(ledger.active for ledger in edge.shared_after.ledgers)
    claim = edge.claim_after
    if not quiet or claim.live or claim.invoked < claim.callers:
        return True
    shared = evolve(edge.shared_after, faults=0, crashes=0, repeats=1)
    ledger = edge.ledger_after
    claim = evolve(claim, told=frozenset())
    held = claim.units if claim.rows else None
    verdict = decide(ledger.capacity, ledger.booked, held, False, claim.units)
    due = REJECTED if verdict is Verdict.FULL else BOOKED
    return alone(edge.life, shared, claim) == {due}


def alone(life: Life, shared: Shared, claim: Claim) -> set[Answer | None]:
    """Every answer that one more attempt of ``claim`` can end with alone; None: it hangs."""
    answers: set[Answer | None] = set()
    todo = [(shared, claim)]
    while todo:
        here = todo.pop()
        steps = list(life.moves(*here))
        answers |= {step.answer for step in steps if step.move is Move.EMIT}
        todo += [(s.shared, s.claim) for s in steps if s.move is not Move.EMIT]
        if not steps:
            answers.add(None)
    return answers


ALWAYS = (
    Always("capacity", "the units booked never exceed the capacity", within_capacity),
    Always("one id, one booking", "an id is booked at most once", one_booking),
    Always("never lost", "a booking that exists goes on existing, whatever crashes", never_lost),
    Always("counter", "the counter changes by what is booked, and only then", counter_is_sum),
    Always("BOOKED exists", "BOOKED is emitted only when the booking exists", booked_exists),
    Always(
        "REJECTED justified",
        "REJECTED is emitted only when there was no room and the id was not booked",
        rejected_justified,
    ),
    Always("REJECTED without effect", "its commit cannot land, ever", no_effect_of(REJECTED)),
    Always("CONFLICT without effect", "its commit cannot land, ever", no_effect_of(CONFLICT)),
    Always("doubt not denied", "a failure whose commit was sent is in doubt", doubt_not_denied),
    Always("doubt not feigned", "a failure without a commit is not in doubt", doubt_not_feigned),
    Always(
        "CONFLICT justified",
        "a conflict that the server did not report has another attempt at work beside it",
        conflict_justified,
    ),
    Always(
        "winner",
        "where it is promised, a conflict has a commit between the reading and the write",
        winner_named,
    ),
    Always("one answer", "one request is never answered both BOOKED and REJECTED", one_answer),
    Always(
        "revelation",
        "an id told BOOKED is booked once from then on, an id told REJECTED never",
        revealed,
    ),
    Always("one outcome", "an attempt emits once, and does nothing after it", one_outcome),
    Always(
        "transience",
        "once all is quiet, one more attempt is BOOKED or REJECTED, as the sequential step says",
        failures_pass,
    ),
)

NOBODY_HANGS = Always(
    "nobody hangs", "where nothing more can happen, every attempt has emitted", lambda _: True
)
"""Not about transitions: the search asks it of every dead end."""

FAULT, REPEAT, TWINS, CRASH, SCARCE = (
    frozenset({word}) for word in ("fault", "repeat", "twins", "crash", "scarce")
)


def repeated(edge: Edge, answer: Answer) -> bool:
    """An id that was in doubt is answered; not by a commit of the attempt itself."""
    doubted = IN_DOUBT in edge.claim.told and edge.commit() is not Commit.LANDED
    return edge.emits(answer) and doubted


SOMETIMES = (
    Sometimes("BOOKED", lambda e: e.emits(BOOKED)),
    Sometimes("REJECTED", lambda e: e.emits(REJECTED), SCARCE),
    Sometimes("FAILED(CONFLICT)", lambda e: e.emits(CONFLICT)),
    Sometimes("FAILED(INFRASTRUCTURE)", lambda e: e.emits(INFRASTRUCTURE), FAULT),
    Sometimes("FAILED(INFRASTRUCTURE, in doubt)", lambda e: e.emits(IN_DOUBT), FAULT),
    Sometimes(
        "doubt that landed before it was emitted",
        lambda e: e.emits(IN_DOUBT) and e.commit() is Commit.LANDED,
        FAULT,
    ),
    Sometimes(
        "doubt that landed late",
        lambda e: e.move is Move.LAND_LATE and e.attempt is not None and e.claim.told == {IN_DOUBT},
        FAULT,
    ),
    Sometimes(
        "doubt that never landed",
        lambda e: e.move is Move.FENCE and e.commit() is Commit.IN_FLIGHT,
        FAULT,
    ),
    Sometimes("a conflict that the server reported", lambda e: e.move is Move.REPORT, FAULT),
    Sometimes(
        "a commit that the server's crash cut off",
        lambda e: e.move is Move.CRASH and any(a.commit is Commit.IN_FLIGHT for a in e.claim.live),
        CRASH,
    ),
    Sometimes(
        "a booking whose confirmation the server's crash cut off",
        lambda e: e.move is Move.CRASH and any(a.commit is Commit.LANDED for a in e.claim.live),
        CRASH,
    ),
    Sometimes(
        "a stale read that led to a rejection",
        lambda e: e.refuses(REJECTED) and e.attempt is not None and e.attempt.seen is not None,
        SCARCE,
    ),
    Sometimes("a version mismatch", lambda e: e.refuses(CONFLICT) and overtaken(e)),
    Sometimes("a lock that was not available", lambda e: e.refuses(CONFLICT) and e.ledger.locked),
    Sometimes(
        "a lock that outlived its attempt's answer",
        lambda e: e.move is Move.EMIT and any(a.holds for a in e.claim_after.live),
        FAULT,
    ),
    Sometimes("doubt resolved: repeated and BOOKED", lambda e: repeated(e, BOOKED), FAULT | REPEAT),
    Sometimes(
        "doubt resolved: repeated and REJECTED",
        lambda e: repeated(e, REJECTED),
        FAULT | REPEAT | SCARCE,
    ),
    Sometimes(
        "an id answered BOOKED by a booking that another attempt made",
        lambda e: e.emits(BOOKED) and BOOKED in e.claim.told,
        TWINS,
    ),
    Sometimes(
        "an effect while another attempt is at work",
        lambda e: e.move in EFFECTS and e.ledger.active > 1,
    ),
)

BEYOND: dict[str, frozenset[str]] = {
    "abstract": frozenset(
        {
            "a version mismatch",
            "a lock that was not available",
            "a lock that outlived its attempt's answer",
        }
    ),
    "optimistic": frozenset(
        {"a stale read that led to a rejection", "a lock that was not available"}
    ),
    "locking": frozenset({"a stale read that led to a rejection", "a version mismatch"}),
    "single statement": frozenset(
        {
            "a stale read that led to a rejection",
            "a version mismatch",
            "a lock that was not available",
            "a lock that outlived its attempt's answer",
        }
    ),
}
"""What a life cannot show, because it knows no versions, takes no locks or never reads first.

A search fails as well when one of these does happen: then the life is not what it says.
"""
