"""The model in step: after every move the database must be where the model can be, and every answer
must be among those that are legal at that moment.

It is the second opinion beside ``legality``, which judges the whole history afterwards: this one
goes forward with the sequential step and knows only what has happened so far. Of what reaches an
attempt it takes note of one thing: whether a commit of its own was sent and not answered.
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from attrs import Factory, define, frozen

from lastseat.spec.events import CommitSent, Phase, Seen, What
from lastseat.spec.resource import ProgrammingError, Resource, State, step
from lastseat.spec.rules import Rule
from lastseat.spec.vocabulary import (
    BOOKED,
    CONFLICT,
    IN_DOUBT,
    INFRASTRUCTURE,
    REJECTED,
    Answer,
    Request,
)


@frozen
class Objection:
    """What could not have happened: the rule that it breaks, the attempt, and why."""

    rule: Rule
    attempt: str | None
    words: str


class _Commit(enum.Enum):
    """How far an attempt's commit has come."""

    NONE = "not sent, or refused"
    SENT = "sent"
    UNANSWERED = "sent, and no definite answer can come any more"


@define
class _Attempt:
    request: Request
    rejectable: bool = False
    """Was there a moment since its invocation at which the step would have rejected it?"""
    answer: Answer | None = None
    commit: _Commit = _Commit.NONE
    over: bool = False
    """Whether it can have no effect any more."""


@define
class InStep:
    """The model's state, and what each attempt may still be answered."""

    state: State
    objections: list[Objection] = Factory(list)
    _attempts: dict[str, _Attempt] = Factory(dict)

    def declare(self, resource: str, capacity: int) -> None:
        """One more resource, with nothing booked."""
        self.state = State({**self.state.resources, resource: Resource(capacity)})

    def resources(self) -> Sequence[str]:
        return list(self.state.resources)

    def invoked(self, name: str, request: Request) -> None:
        """An attempt begins."""
        self._attempts[name] = _Attempt(request)
        self._note_rejections()

    def noted(self, event: Seen | CommitSent) -> None:
        """An attempt has sent its commit, or something other than success has reached it."""
        attempt = self._attempts[event.attempt]
        if isinstance(event, CommitSent):
            attempt.commit = _Commit.SENT
        elif attempt.commit is _Commit.SENT and event.phase is not Phase.CLEANUP:
            refused = event.what is What.ERROR
            attempt.commit = _Commit.NONE if refused else _Commit.UNANSWERED

    def observed(self, resource: str, rows: Sequence[tuple[str, int]], booked: int | None) -> None:
        """These bookings are committed now: the model must be able to follow."""
        before = self.state.resources[resource]
        units = dict(rows)
        for booking, count in Counter(booking for booking, _ in rows).items():
            if count > 1:
                self._object(Rule.ONE_ID, None, f"{booking} is booked {count} times on {resource}")
        for booking, held in before.bookings.items():
            if units.get(booking) != held:
                self._object(Rule.BOOKED, None, f"{booking}, {held} of {resource}, was lost")
        for booking in units.keys() - before.bookings.keys():
            self._follow(Request(booking, resource, units[booking]))
        total = sum(n for _, n in rows)
        if booked is not None and booked != total:
            self._object(Rule.COUNTER, None, f"{resource} counts {booked}, its rows sum to {total}")
        if total > before.capacity:
            words = f"{total} of {resource} are booked, its capacity is {before.capacity}"
            self._object(Rule.CAPACITY, None, words)
        self._adopt(resource, units)
        self._note_rejections()

    def _follow(self, booking: Request) -> None:
        """A booking has appeared: some attempt made it, and the step would have booked it."""
        same = {n: a for n, a in self._attempts.items() if a.request == booking}
        if not any(not attempt.over for attempt in same.values()):
            rule, name = self._culprit(same)
            self._object(rule, name, f"{booking} appeared, and no attempt can have made it")
            return
        try:
            _, answer = step(self.state, booking)
        except ProgrammingError as error:
            self._object(Rule.ONE_ID, None, f"{booking} appeared: {error}")
            return
        if answer != BOOKED:
            self._object(Rule.CAPACITY, None, f"{booking} appeared where there was no room for it")

    @staticmethod
    def _culprit(same: Mapping[str, _Attempt]) -> tuple[Rule, str | None]:
        rules = {
            REJECTED: Rule.REJECTED,
            CONFLICT: Rule.CONFLICT,
            INFRASTRUCTURE: Rule.INFRASTRUCTURE,
        }
        for name, attempt in same.items():
            if attempt.answer in rules:
                return rules[attempt.answer], name
        return Rule.ONE_ID, None

    def _adopt(self, resource: str, units: Mapping[str, int]) -> None:
        known = self.state.resources
        found = Resource(known[resource].capacity, units)
        self.state = State({**known, resource: found})

    def _note_rejections(self) -> None:
        for attempt in self._attempts.values():
            if attempt.answer is None and not attempt.rejectable:
                attempt.rejectable = self._step(attempt.request) == REJECTED

    def _step(self, request: Request) -> Answer | None:
        try:
            return step(self.state, request)[1]
        except ProgrammingError:
            return None

    def emitted(self, name: str, answer: Answer) -> None:
        """An attempt ends with an answer, which must be legal now."""
        attempt = self._attempts[name]
        legal = set(self._legal(attempt))
        attempt.answer = answer
        attempt.over = answer != IN_DOUBT and not self._unanswered(attempt)
        if answer not in legal:
            among = ", ".join(sorted(map(str, legal))) or "none"
            words = f"{attempt.request} was answered {answer}; legal was {among}"
            self._object(_rule_of(answer), name, words)

    def _legal(self, attempt: _Attempt) -> Iterator[Answer]:
        """The answers that the moment allows; what reached the attempt is judged afterwards."""
        booked = self.state.booking(attempt.request.booking_id) == attempt.request
        if booked:
            yield BOOKED
        yield IN_DOUBT
        if self._unanswered(attempt):
            return
        if attempt.rejectable and not booked:
            yield REJECTED
        if not booked or self._has_rival(attempt):
            yield CONFLICT
            yield INFRASTRUCTURE

    @staticmethod
    def _unanswered(attempt: _Attempt) -> bool:
        """Whether its commit may still be applied, or have been, for all that it was told."""
        return attempt.commit is _Commit.UNANSWERED and attempt.answer != BOOKED

    def _has_rival(self, attempt: _Attempt) -> bool:
        """Whether another attempt of the same request could have made its booking."""
        return any(
            other is not attempt
            and other.request == attempt.request
            and (other.answer in {None, BOOKED, IN_DOUBT} or self._unanswered(other))
            for other in self._attempts.values()
        )

    def raised(self, name: str, *, in_doubt: bool) -> None:
        """An attempt ends with an exception."""
        attempt = self._attempts[name]
        attempt.over = not in_doubt and not self._unanswered(attempt)

    def fenced(self, name: str) -> None:
        """The attempt can do nothing more."""
        self._attempts[name].over = True

    def _object(self, rule: Rule, attempt: str | None, words: str) -> None:
        objection = Objection(rule, attempt, words)
        if objection not in self.objections:
            self.objections.append(objection)


def _rule_of(answer: Answer) -> Rule:
    return {
        BOOKED: Rule.BOOKED,
        REJECTED: Rule.REJECTED,
        CONFLICT: Rule.CONFLICT,
        INFRASTRUCTURE: Rule.INFRASTRUCTURE,
        IN_DOUBT: Rule.IN_DOUBT,
    }[answer]


def rules(objections: Iterable[Objection]) -> frozenset[Rule]:
    """The rules that were broken."""
    return frozenset(objection.rule for objection in objections)
