"""The rules about bookings: that they fit, are there when they must be, and only then.

Every function takes the folded history and yields the violations of its rule, or of the rule whose
promise an unwarranted booking breaks. A violation is a *fact* where committed states and answers
prove it by themselves; where it takes the order of what was sent, or evidence, it is none.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import accumulate

from attrs import frozen

from lastseat.spec.events import Audit, Final
from lastseat.spec.record import BEFORE, NEVER, Attempt, Claim, Record
from lastseat.spec.rules import Rule, Violation
from lastseat.spec.sweep import Failing, Lack, Overdue, Shortfall
from lastseat.spec.vocabulary import Outcome, Request

NAMED = 10
"""The most attempts that are named as having oversold a resource."""


class Holdings:
    """The bookings that exist on each resource.

    Those of a history that is too large for objects are of another kind: see ``large``.
    """

    def __init__(self, record: Record) -> None:
        self.record = record

    def total(self, name: str) -> int:
        """The units of all."""
        claims = self.record.of_resource[name]
        return sum(claim.units for claim in claims if claim.exists)

    def tip(self, name: str, limit: int) -> Tip | None:
        """With which of them the excess over ``limit`` became certain; None if there are none."""
        existing = [claim for claim in self.record.of_resource[name] if claim.exists]
        existing.sort(key=lambda claim: claim.latest)
        at = tipping(limit, [claim.units for claim in existing])
        upto = existing[: at + 1]
        names = tuple(attempt.name for claim in upto for attempt in claim.appliers)
        return Tip(upto[-1].latest, upto[-1].request.booking_id, names[-NAMED:]) if upto else None


def tipping(limit: int, units: Iterable[int]) -> int:
    """The position in ``units`` with which their sum exceeds ``limit``, else the last one."""
    last = -1
    for booked in accumulate(units):
        last += 1
        if booked > limit:
            break
    return last


@frozen
class Tip:
    """The booking with which an excess became certain, since when, and the last attempts by then
    that may have made one."""

    latest: float
    booking_id: str
    attempts: tuple[str, ...]


def capacity(record: Record, holdings: Holdings) -> Iterator[Violation]:
    """The bookings of a resource fit its capacity, in each snapshot and by what was answered."""
    oversold = set()
    for reading in record.readings():
        name = reading.resource_id
        limit = record.header.resources[name].capacity
        total = sum(units for _, units in reading.bookings)
        if total > limit and name not in oversold:
            oversold.add(name)
            shown = f"{_where(reading)} hold {total} of {limit}"
            yield _oversold(holdings.tip(name, limit), name, limit, shown, total)
    for name, resource in record.header.resources.items():
        if name in record.finals or name in oversold:
            continue
        total = holdings.total(name)
        if total > resource.capacity:
            shown = f"what was answered and read shows {total} of {resource.capacity} booked"
            yield _oversold(
                holdings.tip(name, resource.capacity), name, resource.capacity, shown, total
            )


def _oversold(tip: Tip | None, name: str, limit: int, shown: str, total: int) -> Violation:
    certain = ""
    if tip is not None and tip.latest < NEVER:
        since = "beforehand" if tip.latest == BEFORE else f"since instant {tip.latest}"
        certain = f"; certain {since}, with {tip.booking_id}"
    text = f"{shown}, {total - limit} too many{certain}"
    names = () if tip is None else tip.attempts
    return Violation(Rule.CAPACITY, names, name, text, f"{total} > {limit}", fact=True)


def counter(record: Record) -> Iterator[Violation]:
    """The counter, where there is one, equals the sum of the rows in the same snapshot."""
    for reading in record.readings():
        total = sum(units for _, units in reading.bookings)
        if reading.booked is not None and reading.booked != total:
            text = f"the counter says {reading.booked}, {_where(reading)} hold {total}"
            fails = f"{reading.booked} != {total}"
            yield Violation(Rule.COUNTER, (), reading.resource_id, text, fails, fact=True)


def booked(record: Record) -> Iterator[Violation]:
    """What was acknowledged, read or there beforehand is never lost, nor acknowledged too soon."""
    for name in record.header.resources:
        yield from _lost(record, name)
    for claim in record.claims.values():
        acknowledged = claim.answered(Outcome.BOOKED)
        if claim.prior or not claim.valid or not acknowledged:
            continue
        first = min(acknowledged, key=lambda attempt: attempt.ended)
        if claim.earliest > first.ended:
            when = "never" if claim.earliest == NEVER else f"not before instant {claim.earliest}"
            text = f"BOOKED at instant {first.ended}, but its booking was possible {when}"
            yield Violation(Rule.BOOKED, (first.name,), claim.request.resource_id, text)


def _lost(record: Record, name: str) -> Iterator[Violation]:
    """Goes through the snapshots of one resource with the bookings that each must hold."""
    firm = []
    for claim in record.of_resource[name]:
        ends = [attempt.ended for attempt in claim.answered(Outcome.BOOKED)]
        if ends or claim.prior:
            firm.append((BEFORE if claim.prior else min(ends), claim))
    firm.sort(key=lambda entry: entry[0], reverse=True)
    expected: dict[tuple[str, int], Claim] = {}
    readings: list[Audit | Final] = [a for a in record.audits if a.resource_id == name]
    if name in record.finals:
        readings.append(record.finals[name])
    for reading in readings:
        at = reading.at if isinstance(reading, Audit) else NEVER
        while firm and firm[-1][0] < at:
            _, claim = firm.pop()
            expected[claim.request.booking_id, claim.request.requested_units] = claim
        rows = set(reading.bookings)
        for key in expected.keys() - rows:
            yield _loss(expected.pop(key), reading)
        for row in rows:
            claim_read = record.claims.get(Request(row[0], name, row[1]))
            if claim_read is not None:
                expected.setdefault(row, claim_read)


def _loss(claim: Claim, reading: Audit | Final) -> Violation:
    request = claim.request
    acknowledged = claim.answered(Outcome.BOOKED)
    instead = [units for booking_id, units in reading.bookings if booking_id == request.booking_id]
    if acknowledged:
        rule, names = Rule.BOOKED, tuple(attempt.name for attempt in acknowledged)
        why = f"{request} was answered BOOKED at instant {min(a.ended for a in acknowledged)}"
    elif claim.prior:
        rule, names, why = Rule.BOOKED, (), f"{request} was booked beforehand"
    else:
        rule, names = Rule.IN_DOUBT, tuple(attempt.name for attempt in claim.appliers)
        why = f"{request} was read at instant {claim.latest}"
    but = f"give it {instead[0]}" if instead else "lack it"
    text = f"{why}, but {_where(reading)} {but}"
    return Violation(rule, names, request.resource_id, text, fact=True)


def unwarranted(record: Record) -> Iterator[Violation]:
    """Every booking was there beforehand, or an attempt asked for it that may have made it."""
    reported = set()
    for reading in record.readings():
        for booking_id, units in reading.bookings:
            request = Request(booking_id, reading.resource_id, units)
            claim = record.claims.get(request)
            if request not in reported and not (claim and _warranted(claim, reading)):
                reported.add(request)
                yield _unwarranted(record, request, claim, reading)


def _warranted(claim: Claim, reading: Audit | Final) -> bool:
    if isinstance(reading, Audit):
        return claim.earliest <= reading.at
    return claim.earliest < NEVER


def _unwarranted(
    record: Record, request: Request, claim: Claim | None, reading: Audit | Final
) -> Violation:
    found = f"{_where(reading)} hold {request}"
    name = request.resource_id
    if claim is None:
        asked = [a for c in record.of_id.get(request.booking_id, ()) for a in c.attempts]
        if not asked:
            text = f"{found}, which no attempt asked for"
            return Violation(Rule.BOOKED, (), name, text, fact=True)
        names = tuple(attempt.name for attempt in asked)
        text = f"{found}, but asked for was {asked[0].request}"
        return Violation(_broken_by(asked), names, name, text, fact=True)
    names = tuple(attempt.name for attempt in claim.attempts)
    if not claim.valid:
        text = f"{found}, which is no valid request; the least is 1 unit"
        return Violation(Rule.PROGRAMMING_ERROR, names, name, text)
    if claim.appliers:
        text = f"{found}, but no attempt that could apply it had sent its commit and lived"
        return Violation(_broken_by(claim.appliers), names, name, text)
    answers = ", ".join(sorted({str(a.answer or "an exception") for a in claim.attempts}))
    text = f"{found}, but all its attempts ended without effect: {answers}"
    return Violation(_broken_by(claim.attempts), names, name, text, fact=True)


def _broken_by(attempts: list[Attempt]) -> Rule:
    """Whose promise a booking breaks that these attempts cannot have made."""
    answers = [attempt.answer for attempt in attempts if attempt.answer is not None]
    for outcome in (Outcome.BOOKED, Outcome.REJECTED):
        if any(answer.outcome is outcome for answer in answers):
            return Rule(outcome.value)
    if any(attempt.in_doubt for attempt in attempts):
        return Rule.IN_DOUBT
    for answer in answers:
        if answer.cause is not None:
            return Rule(answer.cause.value)
    return Rule.PROGRAMMING_ERROR


def rejected(record: Record, failing: Iterable[Failing]) -> Iterator[Violation]:
    """At some moment there was no room and the id was free; and there is no doubt about it.

    ``failing`` are the rejections that the sweep finds wanting.
    """
    for found in failing:
        if isinstance(found, Shortfall):
            yield _with_room(record, found)
        elif isinstance(found, Overdue):
            yield _while_booked(found)
    for claim in record.claims.values():
        for attempt in claim.answered(Outcome.REJECTED):
            if claim.prior:
                text = f"REJECTED, but {claim.request} was booked beforehand"
                where = claim.request.resource_id
                yield Violation(Rule.REJECTED, (attempt.name,), where, text, fact=True)
            if attempt.commit_unanswered:
                text = "REJECTED, but its commit was sent and no definite answer came back"
                yield Violation(Rule.REJECTED, (attempt.name,), claim.request.resource_id, text)


def _with_room(record: Record, failing: Shortfall) -> Violation:
    request = failing.attempt.request
    limit = record.header.resources[request.resource_id].capacity
    most, units, last = failing.most, request.requested_units, failing.attempt.ended
    fails = None
    if failing.lack is Lack.UNITS:
        fails = f"{most} + {units} <= {limit}"
        text = (
            f"REJECTED, but at most {most} of {limit} was booked by instant {last}; "
            f"{fails}, it takes {limit - units + 1 - most} more to reject it"
        )
    else:
        text = (
            f"REJECTED at instant {last}, but no choice among the bookings in doubt rejects "
            f"{units} here, bears out the rejections before, and fits {limit} in the end"
        )
    return Violation(Rule.REJECTED, (failing.attempt.name,), request.resource_id, text, fails)


def _while_booked(failing: Overdue) -> Violation:
    attempt, claim = failing.rejection, failing.claim
    text = (
        f"REJECTED ({attempt.request}), but its id was booked ({claim.request}) "
        f"{_since(claim)}, before there was a moment without room"
    )
    names = (attempt.name, *(other.name for other in claim.appliers))
    return Violation(Rule.REJECTED, names, attempt.request.resource_id, text)


def _since(claim: Claim) -> str:
    return "beforehand" if claim.latest == BEFORE else f"by instant {claim.latest}"


def one_id(record: Record) -> Iterator[Violation]:
    """An id reserves at most once; a request is not both booked and rejected. Where an attempt in
    doubt came before the answer, it is the revelation that is broken."""
    yield from _twice(record)
    for booking_id, claims in record.of_id.items():
        granted = [c for c in claims if c.prior or c.answered(Outcome.BOOKED)]
        if len(granted) > 1:
            names = tuple(a.name for c in granted for a in c.answered(Outcome.BOOKED))
            requests = " and ".join(str(claim.request) for claim in granted)
            text = f"{booking_id} was answered BOOKED for different requests: {requests}"
            where = granted[0].request.resource_id
            yield Violation(Rule.ONE_ID, names, where, text, fact=True)
    for claim in record.claims.values():
        refusals = claim.answered(Outcome.REJECTED)
        if not refusals or claim.prior or not claim.exists or not claim.appliers:
            continue
        grants = claim.answered(Outcome.BOOKED) or claim.appliers
        names = tuple(attempt.name for attempt in (*grants, *refusals))
        shown = "answered BOOKED" if claim.answered(Outcome.BOOKED) else "booked"
        text = f"{claim.request} was {shown}, and also answered REJECTED"
        rule = Rule.REVELATION if _doubt_before(claim, refusals) else Rule.ONE_ID
        yield Violation(rule, names, claim.request.resource_id, text, fact=True)


def _twice(record: Record) -> Iterator[Violation]:
    snapshots = [((audit,), _where(audit)) for audit in record.audits]
    together: list[tuple[tuple[Audit | Final, ...], str]] = [*snapshots]
    together.append((tuple(record.finals.values()), "the final bookings"))
    reported = set()
    for readings, where in together:
        rows = Counter(booking_id for reading in readings for booking_id, _ in reading.bookings)
        for booking_id, count in rows.items():
            if count == 1 or booking_id in reported:
                continue
            reported.add(booking_id)
            claims = record.of_id.get(booking_id, [])
            revealed = any(_doubt_before(c, c.answered(Outcome.BOOKED)) for c in claims)
            names = tuple(attempt.name for claim in claims for attempt in claim.appliers)
            resource_id = claims[0].request.resource_id if claims else None
            rule = Rule.REVELATION if revealed else Rule.ONE_ID
            text = f"{where} hold {count} rows of {booking_id}"
            fails = f"rows of {booking_id}: {count} > 1"
            yield Violation(rule, names, resource_id, text, fails, fact=True)
    yield from _twice_over_time(record, reported)


def _twice_over_time(record: Record, reported: set[str]) -> Iterator[Violation]:
    """What was read once is there for good, so what was read at different times adds up: an id
    that was found on one resource is on no other one later."""
    first: dict[str, tuple[Request, Audit | Final]] = {}
    for reading in record.readings():
        for booking_id, units in reading.bookings:
            request = Request(booking_id, reading.resource_id, units)
            held, before = first.setdefault(booking_id, (request, reading))
            if held.resource_id == request.resource_id or booking_id in reported:
                continue  # other units on the same resource are a loss, see ``booked``
            reported.add(booking_id)
            claims = record.of_id.get(booking_id, [])
            names = tuple(attempt.name for claim in claims for attempt in claim.appliers)
            text = f"{_where(before)} hold {held}, and {_where(reading)} {request}"
            yield Violation(Rule.ONE_ID, names, reading.resource_id, text, fact=True)


def _doubt_before(claim: Claim, answers: list[Attempt]) -> bool:
    """Whether one of ``answers`` came after an attempt of the same request that was in doubt."""
    ends = [attempt.ended for attempt in claim.attempts if attempt.in_doubt]
    last = max((attempt.invoked for attempt in answers), default=BEFORE)
    return bool(ends) and min(ends) < last


def _where(reading: Audit | Final) -> str:
    if isinstance(reading, Audit):
        return f"the bookings at instant {reading.at}"
    return "the final bookings"
