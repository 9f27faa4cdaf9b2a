"""Lives with one thing wrong each. A search that does not convict them proves nothing.

Each names the property that must convict it.
"""

from __future__ import annotations

from collections.abc import Iterator

from attrs import evolve, frozen

from lastseat.spec.life import Life, answered
from lastseat.spec.refinements import Locking, Optimistic, SingleStatement
from lastseat.spec.resource import Verdict
from lastseat.spec.vocabulary import BOOKED, CONFLICT, IN_DOUBT, INFRASTRUCTURE, REJECTED, Answer
from lastseat.spec.world import Attempt, Claim, Commit, Moment, Move, Shared, Stage, Step


class NoVersionCheck(Optimistic):
    """The write is not guarded by the version: two that saw the last unit both take it."""

    name = "no version check"

    def is_current(self, at: Moment) -> bool:
        return at.attempt.seen is not None


class NoLock(Locking):
    """The row is read without its lock, and what was read is trusted."""

    name = "no lock"

    def lock(self, at: Moment) -> Step:
        return self.observe(at)


class NoArbiter(Life):
    """Nobody decides at the commit: the proposal is carried out."""

    name = "no arbiter"

    def arbitrate(self, at: Moment) -> Step:
        return at.land(Move.LAND, answered(BOOKED, Commit.LANDED))


class SecondEffect(SingleStatement):
    """The statement looks for room, and not for the id: a repetition books once more."""

    name = "second effect"

    def arbitrate(self, at: Moment) -> Step:
        if at.ledger.booked + at.claim.units <= at.ledger.capacity:
            return at.land(Move.LAND, answered(BOOKED, Commit.LANDED))
        return super().arbitrate(at)


class EffectAfterRejection(Life):
    """REJECTED is answered while the commit is still under way, in a transaction left open."""

    name = "effect after REJECTED"

    def refuse(self, at: Moment, answer: Answer) -> Step:
        if answer == REJECTED:
            open_still = answered(REJECTED, Commit.IN_FLIGHT)
            return at.then(Move.REFUSE, open_still, REJECTED)
        return super().refuse(at, answer)


class EffectAfterConflict(Life):
    """The conflict is answered, and the transaction goes on to commit."""

    name = "effect after CONFLICT"

    def collide(self, at: Moment) -> Iterator[Step]:
        if at.ledger.active > 1 and at.verdict() is Verdict.FITS:
            step = at.land(Move.LAND, answered(CONFLICT, Commit.LANDED))
            yield evolve(step, move=Move.REFUSE, answer=CONFLICT)


class DoubtDenied(Life):
    """Every failure says that nothing has happened."""

    name = "doubt denied"

    def answer(self, attempt: Attempt) -> Answer:
        answer = super().answer(attempt)
        return INFRASTRUCTURE if answer == IN_DOUBT else answer


class DoubtFeigned(Life):
    """Every infrastructure failure says that it is in doubt: safe, and useless."""

    name = "doubt feigned"

    def answer(self, attempt: Attempt) -> Answer:
        answer = super().answer(attempt)
        return IN_DOUBT if answer == INFRASTRUCTURE else answer


class EarlyBooked(Optimistic):
    """BOOKED is answered when the write has succeeded; the commit follows."""

    name = "BOOKED before the commit"

    def persist(self, at: Moment) -> Step:
        return at.then(Move.PERSIST, Attempt(Stage.ANSWERED, Commit.IN_FLIGHT, BOOKED, holds=True))


class BookingLost(Life):
    """The server confirms commits that it has not made durable: a crash forgets them."""

    name = "booking lost in a crash"

    def crashed(self, claim: Claim) -> Claim:
        return evolve(super().crashed(claim), rows=0)


class OneShort(SingleStatement):
    """The last unit is never given away: ``<`` where ``<=`` is right."""

    name = "off by one"

    def arbitrate(self, at: Moment) -> Step:
        if at.ledger.booked + at.claim.units == at.ledger.capacity:
            return self.refuse(at, REJECTED)
        return super().arbitrate(at)


class ConflictAlone(Life):
    """A conflict is answered with nobody else around."""

    name = "conflict alone"

    def collide(self, at: Moment) -> Iterator[Step]:
        yield self.refuse(at, CONFLICT)


class NoWinner(Optimistic):
    """A conflict is answered because the row is locked, though its holder may never commit."""

    name = "no winner"

    def work(self, at: Moment) -> Iterator[Step]:
        yield from super().work(at)
        if at.attempt.stage is Stage.OBSERVED and at.ledger.locked:
            yield self.refuse(at, CONFLICT)


class LeakedLock(Locking):
    """The lock is kept when there was nothing to insert: whoever comes next waits for ever."""

    name = "leaked lock"

    def work(self, at: Moment) -> Iterator[Step]:
        for step in super().work(at):
            if step.move is not Move.REFUSE:
                yield step

    def emit(self, at: Moment) -> Iterator[Step]:
        for step in super().emit(at):
            yield _locked(step) if step.answer == REJECTED else step


def _locked(step: Step) -> Step:
    ledgers = tuple(evolve(ledger, locked=True) for ledger in step.shared.ledgers)
    return evolve(step, shared=evolve(step.shared, ledgers=ledgers))


class ForgottenAttempt(Life):
    """After its deadline has passed, an attempt answers nothing at all."""

    name = "no outcome"

    def emit(self, at: Moment) -> Iterator[Step]:
        if at.attempt.stage is Stage.ANSWERED:
            yield from super().emit(at)


class TwoOutcomes(Life):
    """A late confirmation is handed to a caller that was told of a failure before."""

    name = "two outcomes"

    def emit(self, at: Moment) -> Iterator[Step]:
        yield from super().emit(at)
        if at.attempt.stage is Stage.GONE and at.claim.rows:
            yield at.then(Move.EMIT, None, BOOKED)


class CounterDrifts(Life):
    """A booking that lands late is inserted, and the counter beside it forgotten."""

    name = "counter drifts"

    def late(self, at: Moment) -> Iterator[Step]:
        for step in super().late(at):
            late = step.move is Move.LAND_LATE
            yield evolve(step, shared=_restored(step.shared, at.shared)) if late else step


def _restored(after: Shared, before: Shared) -> Shared:
    pairs = zip(after.ledgers, before.ledgers, strict=True)
    return evolve(after, ledgers=tuple(evolve(a, booked=b.booked) for a, b in pairs))


@frozen
class Canary:
    """A broken life and the property that has to convict it first."""

    life: Life
    rule: str
    seats: int = 1
    """The capacity that it takes to see it."""


CANARIES = (
    Canary(NoVersionCheck(), "capacity"),
    Canary(NoLock(), "capacity"),
    Canary(NoArbiter(), "capacity"),
    Canary(SecondEffect(), "one id, one booking", seats=2),
    Canary(EffectAfterRejection(), "REJECTED without effect"),
    Canary(EffectAfterConflict(), "CONFLICT without effect"),
    Canary(DoubtDenied(), "doubt not denied"),
    Canary(DoubtFeigned(), "doubt not feigned"),
    Canary(EarlyBooked(), "BOOKED exists"),
    Canary(BookingLost(), "never lost"),
    Canary(OneShort(), "REJECTED justified"),
    Canary(ConflictAlone(), "CONFLICT justified"),
    Canary(NoWinner(), "winner"),
    Canary(LeakedLock(), "transience"),
    Canary(ForgottenAttempt(), "nobody hangs"),
    Canary(TwoOutcomes(), "one outcome"),
    Canary(CounterDrifts(), "counter"),
)
