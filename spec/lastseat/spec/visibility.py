"""Failure visibility: nothing is hidden between an implementation and its database.

All failures are surfaced explicitly, as outcomes. So between an attempt's first statement and its
answer there are no hidden retries, no swallowed errors and no implicit compensations; nothing is
sent for it after its answer; and it claims neither more nor less than the server has told it. What
happens at one instant is concurrent: no order within it convicts.

Judged is what was seen between the two: *exchanges*, each a statement that a client handed to its
connection and what the server said to it. How they are seen, and in which protocol, is not known
here. Inside one call of the server these rules cannot be seen; the effect tells.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Iterator, Sequence

from attrs import frozen

from lastseat.spec.vocabulary import Answer, Outcome


class Rule(enum.Enum):
    """What must hold for every attempt, as seen from between client and server."""

    NO_HIDDEN_RETRY = (
        "no hidden retry: at most one transaction writes, and after an error, a lost connection "
        "or a guarded write that changed no row nothing more is written"
    )
    NO_SWALLOWED_ERROR = (
        "no swallowed error: a COMMIT that the server answered with ROLLBACK is not BOOKED"
    )
    NO_IMPLICIT_COMPENSATION = (
        "no implicit compensation: no committed write takes a booking back or lowers a count"
    )
    NOTHING_AFTER_THE_OUTCOME = (
        "nothing after the outcome: no write, no commit of one, no open or prepared transaction, "
        "no lock kept, other than the predicate locks that the server itself keeps"
    )
    NOTHING_BEFORE_THE_COMMIT = (
        "nothing before the commit: BOOKED only once the server confirmed the commit, or, for a "
        "repetition, once it was asked and could show the committed booking"
    )
    DOUBT_WHERE_DUE = (
        "in doubt exactly where it is due: a commit was handed to the connection and no definite "
        "answer came back"
    )

    @property
    def title(self) -> str:
        """The rule's short name."""
        return self.value.partition(":")[0]

    @property
    def sentence(self) -> str:
        """What is promised."""
        return self.value.partition(": ")[2]


class Does(enum.Enum):
    """What a statement does."""

    READ = "reads"
    WRITE = "writes"
    COMMIT = "commits"
    ROLLBACK = "rolls back"
    OTHER = "does neither"


@frozen
class Exchange:
    """One statement that a client handed to its connection, and what came back.

    ``attempt`` is the one that was running, or the client's last one; ``others`` are those that the
    statement concerns as well. ``transaction`` numbers the transactions of the whole run; an
    autocommit statement is one of its own. ``commits``: a COMMIT,
    or a write in autocommit. ``answered_at`` is None if no complete answer was delivered;
    ``applied`` is the definite answer to a commit, None if there was none. ``changed`` counts the
    rows of a write; none of a ``guarded`` one means that its guard failed. Times are places in one
    logical sequence.
    """

    attempt: str
    transaction: int
    does: Does
    text: str
    sent_at: int
    commits: bool = False
    answered_at: int | None = None
    sqlstate: str | None = None
    changed: int | None = None
    guarded: bool = False
    applied: bool | None = None
    swallowed: bool = False
    """Whether it is a COMMIT that the server answered with the tag ROLLBACK."""
    reverted: bool = False
    """Whether its client took it back by rolling back to a savepoint."""
    unsure: bool = False
    """Whether it may have written in a transaction that was lost before the server could tell."""
    others: tuple[str, ...] = ()

    @property
    def attempts(self) -> tuple[str, ...]:
        """All attempts that it concerns."""
        return (self.attempt, *self.others)

    @property
    def wrote(self) -> bool:
        """Whether it wrote, or may have, and stands unless its transaction is rolled back."""
        changed = self.changed != 0 and self.sqlstate is None
        return self.does is Does.WRITE and changed and not self.reverted


@frozen
class Attempt:
    """What one attempt told its caller, and when connections broke under it."""

    name: str
    emitted_at: int | None
    """None while it is pending."""
    answer: Answer | None
    """None for an attempt that raised, or is pending."""
    in_doubt: bool
    lost_at: tuple[int, ...] = ()
    left_behind: str | None = None
    """What a look at its idle connections found: an open transaction, a lock, in words."""
    repeats: bool = False
    """Whether another attempt had booked its very request: the committed row was there by its
    answer, and before any commit of its own."""


@frozen
class Snapshot:
    """The committed bookings of one resource at an instant, and its counter, if it has one."""

    at: int
    resource: str
    bookings: tuple[tuple[str, int], ...]
    booked: int | None = None


@frozen
class Violation:
    """A rule that an attempt broke, and the statements that show it."""

    rule: Rule
    attempt: str
    explanation: str


_HEALED = frozenset({"0A000", "26000"})
"""A driver may prepare again what the server no longer knows, for a read before the first write."""


def judge(
    attempts: Iterable[Attempt],
    exchanges: Sequence[Exchange],
    snapshots: Iterable[Snapshot] = (),
) -> Iterator[Violation]:
    """Every violation of a rule by one of the attempts; ``snapshots`` in the order of time."""
    yield from compensations(exchanges, snapshots)
    of = _concerning(exchanges)
    for attempt in attempts:
        for rule, broken in RULES.items():
            explanation = broken(attempt, of.get(attempt.name, []))
            if explanation is not None:
                yield Violation(rule, attempt.name, explanation)


def _concerning(exchanges: Sequence[Exchange]) -> dict[str, list[Exchange]]:
    """The exchanges that concern each attempt: its own, and how each transaction ended in which it
    wrote. Several attempts may write in one transaction, and one of them, or nobody, ends it."""
    writers: dict[int, set[str]] = {}
    for exchange in exchanges:
        if exchange.does is Does.WRITE:
            writers.setdefault(exchange.transaction, set()).update(exchange.attempts)
    of: dict[str, list[Exchange]] = {}
    for exchange in exchanges:
        concerned = set(exchange.attempts)
        if exchange.does in (Does.COMMIT, Does.ROLLBACK):
            concerned |= writers.get(exchange.transaction, set())
        for name in concerned:
            of.setdefault(name, []).append(exchange)
    return of


def hidden_retry(attempt: Attempt, exchanges: Sequence[Exchange]) -> str | None:
    """A second transaction that writes, or a write after the first sign to stop."""
    writes = [e for e in exchanges if e.does is Does.WRITE and _while_running(attempt, e)]
    for write in writes[1:]:
        if write.transaction != writes[0].transaction:
            return (
                f"a second transaction writes: «{write.text}», after the first had written "
                f"«{writes[0].text}»"
            )
    stops = sorted(_signs_to_stop(attempt, exchanges))
    for at, sign in stops[:1]:
        for write in writes:
            if write.sent_at > at:
                return f"after {sign} it wrote again: «{write.text}»"
    return None


def swallowed_error(attempt: Attempt, exchanges: Sequence[Exchange]) -> str | None:
    """BOOKED although the server had rolled its transaction back, and no other had booked it."""
    if not _booked(attempt) or attempt.repeats:
        return None
    wrote = {e.transaction for e in exchanges if e.does is Does.WRITE}
    for exchange in exchanges:
        if exchange.swallowed and exchange.transaction in wrote:
            return "its COMMIT was answered with ROLLBACK, and it said BOOKED"
    return None


def compensations(
    exchanges: Sequence[Exchange], snapshots: Iterable[Snapshot]
) -> Iterator[Violation]:
    """What was booked is gone, or the count is lower, and a write was committed in between.

    Without a commit in between it was not taken back but lost, which is another promise.
    """
    wrote = {e.transaction for e in exchanges if e.wrote}
    commits = [e for e in exchanges if e.commits and e.transaction in wrote]
    before: dict[str, Snapshot] = {}
    for now in snapshots:
        then = before.get(now.resource)
        before[now.resource] = now
        what = _taken_back(then, now) if then is not None else None
        if then is None or what is None:
            continue
        for commit in commits:
            over = commit.answered_at is not None and commit.answered_at <= then.at
            if commit.sent_at < now.at and not over:
                words = f"{what}, when «{commit.text}» of {commit.attempt} was executed"
                yield Violation(Rule.NO_IMPLICIT_COMPENSATION, commit.attempt, words)
                break


def _taken_back(then: Snapshot, now: Snapshot) -> str | None:
    held = dict(now.bookings)
    for booking, units in then.bookings:
        if held.get(booking, 0) < units:
            left = held.get(booking, "none")
            return f"{booking} held {units} of {now.resource}, and then {left}"
    if then.booked is not None and now.booked is not None and now.booked < then.booked:
        return f"{now.resource} counted {then.booked}, and then {now.booked}"
    return None


def after_the_outcome(attempt: Attempt, exchanges: Sequence[Exchange]) -> str | None:
    """A write, or a commit of one, sent after the answer; or something left behind."""
    wrote = {e.transaction for e in exchanges if e.does is Does.WRITE}
    for exchange in exchanges:
        late = attempt.emitted_at is not None and exchange.sent_at > attempt.emitted_at
        matters = exchange.does is Does.WRITE or (
            exchange.commits and exchange.transaction in wrote
        )
        if late and matters:
            return f"«{exchange.text}» was sent after the answer"
    return attempt.left_behind


def before_the_commit(attempt: Attempt, exchanges: Sequence[Exchange]) -> str | None:
    """BOOKED, while a transaction in which it wrote was open, or its commit unanswered; or without
    having asked the server at all, as out of a memory of one's own.

    For a repetition it is enough to have asked: another attempt has committed the booking, and what
    becomes of the transaction in which it was found changes nothing.
    """
    if not _booked(attempt):
        return None
    told = [e for e in exchanges if e.answered_at and not _after(attempt, e.answered_at)]
    if not any(e.does in (Does.READ, Does.WRITE) for e in told):
        return "it said BOOKED, and the server had told it nothing that could show a booking"
    if attempt.repeats:
        return None
    committed = {e.transaction for e in told if e.commits}
    # What was rolled back, refused or lost before its commit is not what it speaks of.
    mine = [e for e in exchanges if _while_running(attempt, e)]
    given_up = {e.transaction for e in mine if e.does is Does.ROLLBACK or e.sqlstate}
    lost = {e.transaction for e in exchanges if e.answered_at is None and not e.commits}
    for write in exchanges:
        if write.transaction in committed | given_up | lost or not write.wrote:
            continue
        if _while_running(attempt, write):
            return f"it said BOOKED before the commit of «{write.text}» was confirmed"
    return None


def doubt_where_due(attempt: Attempt, exchanges: Sequence[Exchange]) -> str | None:
    """Doubt claimed without a commit on the way, or denied with one.

    What the server did to a commit whose answer was lost the attempt cannot know: it may doubt. If
    the server refused it, or another attempt had booked the id, an attempt that does not doubt is
    right all the same; and so it is if nobody knows whether there was anything to commit.
    """
    if attempt.emitted_at is None or _booked(attempt):
        return None
    on_the_way = list(_commits_on_the_way(attempt, exchanges))
    if attempt.in_doubt and not on_the_way:
        return "it claims doubt, but no commit of its own was without a definite answer"
    took = {e.transaction for e in exchanges if e.wrote and not e.unsure}
    for commit in on_the_way:
        refused = commit.applied is False or commit.transaction not in took
        at_once = commit.answered_at == attempt.emitted_at
        if not attempt.in_doubt and not (refused or attempt.repeats or at_once):
            return (
                f"it claims to know that nothing was booked, but «{commit.text}» had been sent and "
                "no definite answer to it had come back"
            )
    return None


RULES: dict[Rule, Callable[[Attempt, Sequence[Exchange]], str | None]] = {
    Rule.NO_HIDDEN_RETRY: hidden_retry,
    Rule.NO_SWALLOWED_ERROR: swallowed_error,
    Rule.NOTHING_AFTER_THE_OUTCOME: after_the_outcome,
    Rule.NOTHING_BEFORE_THE_COMMIT: before_the_commit,
    Rule.DOUBT_WHERE_DUE: doubt_where_due,
}


def _booked(attempt: Attempt) -> bool:
    return attempt.answer is not None and attempt.answer.outcome is Outcome.BOOKED


def _after(attempt: Attempt, at: int) -> bool:
    return attempt.emitted_at is not None and at > attempt.emitted_at


def _before(attempt: Attempt, at: int) -> bool:
    return attempt.emitted_at is None or at < attempt.emitted_at


def _while_running(attempt: Attempt, exchange: Exchange) -> bool:
    return not _after(attempt, exchange.sent_at)


def _signs_to_stop(attempt: Attempt, exchanges: Sequence[Exchange]) -> Iterator[tuple[int, str]]:
    for at in attempt.lost_at:
        yield at, "its connection was lost"
    wrote = False
    for exchange in exchanges:
        wrote = wrote or exchange.does is Does.WRITE
        if exchange.answered_at is None:
            continue
        if exchange.sqlstate is not None and (wrote or exchange.sqlstate not in _HEALED):
            yield exchange.answered_at, f"the server's error {exchange.sqlstate}"
        elif exchange.changed == 0 and exchange.guarded:
            yield exchange.answered_at, f"«{exchange.text}» had changed no row"


def _commits_on_the_way(attempt: Attempt, exchanges: Sequence[Exchange]) -> Iterator[Exchange]:
    """Its commits behind a write that it was not told to have failed, without definite answer
    before its own. What came at the same instant as its own may have been known, or not."""
    wrote = {e.transaction for e in exchanges if e.wrote or _failed_unheard(attempt, e)}
    for exchange in exchanges:
        sent = (
            exchange.commits and exchange.transaction in wrote and _while_running(attempt, exchange)
        )
        answered = exchange.answered_at if exchange.applied is not None else None
        if sent and (answered is None or not _before(attempt, answered)):
            yield exchange


def _failed_unheard(attempt: Attempt, exchange: Exchange) -> bool:
    heard = exchange.answered_at is not None and not _after(attempt, exchange.answered_at)
    return exchange.does is Does.WRITE and not exchange.wrote and not heard
