"""A history folded: what is known of each attempt, and of the booking that each request claims.

Attempts with the same request share a *claim*: the booking that at most one of them makes. If it
exists, the moment of its effect lies between ``earliest``, which is possible, and ``latest``:

* it begins when the first attempt that may have applied it sent its commit, where that was
  recorded, else at that attempt's invocation; later if an audit did not find it yet;
* it ends with the first BOOKED for it, the first audit that found it, or the fence of the last
  attempt that may have applied it.

Within this interval it lies in the ``windows`` of those attempts. An attempt may have applied its
claim if it is BOOKED, in doubt or pending, and also if it denies the doubt that is due: its commit
was sent and never answered. Its request must be valid. Any other never does.

Instants order events, the lines of a file do not: audits of one instant are taken in the order that
explains them, and an attempt's commit is refused or lost at its own instant only where the phase
says that this was the answer to it.
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

Window = tuple[float, float]
"""A time, from its first to its last instant, both of them included."""

_NO_ANSWER = (What.LOST, What.DEADLINE)


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
    told: list[Seen | CommitSent] = field(factory=list)
    """What it saw and the commits that it sent, in the order of the file."""
    commits: list[int] = field(factory=list)
    """When it sent a commit that the server did not refuse."""
    commit_reply: Seen | None = None
    """What came in answer to the last commit, if not success."""
    fence: float = NEVER
    expired: bool = False
    """Whether its deadline had expired when it ended, by the recorded clock."""

    @property
    def in_doubt(self) -> bool:
        """It says so itself, or it says nothing."""
        if self.answer is not None:
            return self.answer.in_doubt
        return self.raised is None or self.raised.in_doubt

    @property
    def may_apply(self) -> bool:
        """Whether it can have applied its claim, by its answer or by its commit."""
        return self.in_doubt or self.outcome is Outcome.BOOKED or self.commit_unanswered

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
        """Whether its commit was sent, and neither refused nor acknowledged."""
        return self.commit_reply is not None and self.commit_reply.what in _NO_ANSWER

    @property
    def commit_refused(self) -> bool:
        """Whether every commit that it sent was answered definitely: not applied."""
        reply = self.commit_reply
        return not self.commits and reply is not None and reply.what is What.ERROR

    def window(self, commits_observed: bool) -> Window | None:
        """When it can have applied its claim: from its commit on, while its server process lives,
        and before its answer if that is BOOKED. None if it cannot."""
        last = min(self.ended, self.fence) if self.outcome is Outcome.BOOKED else self.fence
        sent = self.commits if commits_observed else (self.invoked,)
        return next(((at, last) for at in sent if at <= last), None)

    def __str__(self) -> str:
        return self.name


@define(eq=False)
class Claim:
    """The booking that the attempts of one request ask for."""

    request: Request
    prior: bool = False
    valid: bool = True
    """Whether it asks for at least one unit of a resource that exists. If not, it is a programming
    error, and never booked."""
    attempts: list[Attempt] = field(factory=list)
    """In the order of their invocations."""
    appliers: list[Attempt] = field(factory=list)
    """Those that may have applied it, by their answers."""
    windows: list[Window] = field(factory=list)
    """When each of the appliers can have done so."""
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

    @property
    def units(self) -> int:
        """What it takes of its resource if it exists. Nothing can be taken by what is not valid."""
        return self.request.requested_units if self.valid else 0

    def moments(self) -> list[Window]:
        """When its effect may have been, if it exists; the times may overlap."""
        bounds = ((max(f, self.earliest), min(t, self.latest)) for f, t in self.windows)
        found = [(first, last) for first, last in bounds if first <= last]
        return found or [(self.counted_from, self.latest)]

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

    def late(self, attempt: Attempt, seen: Seen | None) -> bool:
        """Whether something may have reached an attempt only after its deadline had expired."""
        ms = attempt.ended_ms if seen is None or seen.ms is None else seen.ms
        return _late(self.header, attempt, ms)

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
        audits=in_time(audits),
        finals=finals,
        faults=faults,
        end=end,
    )
    for attempt in record.attempts:
        _settle_commits(attempt)
        attempt.expired = _expired(record.header, attempt)
    _claim(record)
    _bound(record)
    _decide_existence(record)
    return record


def in_time(audits: list[Audit]) -> list[Audit]:
    """Audits in the order in which they must have been made: bookings only become more, so that of
    those of one instant the one that found the fewest came first."""
    return sorted(audits, key=lambda audit: (audit.at, len(audit.bookings)))


def _note(attempt: Attempt, event: Emit | Raise | Seen | CommitSent | Fence) -> None:
    match event:
        case Emit(at=at, answer=answer, ms=ms):
            attempt.answer, attempt.ended, attempt.ended_ms = answer, at, ms
        case Raise(at=at, ms=ms):
            attempt.raised, attempt.ended, attempt.ended_ms = event, at, ms
        case CommitSent():
            attempt.told.append(event)
        case Seen():
            attempt.seen.append(event)
            attempt.told.append(event)
        case Fence(at=at):
            attempt.fence = min(attempt.fence, at)


def _settle_commits(attempt: Attempt) -> None:
    """Which commits were sent, and what came in answer to the last one."""
    for event in sorted(attempt.told, key=_within_instant):
        if isinstance(event, CommitSent):
            attempt.commits.append(event.at)
            attempt.commit_reply = None
        elif attempt.commits and attempt.commit_reply is None and event.phase is not Phase.CLEANUP:
            attempt.commit_reply = event
            if event.what is What.ERROR:
                attempt.commits.pop()


def _within_instant(event: Seen | CommitSent) -> tuple[int, int]:
    """What is seen at the instant of a commit answers it only if it says so."""
    if isinstance(event, CommitSent):
        return event.at, 1
    return event.at, 2 if event.phase is Phase.COMMIT else 0


def _expired(header: Header, attempt: Attempt) -> bool:
    return _late(header, attempt, attempt.ended_ms)


def _late(header: Header, attempt: Attempt, ms: float | None) -> bool:
    """Whether the deadline of an attempt had expired at a time of the recorded clock."""
    if header.deadline_ms is None or attempt.invoked_ms is None or ms is None:
        return False
    return ms - attempt.invoked_ms >= header.deadline_ms


def _claim(record: Record) -> None:
    def claim(request: Request) -> Claim:
        found = record.claims.get(request)
        if found is None:
            valid = request.requested_units >= 1 and request.resource_id in record.header.resources
            found = record.claims[request] = Claim(request, valid=valid)
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
        if not claim.valid:
            continue
        claim.appliers = [attempt for attempt in claim.attempts if attempt.may_apply]
        if claim.appliers and not claim.prior:
            windows = (attempt.window(commits) for attempt in claim.appliers)
            claim.windows = [window for window in windows if window is not None]
            claim.earliest = _earliest(claim)
            acknowledged = min((a.ended for a in claim.answered(Outcome.BOOKED)), default=NEVER)
            gone = max((last for _, last in claim.windows), default=NEVER)
            claim.latest = min(acknowledged, gone)
    by_resource: dict[str, list[Audit]] = defaultdict(list)
    for audit in record.audits:
        by_resource[audit.resource_id].append(audit)
    for resource_id, audits in by_resource.items():
        _bound_by_audits(record, resource_id, audits)


def _earliest(claim: Claim, since: float = BEFORE) -> float:
    """The first instant from ``since`` at which an attempt may have applied the claim."""
    begins = (max(since, first) for first, last in claim.windows if last >= since)
    return min(begins, default=NEVER)


def _bound_by_audits(record: Record, resource_id: str, audits: list[Audit]) -> None:
    """What an audit found had happened by then; what it did not find happens later, or never."""
    first: dict[tuple[str, int], int] = {}
    for index, audit in enumerate(audits):
        for row in audit.bookings:
            first.setdefault(row, index)
    for claim in record.of_resource[resource_id]:
        key = (claim.request.booking_id, claim.request.requested_units)
        found = first.get(key, len(audits))
        acknowledged = min((a.ended for a in claim.answered(Outcome.BOOKED)), default=NEVER)
        # A booking that was acknowledged before an audit which lacks it is lost, not late.
        if found > 0 and not claim.prior and audits[found - 1].at <= acknowledged:
            claim.earliest = _earliest(claim, since=audits[found - 1].at)
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
            record.ceiling[claim.request.resource_id] += claim.units
