"""Three ways to live: optimistic, locking, and in a single statement.

Each says what an attempt does inside, statement by statement, and inherits the rest from the
abstract life. None of them asks the database for more than a row's lock, a version or one atomic
statement, and none adds anything to what can be seen of the abstract life.
"""

from __future__ import annotations

from collections.abc import Iterator

from attrs import evolve

from lastseat.spec.life import Life, answered, propose
from lastseat.spec.vocabulary import BOOKED, CONFLICT, IN_DOUBT, INFRASTRUCTURE, Answer
from lastseat.spec.world import Attempt, Commit, Moment, Move, Stage, Step, with_ledger


class Settled(Life):
    """A conflict is answered when the server has answered: nothing is left of the attempt then."""

    def lingers(self, answer: Answer) -> bool:
        """Only after a connection was lost or given up."""
        return answer in (INFRASTRUCTURE, IN_DOUBT)


class Transaction(Settled):
    """What the lives with an open transaction share: a commit that only has to be carried out."""

    name = "transaction"

    def land(self, at: Moment) -> Step:
        """The server carries the commit out; nothing is decided any more."""
        return at.land(Move.LAND, answered(BOOKED, Commit.LANDED))

    def suffer(self, at: Moment) -> Iterator[Step]:
        """The server can report a conflict in answer to any statement, not to the commit only."""
        yield from super().suffer(at)
        if at.attempt.stage in (Stage.RUNNING, Stage.OBSERVED, Stage.WRITTEN):
            yield at.then(Move.REPORT, answered(CONFLICT))


class Optimistic(Transaction):
    """Read without a lock; write on condition that the version still stands; commit.

    The write takes the row's lock until its transaction ends, so that writes queue. A queued one
    looks at the version again once it gets the lock: a version that moved is a conflict.
    """

    name = "optimistic"
    promises = frozenset({"winner"})

    def work(self, at: Moment) -> Iterator[Step]:
        """Observe and propose, write, persist."""
        match at.attempt.stage:
            case Stage.RUNNING:
                yield self.observe(at)
            case Stage.OBSERVED if not at.ledger.locked:
                yield self.write(at)
            case Stage.WRITTEN:
                yield self.persist(at)
            case Stage.PERSISTING:
                yield self.land(at)

    def write(self, at: Moment) -> Step:
        """The guarded write: it changes a row only if the version is the one that was read."""
        if self.is_current(at):
            return at.then(Move.WRITE, Attempt(Stage.WRITTEN, holds=True))
        return self.refuse(at, CONFLICT)

    def is_current(self, at: Moment) -> bool:
        """Whether nobody has committed since the reading."""
        return at.attempt.seen == at.ledger.version

    def land(self, at: Moment) -> Step:
        """The version moves with every effect."""
        return moved(super().land(at))

    def late(self, at: Moment) -> Iterator[Step]:
        """Also with one that lands late."""
        for step in super().late(at):
            yield moved(step) if step.move is Move.LAND_LATE else step


def moved(step: Step) -> Step:
    """The step, with the version of its resource one higher."""
    ledger = step.shared.ledgers[step.claim.resource]
    ledger = evolve(ledger, version=ledger.version + 1)
    return evolve(step, shared=with_ledger(step.shared, step.claim.resource, ledger))


class Locking(Transaction):
    """Take the row's lock and read under it; insert; commit. Waiting for the lock may fail."""

    name = "locking"

    def work(self, at: Moment) -> Iterator[Step]:
        """Observe under the lock and propose, persist."""
        match at.attempt.stage:
            case Stage.RUNNING if at.ledger.locked:
                yield self.refuse(at, CONFLICT)  # the lock is not available; or go on waiting
            case Stage.RUNNING:
                yield self.lock(at)
            case Stage.OBSERVED:
                yield self.persist(at)
            case Stage.PERSISTING:
                yield self.land(at)

    def lock(self, at: Moment) -> Step:
        """What is read under the lock stays true while it is held; without room it is let go."""
        proposal = propose(at.verdict(), at.ledger.version)
        return at.then(Move.LOCK, evolve(proposal, holds=proposal.stage is Stage.OBSERVED))


class SingleStatement(Settled):
    """One statement that commits by itself: it inserts if there is room, and says what it found.

    The room, the id and the insertion are one atomic moment. It sees no conflict by itself; the
    server can still report one.
    """

    name = "single statement"

    def work(self, at: Moment) -> Iterator[Step]:
        """Persist, without having looked."""
        match at.attempt.stage:
            case Stage.RUNNING:
                yield self.persist(at)
            case Stage.PERSISTING:
                yield self.arbitrate(at)


OPTIMISTIC = Optimistic()
LOCKING = Locking()
SINGLE_STATEMENT = SingleStatement()
REFINEMENTS: tuple[Life, ...] = (OPTIMISTIC, LOCKING, SINGLE_STATEMENT)
