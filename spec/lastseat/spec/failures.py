"""The rules about answers that are no booking: that they come, are justified, and pass.

Every function takes the folded history and yields the violations of one rule. An attempt that
failed is taken to disturb others until its server process is fenced, for it may hold a lock.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from itertools import accumulate

from lastseat.spec.events import Evidence, What
from lastseat.spec.evidence import (
    CONFLICTS,
    KEY_VIOLATED,
    Kind,
    bound_otherwise,
    kind_of,
    legal,
)
from lastseat.spec.record import NEVER, Attempt, Record
from lastseat.spec.rules import Rule, Violation

WINNER = "winner"
"""The promise of a mechanism whose conflicts always have a booking on the other side."""

_UNANSWERED = "its commit was sent and no definite answer came back, so it is in doubt"


def _violation(rule: Rule, attempt: Attempt, text: str, inequality: str | None = None) -> Violation:
    return Violation(rule, (attempt.name,), attempt.request.resource_id, text, inequality)


class Crowd:
    """Closed intervals of time, given by their sorted starts and their sorted ends."""

    def __init__(self, starts: Sequence[float], ends: Sequence[float]) -> None:
        self.starts = starts
        self.ends = ends

    def count(self, start: float, end: float) -> int:
        """How many of them have an instant in common with the one from ``start`` to ``end``."""
        return bisect_right(self.starts, end) - bisect_left(self.ends, start)


class Intervals(Crowd):
    """Closed intervals of time, asked which others one of them meets."""

    def __init__(self, intervals: Iterable[tuple[float, float]]) -> None:
        ordered = sorted(intervals)
        super().__init__([start for start, _ in ordered], sorted(end for _, end in ordered))
        self._reach = list(accumulate((end for _, end in ordered), max))

    def meet(self, start: float, end: float) -> bool:
        """Whether any of them has an instant in common with the one from ``start`` to ``end``."""
        begun = bisect_right(self.starts, end)
        return begun > 0 and self._reach[begun - 1] >= start


def _crowd(attempts: Sequence[Attempt]) -> Crowd:
    return Crowd(
        sorted(attempt.invoked for attempt in attempts),
        sorted(attempt.until for attempt in attempts),
    )


class Surroundings:
    """What went on around each attempt: others, faults, bookings that may have won, or were there.

    A history that is too large for objects has surroundings of another kind: see ``large``.
    """

    def __init__(self, record: Record) -> None:
        self.record = record
        self._on: dict[str, Crowd] = {}
        self._faults: dict[str, Intervals] = {}
        self._winners: dict[str, Intervals] = {}
        self._bookings: dict[str, Bookings] = {}

    def others(self, attempt: Attempt) -> int:
        """How many other attempts on its resource overlapped it."""
        name = attempt.request.resource_id
        if name not in self._on:
            self._on[name] = self.crowd(name)
        return self._on[name].count(attempt.invoked, attempt.ended) - 1

    def others_anywhere(self, attempt: Attempt) -> int:
        return self._anywhere.count(attempt.invoked, attempt.ended) - 1

    @cached_property
    def _anywhere(self) -> Crowd:
        return self.everybody()

    def crowd(self, name: str) -> Crowd:
        """All attempts on a resource."""
        return _crowd(self._by_resource[name])

    def everybody(self) -> Crowd:
        """All attempts there are."""
        return _crowd(self.record.attempts)

    @cached_property
    def _by_resource(self) -> dict[str, list[Attempt]]:
        found: dict[str, list[Attempt]] = defaultdict(list)
        for attempt in self.record.attempts:
            found[attempt.request.resource_id].append(attempt)
        return found

    def faults(self, client: str) -> Intervals:
        """The faults that concern a client."""
        if client not in self._faults:
            self._faults[client] = Intervals(
                (fault.start, NEVER if fault.end is None else fault.end)
                for fault in self.record.faults
                if fault.client in (None, client)
            )
        return self._faults[client]

    def disturbed(self, attempt: Attempt) -> bool:
        """Whether a fault was active for it."""
        return self.faults(attempt.client).meet(attempt.invoked, attempt.ended)

    def had_winner(self, attempt: Attempt) -> bool:
        """Whether a booking on its resource may have taken effect during it."""
        name = attempt.request.resource_id
        if name not in self._winners:
            self._winners[name] = Intervals(self.winners(name))
        return self._winners[name].meet(attempt.invoked, attempt.ended)

    def winners(self, name: str) -> Iterable[tuple[float, float]]:
        """When each booking of a resource may have taken effect."""
        return (
            window
            for claim in self.record.of_resource[name]
            if claim.exists or claim.possible
            for window in claim.moments()
        )

    def booked_before(self, attempt: Attempt) -> int:
        """The units of its resource that were certainly booked when it began."""
        name = attempt.request.resource_id
        if name not in self._bookings:
            self._bookings[name] = Bookings(self.certain(name))
        return self._bookings[name].before(attempt.invoked)

    def certain(self, name: str) -> Iterable[tuple[float, int]]:
        """By when each booking that exists on a resource did, and its units."""
        return (
            (claim.latest, claim.units) for claim in self.record.of_resource[name] if claim.exists
        )


class Bookings:
    """What is certainly booked before an instant, of bookings that each exist by some instant."""

    def __init__(self, bookings: Iterable[tuple[float, int]]) -> None:
        ordered = sorted(bookings)
        self._latest = [latest for latest, _ in ordered]
        self._sums = [0, *accumulate(units for _, units in ordered)]

    def before(self, instant: float) -> int:
        """The units of those that exist before ``instant``."""
        return self._sums[bisect_left(self._latest, instant)]


def one_outcome(record: Record) -> Iterator[Violation]:
    """Every attempt ends, by its deadline plus its grace where both are declared and timed.

    Without the recorder's orderly end a missing emission may be a truncated recording.
    """
    header = record.header
    limit = None
    if header.deadline_ms is not None and header.grace_ms is not None:
        limit = header.deadline_ms + header.grace_ms
    for attempt in record.attempts:
        pending = attempt.ended == NEVER
        if pending and record.end is None:
            continue
        last_ms = record.end.ms if pending and record.end is not None else attempt.ended_ms
        took = None
        if last_ms is not None and attempt.invoked_ms is not None:
            took = last_ms - attempt.invoked_ms
        if limit is not None and took is not None:
            if took > limit:
                what = "nothing was emitted after" if pending else "the answer took"
                fails = f"{took:g} ms > {header.deadline_ms:g} + {header.grace_ms:g} ms"
                yield _violation(Rule.ONE_OUTCOME, attempt, f"{what} {fails}", fails)
        elif pending:
            text = "it neither emitted an outcome nor raised, and the recording is complete"
            yield _violation(Rule.ONE_OUTCOME, attempt, text)


def conflict(record: Record, around: Surroundings) -> Iterator[Violation]:
    """Somebody else was there: the server said so, another attempt overlapped, a rival won."""
    told = record.observed(Evidence.SERVER)
    wins = WINNER in record.header.promises
    for attempt in record.attempts:
        if kind_of(attempt) is not Kind.CONFLICT:
            continue
        if attempt.commit_unanswered:
            yield _violation(Rule.CONFLICT, attempt, f"FAILED(CONFLICT), but {_UNANSWERED}")
        states = {seen.sqlstate for seen in attempt.seen if seen.what is What.ERROR} & CONFLICTS
        if states - {KEY_VIOLATED} or (states and not _booked_before(record, attempt)):
            continue
        alone = around.others(attempt) < 1
        span = f"from instant {attempt.invoked} to {attempt.ended}"
        if alone and told:
            text = (
                f"FAILED(CONFLICT), but the server reported none and 0 other attempts overlapped "
                f"it on {attempt.request.resource_id}, {span}"
            )
            yield _violation(Rule.CONFLICT, attempt, text, "other attempts that overlap: 0 < 1")
        elif alone and around.others_anywhere(attempt) < 1 and not around.disturbed(attempt):
            text = f"FAILED(CONFLICT), but nobody else was there at all, {span}"
            yield _violation(Rule.CONFLICT, attempt, text, "other attempts that overlap: 0 < 1")
        elif told and not states and wins and not around.had_winner(attempt):
            text = (
                f"FAILED(CONFLICT) by a mechanism that promises a winner, but no booking on "
                f"{attempt.request.resource_id} can have taken effect {span}"
            )
            yield _violation(Rule.CONFLICT, attempt, text)


def _booked_before(record: Record, attempt: Attempt) -> bool:
    """Whether its id was booked before it began, so that it is the key that was violated."""
    claims = record.of_id[attempt.request.booking_id]
    return any(claim.exists and claim.latest < attempt.invoked for claim in claims)


def infrastructure(record: Record, around: Surroundings) -> Iterator[Violation]:
    """Evidence reached the attempt; where only faults were recorded, one was active for it."""
    faults = record.observed(Evidence.FAULTS)
    for attempt in record.attempts:
        if kind_of(attempt) is not Kind.INFRASTRUCTURE:
            continue
        if attempt.commit_unanswered and not attempt.in_doubt:
            text = f"FAILED(INFRASTRUCTURE) not in doubt, but {_UNANSWERED}"
            yield _violation(Rule.INFRASTRUCTURE, attempt, text)
        if record.observed(Evidence.SERVER):
            if Kind.INFRASTRUCTURE not in legal(record, attempt).permitted:
                what = "of the environment " if attempt.seen else ""
                text = f"FAILED(INFRASTRUCTURE), but nothing {what}reached it"
                yield _violation(Rule.INFRASTRUCTURE, attempt, text)
        elif faults and not attempt.seen and not attempt.expired and not around.disturbed(attempt):
            text = (
                f"FAILED(INFRASTRUCTURE), but no fault concerned client {attempt.client} from "
                f"instant {attempt.invoked} to {attempt.ended}"
            )
            yield _violation(Rule.INFRASTRUCTURE, attempt, text)


def in_doubt(record: Record) -> Iterator[Violation]:
    """A commit was sent, and no definite answer to it was delivered before the deadline; then an
    exception says so, too."""
    if not record.observed(Evidence.COMMITS):
        return
    for attempt in record.attempts:
        if attempt.raised is not None and not attempt.in_doubt and attempt.commit_unanswered:
            yield _violation(Rule.IN_DOUBT, attempt, f"raised, not in doubt, but {_UNANSWERED}")
        if attempt.ended == NEVER or not attempt.in_doubt or attempt.commits:
            continue
        if attempt.commit_refused:
            if record.late(attempt, attempt.commit_reply):
                continue
            text = "in doubt, but the server refused its commit, and that answer was delivered"
        else:
            text = "in doubt, but it never sent a commit"
        yield _violation(Rule.IN_DOUBT, attempt, text)


def transience(record: Record, around: Surroundings) -> Iterator[Violation]:
    """When the faults are over and their broken connections used up, failures are over too."""
    if not record.observed(Evidence.FAULTS):
        return
    failed: dict[str, list[Attempt]] = defaultdict(list)
    for attempt in record.attempts:
        if kind_of(attempt) is Kind.INFRASTRUCTURE:
            failed[attempt.client].append(attempt)
    for client, attempts in failed.items():
        faults = around.faults(client)
        begins = [attempt.invoked for attempt in attempts]
        ends = sorted(attempt.ended for attempt in attempts)
        for attempt in attempts:
            broken = bisect_right(faults.starts, attempt.invoked)
            if broken == 0 or around.disturbed(attempt) or around.others(attempt) > 0:
                continue
            over = faults.ends[bisect_left(faults.ends, attempt.invoked) - 1]
            # Those that ended since; one that began during a fault still had its reason.
            earlier = bisect_left(ends, attempt.invoked) - bisect_right(begins, over)
            if earlier >= broken:
                text = (
                    f"the faults of client {client} ended at instant {over}; they excuse {broken} "
                    f"failed attempts, this is number {earlier + 1} since"
                )
                fails = f"failed attempts: {earlier + 1} > {broken}"
                yield _violation(Rule.TRANSIENCE, attempt, text, fails)


def determinism(record: Record, around: Surroundings) -> Iterator[Violation]:
    """What reached it shows in the answer; left alone, it is answered as the sequential step is."""
    if not record.observed(Evidence.SERVER):
        return
    for attempt in record.attempts:
        kind = kind_of(attempt)
        if kind is None:
            continue
        if attempt.seen:
            law = legal(record, attempt)
            if kind not in law.kinds:
                may = " or ".join(sorted(k.value for k in law.kinds))
                text = f"{law.because}: {may} may follow, {kind.value} may not"
                yield _violation(Rule.DETERMINISM, attempt, text)
        elif kind is Kind.BOOKED and around.others(attempt) < 1:
            yield from _too_full(record, attempt, around)


def _too_full(record: Record, attempt: Attempt, around: Surroundings) -> Iterator[Violation]:
    """A first booking was granted, with nobody else around, where nothing was left."""
    claim, units = record.claims[attempt.request], attempt.request.requested_units
    resource = record.header.resources.get(attempt.request.resource_id)
    if resource is None or not claim.valid or claim.prior or claim.appliers[0] is not attempt:
        return
    before = around.booked_before(attempt)
    if before + units > resource.capacity:
        fails = f"{before} + {units} > {resource.capacity}"
        text = (
            f"BOOKED with nobody else around, but {before} of {resource.capacity} was booked "
            f"before; {fails}"
        )
        yield _violation(Rule.DETERMINISM, attempt, text, fails)


def programming_error(record: Record) -> Iterator[Violation]:
    """What is no attempt at all is raised, and what is one is not."""
    for attempt in record.attempts:
        kind, request = kind_of(attempt), attempt.request
        known = request.resource_id in record.header.resources
        if kind in (Kind.BOOKED, Kind.REJECTED):
            if not known:
                text = f"{kind.value} for {request.resource_id}, which does not exist"
                yield _violation(Rule.PROGRAMMING_ERROR, attempt, text)
            if request.requested_units < 1:
                text = f"{kind.value} for {request.requested_units} units; the least is 1"
                yield _violation(Rule.PROGRAMMING_ERROR, attempt, text)
        if kind is not Kind.EXCEPTION or not known or request.requested_units < 1:
            continue
        if record.observed(Evidence.SERVER) and not _may_raise(record, attempt):
            message = attempt.raised.message if attempt.raised else ""
            text = f"raised {message!r}, but its id was not booked otherwise and nothing reached it"
            yield _violation(Rule.PROGRAMMING_ERROR, attempt, text)


def _may_raise(record: Record, attempt: Attempt) -> bool:
    if attempt.in_doubt or bound_otherwise(record, attempt):
        return True
    law = legal(record, attempt)
    return Kind.EXCEPTION in law.permitted or Kind.EXCEPTION not in law.kinds
