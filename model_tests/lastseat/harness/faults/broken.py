"""Connections that end: before the request arrives, in its answer or behind it, in a wait."""

from __future__ import annotations

from collections.abc import Callable

from lastseat.harness.faults.fault import Arrives, Fault, Place, Tells, server_works, turn_waits
from lastseat.harness.faults.possible import possible, statement_of
from lastseat.harness.gate import treatment
from lastseat.harness.gate.events import Answered, Broken, GateEvent, Undelivered
from lastseat.harness.gate.sql import Kind, classify
from lastseat.harness.gate.treatment import LastWords, Then, Treatment

_SENTENCE = {
    "lost": "the turn was taken from the client, and never sent to the server",
    "unheard": "the server has answered completely, and the client was not given all of it",
}


def _never_arrived(event: GateEvent) -> bool:
    return isinstance(event, Undelivered)


def _not_given(event: GateEvent) -> bool:
    return isinstance(event, Answered) and not event.delivered


def _ended(by: str) -> Callable[[GateEvent], bool]:
    return lambda event: isinstance(event, Broken) and event.by == by


def _cuts(*, reset: bool = False, says: LastWords | None = None) -> Callable[[Place], None]:
    def trigger(place: Place) -> None:
        assert place.connection is not None
        place.connection.cut(reset=reset, says=says)

    return trigger


def _treats(shown: treatment.Shown, then: Then, *, whole: bool = False) -> Callable[[Place], None]:
    def trigger(place: Place) -> None:
        assert place.connection is not None
        place.connection.release(Treatment(shown, then, whole))

    return trigger


def _lost(
    name: str,
    words: str,
    stands_for: str,
    trigger: Callable[[Place], None],
    says: LastWords | None = None,
) -> Fault:
    """The request does not arrive."""
    return Fault(
        name,
        words,
        stands_for,
        turn_waits if says is None or says.sqlstate not in _NO_SESSION else _asks_for_a_session,
        trigger,
        _never_arrived,
        _SENTENCE["lost"],
        Arrives.NEVER,
        Tells.NOTHING,
        says.sqlstate if says is not None else None,
        at_once=True,
    )


def _unheard(
    name: str,
    words: str,
    stands_for: str,
    shown: treatment.Shown,
    then: Then = Then.CLOSE,
    sqlstate: str | None = None,
    longer_than: int = 0,
    at: Callable[[Place], bool] = turn_waits,
) -> Fault:
    """The request is executed, and its answer does not arrive as a whole."""
    return Fault(
        name,
        words,
        stands_for,
        lambda place: turn_waits(place) and at(place) and _replies(place) > longer_than,
        _treats(shown, then),
        _not_given,
        _SENTENCE["unheard"],
        Arrives.IN_TIME,
        Tells.NOTHING,
        sqlstate,
    )


def _flushes(place: Place) -> bool:
    """Whether a statement of the turn may have to wait for the log to be on disk."""
    connection = place.connection
    statements = connection.held[0].statements if connection is not None else ()
    return any(possible("58030", statement_of(s.sql, place.where), place.where) for s in statements)


def _replies(place: Place) -> int:
    return place.connection.held[0].replies if place.connection is not None else 0


_NO_SESSION = frozenset({"53300", "57P03"})
"""With these a server takes no session; in the middle of one nobody hears them."""


def _asks_for_a_session(place: Place) -> bool:
    """Outside a transaction a pooler looks for a session of the server's when a turn comes."""
    connection = place.connection
    return turn_waits(place) and connection is not None and connection.status == "I"


def _garble(place: Place) -> None:
    assert place.connection is not None
    place.connection.garble_request()


def _terminate(place: Place) -> None:
    assert place.connection is not None
    place.backends.terminate(place.connection.backend_pid)


def _cancel(place: Place) -> None:
    assert place.connection is not None
    place.backends.cancel(place.connection.backend_pid)


def _is_cancelled(event: GateEvent) -> bool:
    error = event.answer.error if isinstance(event, Answered) else None
    return error is not None and error.sqlstate == "57014"


def _only_commits(place: Place) -> bool:
    connection = place.connection
    if connection is None or not turn_waits(place) or connection.status != "T":
        return False
    kinds = [classify(statement.sql) for statement in connection.held[0].statements]
    return kinds == [Kind.COMMIT] and connection.held[0].ends_with in "QS"


def _fail_behind_its_back(place: Place) -> None:
    assert place.connection is not None
    raising = "DO $lastseat$ BEGIN RAISE EXCEPTION 'unseen by the client'; END $lastseat$"
    place.connection.release(behind=raising)


def _rolled_back(event: GateEvent) -> bool:
    return isinstance(event, Answered) and event.delivered and "ROLLBACK" in event.answer.tags


_TERMINATED = treatment.fatal("57P01", "terminating connection due to administrator command")
_TOO_MANY = treatment.fatal("53300", "sorry, too many clients already")
_STARTING = treatment.fatal("57P03", "the database system is starting up")
_POOLER = treatment.fatal("08P01", "server conn crashed?")
_FSYNC = treatment.panic("58030", "could not fsync file: Input/output error")

LOSING = (
    _lost(
        "lose-request",
        "the connection is closed, and the request is lost before it reaches the server",
        "a proxy that ends, a server that left while the bytes were on their way",
        _cuts(),
    ),
    _lost(
        "reset-request",
        "the connection is reset, and the request is lost before it reaches the server",
        "a firewall that has forgotten the connection, a host that was restarted",
        _cuts(reset=True),
    ),
    _lost(
        "fatal-57P01",
        "the server says FATAL 57P01 and ends, and the request is lost",
        "an administrator stops the server, or terminates the session",
        _cuts(says=_TERMINATED),
        _TERMINATED,
    ),
    _lost(
        "fatal-53300",
        "FATAL 53300, too many clients, in the answer's place; then the connection ends",
        "a pooler that gets no session of the server's for the turn",
        _cuts(says=_TOO_MANY),
        _TOO_MANY,
    ),
    _lost(
        "fatal-57P03",
        "FATAL 57P03, starting up, in the answer's place; then the connection ends",
        "a pooler whose server is being restarted",
        _cuts(says=_STARTING),
        _STARTING,
    ),
    _unheard(
        "lose-answer",
        "the server executes the request, the connection is closed, and its answer is lost",
        "the network fails while the server works",
        treatment.nothing,
    ),
    _unheard(
        "reset-answer",
        "the server executes the request, the connection is reset, and its answer is lost",
        "a firewall that has forgotten the connection while the server worked",
        treatment.nothing,
        Then.RESET,
    ),
    *(
        _unheard(
            f"cut-after-{count}",
            f"the answer is cut behind {count} of its messages",
            "the network fails in the middle of an answer",
            treatment.first(count),
            longer_than=count + 1,
        )
        for count in (1, 2, 3)
    ),
    _unheard(
        "cut-inside",
        "the answer is cut in the middle of the message before the last, CommandComplete mostly",
        "the network fails in the middle of an answer",
        treatment.up_to_half_a_message,
    ),
    _unheard(
        "cut-before-ready",
        "all of the answer arrives but ReadyForQuery",
        "the network fails at the end of an answer: the tag alone proves nothing",
        treatment.all_but_the_last,
    ),
    _unheard(
        "fatal-08P01",
        "the server executes the request; FATAL 08P01 in the place of its answer",
        "a pooler that lost its server",
        treatment.replaced_by(_POOLER),
        sqlstate="08P01",
    ),
    _unheard(
        "panic-58030",
        "the server executes the request; PANIC 58030 in the place of its answer",
        "fsync of the log fails behind a commit: after recovery the commit is there",
        treatment.replaced_by(_FSYNC),
        sqlstate="58030",
        at=_flushes,
    ),
    _unheard(
        "garble-answer",
        "the server executes the request, and its answer begins with the header of another message",
        "a proxy that mixes up two streams",
        treatment.garbled,
    ),
)

OTHER_ENDS = (
    Fault(
        "garble-request",
        "the server gets bytes that it cannot read in the place of the request",
        "a proxy that mixes up two streams",
        turn_waits,
        _garble,
        _ended("server"),
        "the server has ended the connection, and has never seen the turn",
        Arrives.NEVER,
        Tells.NOTHING,
        "08P01",
        at_once=True,
    ),
    Fault(
        "close-behind-answer",
        "the answer arrives, and then the end of the connection",
        "a server that is stopped while the client thinks",
        turn_waits,
        _treats(treatment.everything, Then.CLOSE, whole=True),
        _ended("gate"),
        "the answer was given to the client, and the connection closed behind it",
        Arrives.IN_TIME,
        Tells.ANSWER,
    ),
    Fault(
        "double-answer",
        "the answer arrives twice, and then the end of the connection",
        "a proxy that repeats what it has sent: the copy looks like the next answer",
        turn_waits,
        _treats(treatment.twice, Then.CLOSE, whole=True),
        _ended("gate"),
        "the answer was given to the client twice, and the connection closed behind it",
        Arrives.IN_TIME,
        Tells.ANSWER,
    ),
    Fault(
        "rolled-back",
        "COMMIT is answered ROLLBACK: the transaction had failed, and the client was not told",
        "an error that a layer in between has swallowed",
        _only_commits,
        _fail_behind_its_back,
        _rolled_back,
        "the server itself has answered the COMMIT with the tag ROLLBACK",
        Arrives.IN_TIME,
        Tells.ROLLBACK,
        breaks=False,
    ),
    Fault(
        "terminate",
        "an administrator terminates the server process",
        "pg_terminate_backend, also while it waits for a lock",
        lambda place: place.busy and place.connection is not None and place.connection.alive,
        _terminate,
        _ended("server"),
        "the server has ended the connection",
        Arrives.NEVER,
        Tells.NOTHING,
        "57P01",
        at_once=True,
    ),
)

WHILE_WAITING = (
    Fault(
        "lose-waiting",
        "the connection is closed while the server works or waits for a lock",
        "a client host that loses its network: the server does not notice before it answers",
        server_works,
        _cuts(),
        _ended("gate"),
        "the connection was closed with a turn in flight",
        Arrives.IN_TIME,
        Tells.NOTHING,
        at_once=True,
    ),
    Fault(
        "reset-waiting",
        "the connection is reset while the server works or waits for a lock",
        "a firewall that has forgotten the connection during a long wait",
        server_works,
        _cuts(reset=True),
        _ended("gate"),
        "the connection was reset with a turn in flight",
        Arrives.IN_TIME,
        Tells.NOTHING,
        at_once=True,
    ),
    Fault(
        "cancel-waiting",
        "an administrator cancels the statement that waits for a lock",
        "pg_cancel_backend, or statement_timeout",
        server_works,
        _cancel,
        _is_cancelled,
        "the server has answered the waiting turn with 57014",
        Arrives.IN_TIME,
        Tells.ERROR,
        "57014",
        breaks=False,
    ),
)
