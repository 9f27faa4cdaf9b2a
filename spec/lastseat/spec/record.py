"""A history folded: what is known of each attempt, and of the booking that each request claims.

Attempts with the same request share a *claim*: the booking that at most one of them makes. If it
exists, the moment of its effect lies between ``earliest``, which is possible, and ``latest``:

* it begins when the first attempt that may have applied it sent its commit, where that was
  recorded, else at that attempt's invocation; later if an audit did not find it yet;
* it ends with the first BOOKED for it, the first audit that found it, or the fence of the last
  attempt that may have applied it.

An attempt may have applied its claim if it is BOOKED, in doubt or pending. Any other never does.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator

from attrs import define, field, frozen

from lastseat.spec.events import (
    Audit,
    CommitSent,
    Emit,
    End,
    Evidence,
    Fault,
    Fence,
    Final,
    Header,
    History,
    Invoke,
    Phase,
    Raise,
    Seen,
    What,
)
from lastseat.spec.vocabulary import Answer, Outcome, Request

BEFORE = -math.inf
"""The instant of what was there beforehand."""

NEVER = math.inf


@define(eq=False)
class Attempt:
    """What the history says of one attempt. Instants are logical, ``NEVER`` for what is open."""

    name: str
    client: str
    request: Request
    invoked: int
    invoked_ms: float | None
    ended: float = NEVER
    ended_ms: float | None = None
    answer: Answer | None = None
    raised: Raise | None = None
    seen: list[Seen] = field(factory=list)
    commits: list[int] = field(factory=list)
    """When it sent a commit that the server did not refuse."""
    commit_reply: What | None = None
    """What came in answer to the last commit, if not success."""
    fence: float = NEVER

    @property
    def in_doubt(self) -> bool:
        """It says so itself, or it says nothing."""
        if self.answer is not None:
            return self.answer.in_doubt
        return self.raised is None or self.raised.in_doubt

    @property
    def may_apply(self) -> bool:
        return self.in_doubt or self.outcome is Outcome.BOOKED

    @property
    def outcome(self) -> Outcome | None:
        return None if self.answer is None else self.answer.outcome

    @property
    def until(self) -> float:
        """Until when it can disturb others: a failed attempt until its server process is gone."""
        if self.outcome in (Outcome.BOOKED, Outcome.REJECTED):
            return self.ended
        if self.ended == NEVER:
            return self.fence
        return max(self.fence, self.ended)

    @property
    def commit_unanswered(self) -> bool:
        """Its commit was sent, and neither refused nor acknowledged."""
        return self.commit_reply in (What.LOST, What.DEADLINE)

    @property
    def commit_refused(self) -> bool:
        """Every commit that it sent was answered definitely: not applied."""
        return not self.commits and self.commit_reply is What.ERROR

    def effect_from(self, commits_observed: bool) -> float:
        """From when on its effect is possible; ``NEVER`` if it is not."""
        if not commits_observed:
            return self.invoked
        return next((at for at in self.commits if at <= self.until), NEVER)

    def __str__(self) -> str:
        return self.name


@define(eq=False)
class Claim:
    """The booking that the attempts of one request ask for."""

    request: Request
    prior: bool = False
    attempts: list[Attempt] = field(factory=list)
    """In the order of their invocations."""
    appliers: list[Attempt] = field(factory=list)
    """Those that may have applied it."""
    earliest: float = NEVER
    latest: float = NEVER
    exists: bool = False
    """A row, a BOOKED, an audit or the header shows that it was made."""
    possible: bool = False
    """It may have been made: nobody knows, for its resource was not read in the end."""

    @property
    def counted_from(self) -> float:
        """From when on it counts as booked in favour of rejections: that of a booking which nobody
        can have made is as early as can be, so that it is not held against innocent attempts."""
        if self.earliest < NEVER:
            return self.earliest
        return min((attempt.invoked for attempt in self.attempts), default=BEFORE)

    def answered(self, outcome: Outcome) -> list[Attempt]:
        return [attempt for attempt in self.attempts if attempt.outcome is outcome]


@frozen
class Record:
    """A whole history, folded."""

    header: Header
    attempts: list[Attempt]
    claims: dict[Request, Claim]
    of_id: dict[str, list[Claim]]
    """The claims of each booking id; more than one where it was asked for in different ways."""
    of_resource: dict[str, list[Claim]]
    ceiling: dict[str, int]
    """The most units of each resource that can ever have been booked, its capacity aside."""
    audits: list[Audit]
    finals: dict[str, Final]
    faults: list[Fault]
    end: End | None

    def observed(self, evidence: Evidence) -> bool:
        return evidence in self.header.observed

    def readings(self) -> Iterator[Audit | Final]:
        """Every snapshot of bookings: the audits in their order, then the final bookings."""
        yield from self.audits
        yield from self.finals.values()

    def rivals(self, claim: Claim) -> list[Claim]:
        """The claims of the same id for something else."""
        claims = self.of_id[claim.request.booking_id]
        return [other for other in claims if other is not claim] if len(claims) > 1 else []


def fold(history: History) -> Record:
    """What ``history`` says of its attempts and their claims."""
    attempts: dict[str, Attempt] = {}
    audits: list[Audit] = []
    finals: dict[str, Final] = {}
    faults: list[Fault] = []
    end = None
    for event in history.events:
        match event:
            case Invoke(at=at, attempt=name, client=client, request=request, ms=ms):
                attempts[name] = Attempt(name, client, request, at, ms)
            case Audit():
                audits.append(event)
            case Final(resource_id=resource_id):
                finals[resource_id] = event
            case Fault():
                faults.append(event)
            case End():
                end = event
            case _:
                _note(attempts[event.attempt], event)
    record = Record(
        history.header,
        list(attempts.values()),
        claims={},
        of_id=defaultdict(list),
        of_resource=defaultdict(list),
        ceiling=defaultdict(int),
        audits=audits,
        finals=finals,
        faults=faults,
        end=end,
    )
    _claim(record)
    _bound(record)
    _decide_existence(record)
    return record


def _note(attempt: Attempt, event: Emit | Raise | Seen | CommitSent | Fence) -> None:
    match event:
        case Emit(at=at, answer=answer, ms=ms):
            attempt.answer, attempt.ended, attempt.ended_ms = answer, at, ms
        case Raise(at=at, ms=ms):
            attempt.raised, attempt.ended, attempt.ended_ms = event, at, ms
        case CommitSent(at=at):
            attempt.commits.append(at)
            attempt.commit_reply = None
        case Seen(what=what, phase=phase):
            attempt.seen.append(event)
            if attempt.commits and attempt.commit_reply is None and phase is not Phase.CLEANUP:
                attempt.commit_reply = what
                if what is What.ERROR:
                    attempt.commits.pop()
        case Fence(at=at):
            attempt.fence = min(attempt.fence, at)


def _claim(record: Record) -> None:
    def claim(request: Request) -> Claim:
        found = record.claims.get(request)
        if found is None:
            found = record.claims[request] = Claim(request)
            record.of_id[request.booking_id].append(found)
            record.of_resource[request.resource_id].append(found)
        return found

    for resource_id, resource in record.header.resources.items():
        for booking_id, units in resource.bookings.items():
            prior = claim(Request(booking_id, resource_id, units))
            prior.prior, prior.earliest, prior.latest = True, BEFORE, BEFORE
    for attempt in record.attempts:
        claim(attempt.request).attempts.append(attempt)


def _bound(record: Record) -> None:
    """Set the interval in which each claim's effect lies, if it has one."""
    commits = record.observed(Evidence.COMMITS)
    for claim in record.claims.values():
        claim.appliers = [attempt for attempt in claim.attempts if attempt.may_apply]
        if claim.appliers and not claim.prior:
            claim.earliest = _earliest(claim, commits)
            acknowledged = min((a.ended for a in claim.answered(Outcome.BOOKED)), default=NEVER)
            claim.latest = min(acknowledged, max(attempt.until for attempt in claim.appliers))
    by_resource: dict[str, list[Audit]] = defaultdict(list)
    for audit in record.audits:
        by_resource[audit.resource_id].append(audit)
    for resource_id, audits in by_resource.items():
        _bound_by_audits(record, resource_id, audits)


def _earliest(claim: Claim, commits_observed: bool, since: float = BEFORE) -> float:
    """The first instant from ``since`` at which an attempt may have applied the claim."""
    begins = (
        max(since, attempt.effect_from(commits_observed))
        for attempt in claim.appliers
        if attempt.until >= since
    )
    return min(begins, default=NEVER)


def _bound_by_audits(record: Record, resource_id: str, audits: list[Audit]) -> None:
    """What an audit found had happened by then; what it did not find happens later, or never."""
    first: dict[tuple[str, int], int] = {}
    for index, audit in enumerate(audits):
        for row in audit.bookings:
            first.setdefault(row, index)
    commits = record.observed(Evidence.COMMITS)
    for claim in record.of_resource[resource_id]:
        key = (claim.request.booking_id, claim.request.requested_units)
        found = first.get(key, len(audits))
        acknowledged = min((a.ended for a in claim.answered(Outcome.BOOKED)), default=NEVER)
        # A booking that was acknowledged before an audit which lacks it is lost, not late.
        if found > 0 and not claim.prior and audits[found - 1].at <= acknowledged:
            claim.earliest = _earliest(claim, commits, since=audits[found - 1].at)
        if found < len(audits):
            claim.exists = True
            claim.latest = min(claim.latest, audits[found].at)


def _decide_existence(record: Record) -> None:
    rows = {
        Request(booking_id, final.resource_id, units)
        for final in record.finals.values()
        for booking_id, units in final.bookings
    }
    for claim in record.claims.values():
        booked = any(attempt.outcome is Outcome.BOOKED for attempt in claim.attempts)
        claim.exists = claim.exists or claim.prior or booked or claim.request in rows
    for claim in record.claims.values():
        resource_id = claim.request.resource_id
        if claim.exists or resource_id in record.finals or claim.earliest == NEVER:
            continue
        rejected = any(attempt.outcome is Outcome.REJECTED for attempt in claim.attempts)
        bound = any(rival.exists for rival in record.rivals(claim))
        claim.possible = not rejected and not bound
    for claim in record.claims.values():
        if claim.exists or claim.possible:
            record.ceiling[claim.request.resource_id] += claim.request.requested_units
