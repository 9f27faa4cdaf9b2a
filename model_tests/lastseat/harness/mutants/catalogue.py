"""The wrong implementations by name, and the right ones beside them."""

from __future__ import annotations

from collections.abc import Iterable

from attrs import frozen

from lastseat.harness.implementations.client import Implementation
from lastseat.spec import visibility
from lastseat.spec.rules import Rule

_HERE = __package__

ALL_RULES = frozenset({rule.value for rule in Rule} | {rule.title for rule in visibility.Rule})


@frozen
class Mutant:
    """``breaks`` names the rules of which at least one must be among those it is convicted by."""

    name: str
    factory: str
    does: str
    """Its mechanism, in one sentence."""
    promise: str = ""
    """What its callers rely on and do not get."""
    breaks: frozenset[str] = frozenset()

    @property
    def about_input(self) -> bool:
        """Is it wrong about requests that are no attempts at all? Not everybody guards them."""
        return self.promise == _INPUT

    @property
    def implementation(self) -> Implementation:
        return Implementation.ours(f"{_HERE}.{self.factory}", self.name)


def _wrong(name: str, factory: str, does: str, promise: str, *breaks: str) -> Mutant:
    return Mutant(name, factory, does, promise, frozenset(breaks))


_CAPACITY = "never more is booked than there is"
_KEPT = "what was BOOKED is there"
_GONE = "what was not BOOKED is not there"
_ROOM = "nobody is rejected where there is room"
_ONCE = "one id is booked once, and answered alike"
_CLASS = "each answer means what it says"
_INPUT = "a request that is wrong in itself leaves no trace"
_OPEN = "nothing is hidden from the caller"


MUTANTS: tuple[Mutant, ...] = (
    _wrong(
        "X01",
        "races:sum_then_insert",
        "reads the sum without a lock, compares, inserts",
        _CAPACITY,
        "capacity",
    ),
    _wrong(
        "X02",
        "races:absolute_value",
        "reads the counter and writes the new value back; a CHECK does not help",
        _CAPACITY,
        "capacity",
        "counter",
    ),
    _wrong(
        "X03",
        "races:lock_and_sum_at_once",
        "locks and sums up in one statement, which sees its old snapshot after the wait",
        _CAPACITY,
        "capacity",
    ),
    _wrong(
        "X06",
        "races:sum_before_lock",
        "sums up first, locks then, and decides by the old sum",
        _CAPACITY,
        "capacity",
    ),
    _wrong(
        "X08",
        "races:write_skew",
        "trusts in REPEATABLE READ, where no row is shared",
        _CAPACITY,
        "capacity",
    ),
    _wrong(
        "X10",
        "races:lock_bookings",
        "locks the bookings that exist, and not those that come",
        _CAPACITY,
        "capacity",
    ),
    _wrong(
        "X14",
        "races:unlock_before_commit",
        "gives its advisory lock back before the commit",
        _CAPACITY,
        "capacity",
    ),
    _wrong(
        "X16",
        "races:level_before_begin",
        "sets the isolation level before BEGIN, where it holds for nothing",
        _CAPACITY,
        "capacity",
    ),
    _wrong(
        "X19",
        "races:vacuous_check",
        "checks under the lock with a generator that is used up",
        _CAPACITY,
        "capacity",
    ),
    _wrong(
        "X21",
        "triggers:summed_at_commit",
        "lets a deferred trigger sum up at COMMIT, which does not see another COMMIT",
        _CAPACITY,
        "capacity",
    ),
    _wrong(
        "X22",
        "races:insert_then_sum",
        "inserts, sums up, and rolls back if it was too much",
        _CAPACITY,
        "capacity",
    ),
    _wrong(
        "X23",
        "halves:insert_then_take_back",
        "commits the row, sums up, and deletes it if it was too much",
        _OPEN,
        "no implicit compensation",
        "no hidden retry",
        "capacity",
        "REJECTED",
    ),
    _wrong(
        "X25",
        "races:unchecked_version",
        "compares the version, and does not look whether a row was changed",
        _CAPACITY,
        "capacity",
        "counter",
    ),
    _wrong(
        "X27",
        "halves:two_transactions",
        "moves the counter in one transaction, and writes the row in another",
        _KEPT,
        "counter",
        "no hidden retry",
        "REJECTED",
    ),
    _wrong(
        "X28",
        "halves:counted_anyway",
        "moves the counter whether the row was new or not",
        _ROOM,
        "counter",
        "REJECTED",
        "revelation",
        "one id",
    ),
    _wrong(
        "X29",
        "answers:any_repetition",
        "answers BOOKED for an id that is booked otherwise",
        _CLASS,
        "BOOKED",
        "programming error",
    ),
    _wrong(
        "X31",
        "answers:looked_too_early",
        "looks for the id before the guarded update, and not again when that finds no room",
        _ONCE,
        "REJECTED",
        "one id",
        "revelation",
    ),
    _wrong(
        "X34",
        "answers:busy_is_full",
        "answers REJECTED where the row is locked",
        _ROOM,
        "REJECTED",
        "determinism",
    ),
    _wrong(
        "X36",
        "answers:overtaken_is_full",
        "answers REJECTED to a serialization failure or a deadlock",
        _ROOM,
        "REJECTED",
        "determinism",
    ),
    _wrong(
        "X37",
        "answers:failed_is_full",
        "answers REJECTED to whatever goes wrong",
        _CLASS,
        "REJECTED",
        "determinism",
    ),
    _wrong(
        "X38",
        "answers:constraints_are_failures",
        "answers FAILED where the database says that the id is booked, or that there is no room",
        _CLASS,
        "CONFLICT",
        "INFRASTRUCTURE",
        "determinism",
    ),
    _wrong(
        "X39",
        "hidden:swallowed",
        "takes an error of the insert for a repetition, and COMMIT's answer for granted",
        _KEPT,
        "BOOKED",
        "no swallowed error",
    ),
    _wrong(
        "X41",
        "halves:returned_inside",
        "returns REJECTED out of a block that commits",
        _GONE,
        "REJECTED",
        "capacity",
    ),
    _wrong(
        "X43",
        "hidden:commit_later",
        "answers BOOKED, and commits in the background",
        _KEPT,
        "nothing before the commit",
        "nothing after the outcome",
        "BOOKED",
    ),
    _wrong(
        "X44",
        "hidden:repeated_when_lost",
        "does it all again on another connection when one is lost",
        _ONCE,
        "one id",
        "no hidden retry",
    ),
    _wrong(
        "X46",
        "answers:doubt_denied",
        "says of a commit whose answer was lost that nothing was booked",
        _GONE,
        "in doubt exactly where it is due",
        "INFRASTRUCTURE",
        "revelation",
    ),
    _wrong(
        "X48",
        "hidden:retried",
        "tries again, inside the call, what the server called a conflict",
        _OPEN,
        "no hidden retry",
    ),
    _wrong(
        "X50",
        "asynchronous:Expiring",
        "queues a ROLLBACK when time is up, and its own next statement behind it",
        _GONE,
        "nothing after the outcome",
        "INFRASTRUCTURE",
        "counter",
    ),
    _wrong(
        "X51",
        "hidden:left_open",
        "gives back a connection with an open transaction when it fails",
        _KEPT,
        "nothing after the outcome",
        "transience",
    ),
    _wrong(
        "X59",
        "answers:room_for_one",
        "asks whether there is room, and not for how much",
        _CAPACITY,
        "capacity",
        "determinism",
    ),
    _wrong(
        "X61",
        "answers:any_units",
        "books nought units, and fewer",
        _INPUT,
        "programming error",
        "capacity",
    ),
    _wrong(
        "racy-function",
        "triggers:racy_function",
        "lets one function do it all, as a transaction of its own, without a lock",
        _CAPACITY,
        "capacity",
    ),
    _wrong(
        "counted-before",
        "triggers:counted_before",
        "counts in a BEFORE trigger, whether there will be a row or not",
        _ROOM,
        "counter",
        "REJECTED",
        "one id",
        "revelation",
        "determinism",
    ),
    _wrong(
        "looked-outside",
        "answers:looked_outside",
        "looks for the id, and waits for the lock then: an earlier commit may have landed",
        _ONCE,
        "REJECTED",
        "one id",
        "revelation",
    ),
    _wrong(
        "doubt-everywhere",
        "answers:doubt_everywhere",
        "calls everything in doubt that goes wrong",
        _CLASS,
        "in doubt",
        "in doubt exactly where it is due",
    ),
    _wrong(
        "retried-inside",
        "hidden:retried_inside",
        "tries the guarded update until it changes a row, within one transaction",
        _OPEN,
        "no hidden retry",
    ),
    _wrong(
        "commit-unheard",
        "hidden:commit_unheard",
        "sends the commit, and answers BOOKED without waiting for its answer",
        _KEPT,
        "nothing before the commit",
        "BOOKED",
    ),
    _wrong(
        "looked-up",
        "hidden:looked_up",
        "asks on another connection what became of a commit, and answers BOOKED",
        _OPEN,
        "nothing before the commit",
        "determinism",
        "no hidden retry",
    ),
    _wrong(
        "remembered",
        "answers:remembered",
        "answers BOOKED out of its memory for an id that it was about to book before",
        _OPEN,
        "nothing before the commit",
        "BOOKED",
        "determinism",
    ),
    _wrong(
        "written-down-later",
        "hidden:written_down_later",
        "writes to a journal once the caller was told",
        _OPEN,
        "nothing after the outcome",
    ),
)


def _right(name: str, factory: str, does: str) -> Mutant:
    return Mutant(name, factory, does)


CONFORMING: tuple[Mutant, ...] = (
    _right(
        "guarded-update",
        "conforming:guarded_update",
        "inserts unless it is there, then updates the counter if there is room",
    ),
    _right(
        "lock-then-sum",
        "conforming:lock_then_sum",
        "locks the resource, and sums up in a second statement",
    ),
    _right(
        "serializable",
        "conforming:serializable",
        "leaves it to SERIALIZABLE, and tells of every conflict",
    ),
    _right(
        "lock-table",
        "conforming:lock_table",
        "locks the table before its snapshot is taken, under REPEATABLE READ",
    ),
    _right(
        "advisory-lock",
        "conforming:advisory_lock",
        "holds an advisory lock to the end of its transaction",
    ),
    _right(
        "version-check",
        "conforming:version_check",
        "writes only if the version is still the one that it read",
    ),
    _right(
        "one-statement",
        "conforming:one_statement",
        "updates the counter and inserts the row in one statement of its own",
    ),
    _right(
        "cancels-first",
        "conforming:cancels_first",
        "as guarded-update; at its deadline it has the server cancel, and closes the connection",
    ),
    _right(
        "hangs-up-at-once",
        "conforming:hangs_up_at_once",
        "as guarded-update; at any error it resets the connection at once",
    ),
    _right(
        "server-function",
        "conforming:server_function",
        "calls one function, which locks, looks and inserts",
    ),
    _right(
        "asynchronous",
        "asynchronous:Guarded",
        "as guarded-update, on an asynchronous connection",
    ),
    _right(
        "function-in-transaction",
        "right.decided:function_in_transaction",
        "calls the function in a transaction, which is committed whatever it says",
    ),
    _right(
        "procedure-in-transaction",
        "right.decided:procedure_in_transaction",
        "calls a procedure in a transaction, which is committed whatever it says",
    ),
    _right(
        "nested-savepoints",
        "right.decided:nested_savepoints",
        "inserts in nested atomic blocks, and undoes them if there is no room",
    ),
    _right(
        "savepoint-twice",
        "right.decided:savepoint_twice",
        "guards what each attempt writes with a savepoint of the same name",
    ),
    _right(
        "on-conflict-repeat",
        "right.decided:on_conflict_repeat",
        "takes an insert that does nothing for a repetition, once it has seen the row",
    ),
    _right(
        "X54",
        "conforming:insert_then_lock",
        "inserts, and locks the resource then: legal, but two of them deadlock",
    ),
    _right(
        "serializable-without-key",
        "right.isolation:serializable_without_key",
        "as serializable, and no key keeps one id from being booked twice",
    ),
    _right(
        "repeatable-read",
        "right.isolation:repeatable_read",
        "writes the counter back under REPEATABLE READ, and tells who was overtaken",
    ),
    _right(
        "nowait",
        "right.locking:nowait",
        "locks with NOWAIT: a resource that is locked is a conflict",
    ),
    _right(
        "lock-timeout",
        "right.locking:lock_timeout",
        "waits for a lock for a second, and tells of a conflict then",
    ),
    _right(
        "skip-locked",
        "right.locking:skip_locked",
        "takes a row for each unit, past those that others have locked",
    ),
    _right(
        "merge",
        "right.arbiters:merge",
        "moves the counter by MERGE",
    ),
    _right(
        "exclusion",
        "right.arbiters:exclusion",
        "asks for the next free places, guarded by an exclusion constraint",
    ),
    _right(
        "counting-trigger",
        "right.arbiters:counting_trigger",
        "inserts in a transaction of its own; a trigger counts, and a CHECK decides",
    ),
    _right(
        "deferred-trigger",
        "right.arbiters:deferred_trigger",
        "lets a deferred trigger lock the resource and sum up at COMMIT",
    ),
    _right(
        "procedure",
        "right.arbiters:procedure",
        "calls one procedure, which locks, looks and inserts",
    ),
    _right(
        "procedure-that-commits",
        "right.arbiters:procedure_that_commits",
        "calls one procedure, which commits by itself",
    ),
    _right(
        "made-up-values",
        "right.values:made_up_values",
        "makes up a row's id, a time and a savepoint's name in every attempt",
    ),
    _right(
        "outbox",
        "right.values:outbox",
        "leaves a message for others in the same transaction",
    ),
    _right(
        "notifying",
        "right.values:notifying",
        "listens to what others book on its own connection, and notifies them",
    ),
    _right(
        "look-first",
        "right.values:look_first",
        "turns callers away after a look, in a transaction of its own",
    ),
    _right(
        "pipelined",
        "right.connections:pipelined",
        "sends BEGIN, the statements and COMMIT in one go",
    ),
    _right(
        "two-phase",
        "right.connections:two_phase",
        "commits in two phases, and rolls back what is prepared when it is not sure",
    ),
    _right(
        "pooled",
        "right.connections:Pool",
        "borrows its connections from psycopg_pool",
    ),
)

CANARIES: tuple[Mutant, ...] = tuple(m for m in MUTANTS if m.name in {"X03", "X39", "X48"})
"""Convicted in every verification: by an interleaving, by a fault, and by a look at the wire."""


def named(names: Iterable[str]) -> tuple[Mutant, ...]:
    """Those of these names, in the catalogue's order."""
    wanted = set(names)
    return tuple(mutant for mutant in (*CONFORMING, *MUTANTS) if mutant.name in wanted)
