"""The life of an attempt, and of many attempts at once, as a labelled transition system.

An attempt *observes* (a read that is stale at once), *proposes* (pure, it decides nothing for
good), *persists* (atomic; the database is the final arbiter) and *emits* one answer. No loop leads
back. Around it moves the environment: others commit in between, requests and answers are lost,
deadlines pass, the server reports a conflict, or crashes and recovers, a commit in doubt lands
late, and a fence proves that a server process is gone.

This is the abstract life: it says when an effect and an answer are possible, and leaves open how
an implementation gets there. Whether it reads first, needs one statement or five, locks or compares
versions, refines this text and must not add anything to what can be seen of it: invocations,
effects and emissions.
"""

from __future__ import annotations

from collections.abc import Iterator

from attrs import evolve

from lastseat.spec.resource import Verdict
from lastseat.spec.vocabulary import (
    BOOKED,
    CONFLICT,
    IN_DOUBT,
    INFRASTRUCTURE,
    REJECTED,
    Answer,
    Outcome,
)
from lastseat.spec.world import (
    Action,
    Attempt,
    Claim,
    Commit,
    Moment,
    Move,
    Shared,
    Stage,
    Step,
    World,
    with_ledger,
)


def failed(claim: Claim) -> bool:
    """Whether all that the claim's callers have is failures: then one may repeat the id."""
    over = claim.invoked == claim.callers and all(a.stage is Stage.GONE for a in claim.live)
    return over and not claim.told & {BOOKED, REJECTED}


def answered(verdict: Answer, commit: Commit = Commit.UNSENT) -> Attempt:
    """An attempt whose deciding answer is on its way; locks are released by then."""
    return Attempt(Stage.ANSWERED, commit, verdict)


def broken(attempt: Attempt, commit: Commit) -> Attempt:
    """An attempt that will not learn its answer. Its server process may keep its lock."""
    return Attempt(Stage.BROKEN, commit, holds=attempt.holds)


def propose(verdict: Verdict, version: int) -> Attempt:
    """What to do about a reading: pure. Room is a reason to try, and no promise."""
    match verdict:
        case Verdict.REPEATED:
            return answered(BOOKED)
        case Verdict.FULL:
            return answered(REJECTED)
        case _:
            return Attempt(Stage.OBSERVED, seen=version)


class Life:
    """The abstract life. Refinements replace ``work``; whatever else can happen stays as it is."""

    name = "abstract"
    promises: frozenset[str] = frozenset()
    """What a mechanism may promise beyond its duty: ``winner``, see the rule about conflicts."""

    def __str__(self) -> str:
        return self.name

    def moves(self, shared: Shared, claim: Claim) -> Iterator[Step]:
        """Everything that can happen next to one claim."""
        yield from self.arrive(shared, claim)
        for slot in range(len(claim.live)):
            at = Moment(shared, claim, slot)
            yield from self.work(at)
            yield from self.emit(at)
            yield from self.late(at)
            if shared.faults:
                yield from self.suffer(at)

    def arrive(self, shared: Shared, claim: Claim) -> Iterator[Step]:
        """A caller invokes; once all its attempts have emitted, it may repeat with the same id."""
        ledger = shared.ledgers[claim.resource]
        shared = with_ledger(shared, claim.resource, evolve(ledger, active=ledger.active + 1))
        begun = evolve(claim, live=(*claim.live, Attempt()))
        slot = len(claim.live)
        if claim.invoked < claim.callers:
            begun = evolve(begun, invoked=claim.invoked + 1)
            yield Step(Move.INVOKE, slot, None, shared, begun)
        elif shared.repeats and failed(claim):
            shared = evolve(shared, repeats=shared.repeats - 1)
            yield Step(Move.REPEAT, slot, None, shared, begun)

    def work(self, at: Moment) -> Iterator[Step]:
        """What the attempt does itself: observe and propose, persist."""
        match at.attempt.stage:
            case Stage.RUNNING:
                yield self.observe(at)
                if at.verdict() is not Verdict.FITS:
                    # Nobody has to look first. Where there is room it is the same as looking.
                    yield self.persist(at)
            case Stage.OBSERVED:
                yield self.persist(at)
            case Stage.PERSISTING:
                yield self.arbitrate(at)
                yield from self.collide(at)

    def observe(self, at: Moment) -> Step:
        """A non-exclusive read; from the next moment on it may be stale."""
        return at.then(Move.OBSERVE, propose(at.verdict(), at.ledger.version))

    def persist(self, at: Moment) -> Step:
        """The commit is handed to the connection. From here on an effect is possible."""
        sent = evolve(at.attempt, stage=Stage.PERSISTING, commit=Commit.IN_FLIGHT)
        return at.then(Move.PERSIST, sent)

    def arbitrate(self, at: Moment) -> Step:
        """The database decides, whatever the attempt had seen: it is the final arbiter."""
        match at.verdict():
            case Verdict.FITS:
                return at.land(Move.LAND, answered(BOOKED, Commit.LANDED))
            case Verdict.FULL:
                return self.refuse(at, REJECTED)
            case _:
                return self.refuse(at, BOOKED)

    def refuse(self, at: Moment, answer: Answer) -> Step:
        """The database has changed nothing and answers so, or that the booking exists already."""
        unsent = at.attempt.commit is Commit.UNSENT
        commit = Commit.UNSENT if unsent else Commit.NEVER
        return at.then(Move.REFUSE, answered(answer, commit), answer)

    def collide(self, at: Moment) -> Iterator[Step]:
        """The persistence layer may see a conflict when somebody else is at work here too."""
        if at.ledger.active > 1:
            yield self.refuse(at, CONFLICT)

    def emit(self, at: Moment) -> Iterator[Step]:
        """One outcome, and nothing after it; but after a failure the server process may live on."""
        if at.attempt.stage not in (Stage.ANSWERED, Stage.BROKEN):
            return
        answer = self.answer(at.attempt)
        in_flight = at.attempt.commit is Commit.IN_FLIGHT
        rest: Attempt | None = None
        if self.lingers(answer) or in_flight:
            commit = Commit.IN_FLIGHT if in_flight else Commit.NEVER
            rest = Attempt(Stage.GONE, commit, holds=at.attempt.holds)
        step = at.then(Move.EMIT, rest, answer)
        told = step.claim.told | ({answer} & {BOOKED, REJECTED, IN_DOUBT})
        yield evolve(step, claim=evolve(step.claim, told=told))

    def lingers(self, answer: Answer) -> bool:
        """Whether its server process may live on, and hold a lock, until it is fenced."""
        return answer.outcome is Outcome.FAILED

    def answer(self, attempt: Attempt) -> Answer:
        """The verdict that arrived. Without one: a failure, in doubt iff the commit was sent."""
        if attempt.verdict is not None:
            return attempt.verdict
        return INFRASTRUCTURE if attempt.commit is Commit.UNSENT else IN_DOUBT

    def late(self, at: Moment) -> Iterator[Step]:
        """A commit that nobody waits for is arbitrated like any other, or is fenced off."""
        attempt = at.attempt
        given_up = attempt.stage in (Stage.BROKEN, Stage.GONE)
        if given_up and attempt.commit is Commit.IN_FLIGHT and at.verdict() is Verdict.FITS:
            gone = attempt.stage is Stage.GONE
            commit = Commit.NEVER if gone else Commit.LANDED
            yield at.land(Move.LAND_LATE, Attempt(attempt.stage, commit))
        if attempt.stage is Stage.GONE:
            yield at.then(Move.FENCE, None)

    def suffer(self, at: Moment) -> Iterator[Step]:
        """What the environment can do to one attempt.

        Before the commit is sent, a deadline that passes and an answer that is lost are the same
        step as a lost request: the attempt fails, and nothing of it can land.
        """
        attempt = at.attempt
        match attempt.stage:
            case Stage.RUNNING | Stage.OBSERVED | Stage.WRITTEN:
                yield at.then(Move.LOSE_REQUEST, broken(attempt, Commit.UNSENT))
            case Stage.PERSISTING:
                yield at.then(Move.LOSE_REQUEST, broken(attempt, Commit.NEVER))
                yield at.then(Move.TIME_OUT, broken(attempt, Commit.IN_FLIGHT))
                yield at.then(Move.REPORT, answered(CONFLICT, Commit.NEVER))
            case Stage.ANSWERED:
                yield at.then(Move.LOSE_ANSWER, broken(attempt, attempt.commit))

    def crash(self, shared: Shared) -> Shared | None:
        """The server crashes and recovers, while somebody is at work; None: nobody is."""
        if not shared.crashes or not any(ledger.active for ledger in shared.ledgers):
            return None
        ledgers = tuple(evolve(ledger, locked=False) for ledger in shared.ledgers)
        return evolve(shared, ledgers=ledgers, crashes=shared.crashes - 1)

    def crashed(self, claim: Claim) -> Claim:
        """What is committed stays. What is not is gone for good, and every connection is lost."""
        return evolve(claim, live=tuple(self.struck(attempt) for attempt in claim.live))

    def struck(self, attempt: Attempt) -> Attempt:
        """An attempt after the crash. One that learned its answer in time emits before it."""
        commit = Commit.NEVER if attempt.commit is Commit.IN_FLIGHT else attempt.commit
        gone = attempt.stage is Stage.GONE
        return Attempt(Stage.GONE if gone else Stage.BROKEN, commit)


ABSTRACT = Life()


def enabled(world: World, life: Life = ABSTRACT) -> tuple[Action, ...]:
    """Every action that can happen in ``world``."""
    actions = [
        Action(step.move, index, step.slot, step.answer)
        for index, claim in enumerate(world.claims)
        for step in life.moves(world.shared, claim)
    ]
    if life.crash(world.shared) is not None:
        actions.append(Action(Move.CRASH))
    return tuple(actions)


def step(world: World, action: Action, life: Life = ABSTRACT) -> World:
    """The world after ``action``.

    Raises:
        ValueError: the action is not enabled in this world.
    """
    if action.claim is None:
        shared = life.crash(world.shared) if action.move is Move.CRASH else None
        if shared is not None:
            return World(shared, tuple(life.crashed(claim) for claim in world.claims))
        raise ValueError(f"{action} is not enabled")
    for after in life.moves(world.shared, world.claims[action.claim]):
        if Action(after.move, action.claim, after.slot, after.answer) == action:
            before, behind = world.claims[: action.claim], world.claims[action.claim + 1 :]
            return World(after.shared, (*before, after.claim, *behind))
    raise ValueError(f"{action} is not enabled")
