"""A fault at each turn of an attempt: what is answered, and whether the booking exists."""

import pytest
from tests.impl.wire import (
    answer,
    before,
    cut_answer,
    error,
    instead,
    lose_answer,
    lose_request,
)

from lastseat.impl import StatementError
from lastseat.impl.connection import TimedConnection
from lastseat.impl.locking import locking

EACH_TURN = pytest.mark.parametrize("turn", ["BEGIN", "SELECT", "UPDATE", "INSERT", "COMMIT"])

BOOKED = ("BOOKED", None, False)
CONFLICT = ("FAILED", "CONFLICT", False)
INFRASTRUCTURE = ("FAILED", "INFRASTRUCTURE", False)
IN_DOUBT = ("FAILED", "INFRASTRUCTURE", True)


class Attempt:
    """One attempt that meets a fault, and what is true afterwards."""

    def __init__(self, db, wire, wired, mechanism):
        self.db, self.wire, self.wired, self.mechanism = db, wire, wired, mechanism
        self.resource, self.own = db.resource(2), db.booking_id()

    def meets(self, turn, action):
        if turn == "UPDATE" and self.mechanism is locking:
            turn = "SELECT"  # it claims by reading
        self.wire.at(turn, action)
        result = self.again()
        assert self.wire.plan_is_done(), "the fault did not fire"
        return result

    def again(self):
        result = self.wired.attempt_booking(self.own, self.resource, 1)
        return result.outcome, result.cause, result.in_doubt

    def exists(self):
        return self.own in self.db.bookings(self.resource)

    def nothing_is_left(self):
        self.db.eventually(self.db.quiet)
        assert not self.exists()
        return True


@pytest.fixture
def attempt(db, wire, wired, mechanism):
    return Attempt(db, wire, wired, mechanism)


@EACH_TURN
@pytest.mark.parametrize("fault", [lose_request, lose_answer])
def test_a_lost_connection(attempt, turn, fault):
    result = attempt.meets(turn, fault)
    assert result == (IN_DOUBT if turn == "COMMIT" else INFRASTRUCTURE)
    attempt.db.eventually(attempt.db.quiet)
    assert attempt.exists() == (turn == "COMMIT" and fault is lose_answer)
    assert attempt.again() == BOOKED
    assert attempt.exists()


@EACH_TURN
@pytest.mark.parametrize("keep", [0, 1])
def test_an_answer_that_breaks_off(attempt, turn, keep):
    """COMMIT's answer has two messages; the tag alone, without ReadyForQuery, proves nothing."""
    result = attempt.meets(turn, cut_answer(keep))
    assert result == (IN_DOUBT if turn == "COMMIT" else INFRASTRUCTURE)
    assert attempt.again() == BOOKED


@EACH_TURN
def test_a_backend_that_is_terminated(attempt, turn):
    """Between two turns: the commit goes to a server that is known to be gone, or is not sent."""
    result = attempt.meets(turn, before(attempt.db.terminate))
    if turn == "COMMIT":
        assert result in (IN_DOUBT, INFRASTRUCTURE)
    else:
        assert result == INFRASTRUCTURE
    assert attempt.nothing_is_left()
    assert attempt.again() == BOOKED


SURVIVED = {
    "40001": CONFLICT,
    "40P01": CONFLICT,
    "55P03": CONFLICT,
    "57014": INFRASTRUCTURE,
    "53200": INFRASTRUCTURE,
    "53100": INFRASTRUCTURE,
    "25006": INFRASTRUCTURE,
    "0A000": INFRASTRUCTURE,
    "XX000": INFRASTRUCTURE,
    "P0001": INFRASTRUCTURE,
    "08P01": INFRASTRUCTURE,
}


def raising(code):
    return instead(f"DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '{code}'; END $$")


@EACH_TURN
@pytest.mark.parametrize("code", SURVIVED)
def test_an_error_of_the_server_itself(attempt, turn, code):
    # An error at COMMIT ends the transaction, and the server says that it is idle.
    action = at_commit(error("ERROR", code)) if turn == "COMMIT" else raising(code)
    assert attempt.meets(turn, action) == SURVIVED[code]
    assert attempt.nothing_is_left()
    assert attempt.again() == BOOKED


def at_commit(*messages):
    """Roll back for real, and answer otherwise."""
    reply = answer(*messages, (b"Z", b"I"))

    def action(link):
        instead_of_commit = b"Q\0\0\0\x0dROLLBACK\0"
        link.turn = instead_of_commit
        link.forward()
        reply(link)

    return action


@EACH_TURN
@pytest.mark.parametrize("severity", ["FATAL", "PANIC"])
@pytest.mark.parametrize("code", ["57P01", "53300", "57P03", "58030", "08P01", "40001", "23514"])
def test_a_last_word_of_the_server(attempt, turn, severity, code):
    result = attempt.meets(turn, answer(error(severity, code), then_hang_up=True))
    assert result == (IN_DOUBT if turn == "COMMIT" else INFRASTRUCTURE)
    assert attempt.nothing_is_left()
    assert attempt.again() == BOOKED


@pytest.mark.parametrize("code", ["53300", "57P03", "28P01", "3D000"])
def test_a_server_that_does_not_let_in(attempt, code):
    result = attempt.meets("BEGIN", before(lambda _: None))
    assert result == BOOKED
    attempt.wired.close()
    attempt.own = attempt.db.booking_id()
    attempt.wire.at("CONNECT", answer(error("FATAL", code), then_hang_up=True))
    assert attempt.again() == INFRASTRUCTURE
    assert attempt.again() == BOOKED


@pytest.mark.parametrize("turn", ["BEGIN", "SELECT", "UPDATE", "INSERT"])
@pytest.mark.parametrize("code", ["22012", "23502", "23514", "42601"])
def test_an_error_that_is_our_own_mistake(attempt, turn, code):
    with pytest.raises(StatementError, match=code):
        attempt.meets(turn, raising(code))
    assert attempt.nothing_is_left()
    assert attempt.wire.connections == 1
    assert attempt.again() == BOOKED


@pytest.fixture
def spoiled_commit(db):
    """A resource whose bookings fail at COMMIT: the server itself says so and is idle again."""
    resource = db.resource(2)
    db.connection.execute(
        "CREATE FUNCTION spoil() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION USING ERRCODE = TG_ARGV[0]; END $$"
    )

    def spoil(code):
        db.connection.execute(
            "CREATE CONSTRAINT TRIGGER spoil AFTER INSERT ON lastseat.booking"
            " DEFERRABLE INITIALLY DEFERRED FOR EACH ROW"
            f" WHEN (NEW.resource_id = '{resource}') EXECUTE FUNCTION spoil('{code}')"
        )

    yield resource, spoil
    db.connection.execute("DROP FUNCTION spoil() CASCADE")


@pytest.mark.parametrize(("code", "expected"), SURVIVED.items())
def test_an_error_at_commit_is_definite(db, booking, spoiled_commit, code, expected):
    resource, spoil = spoiled_commit
    spoil(code)
    own = db.booking_id()
    result = booking.attempt_booking(own, resource, 1)
    assert (result.outcome, result.cause, result.in_doubt) == expected
    assert code in result.detail
    assert db.bookings(resource) == {}
    assert db.quiet()
    assert booking.attempt_booking(own, db.resource(1), 1).outcome == "BOOKED"


def test_a_commit_that_is_answered_rollback_is_not_booked(attempt):
    assert attempt.meets("COMMIT", at_commit((b"C", b"ROLLBACK\0"))) == INFRASTRUCTURE
    assert attempt.nothing_is_left()
    assert attempt.again() == BOOKED


@pytest.mark.parametrize(
    "messages",
    [
        [(b"C", b"COMMIT\0"), (b"Z", b"T")],
        [(b"C", b"ROLLBACK\0"), (b"Z", b"T")],
        [(b"C", b"INSERT 0 1\0"), (b"Z", b"I")],
        [(b"I", b""), (b"Z", b"I")],
        [error("ERROR", "40001"), (b"Z", b"E")],
    ],
)
def test_a_commit_whose_answer_makes_no_sense_is_in_doubt(attempt, messages):
    assert attempt.meets("COMMIT", answer(*messages)) == IN_DOUBT
    assert attempt.nothing_is_left()
    assert attempt.again() == BOOKED


@pytest.mark.parametrize("turn", ["BEGIN", "UPDATE", "INSERT", "SELECT"])
def test_an_answer_to_something_else_proves_nothing(attempt, turn):
    assert attempt.meets(turn, answer((b"C", b"SET\0"), (b"Z", b"T"))) == INFRASTRUCTURE
    assert attempt.nothing_is_left()
    assert attempt.again() == BOOKED


@EACH_TURN
def test_garbage(attempt, turn):
    result = attempt.meets(turn, answer((b"\x01", b"\xff" * 30), then_hang_up=True))
    assert result == (IN_DOUBT if turn == "COMMIT" else INFRASTRUCTURE)
    assert attempt.again() == BOOKED


def test_an_insert_that_something_swallowed_is_not_booked(attempt):
    swallowed = instead("INSERT INTO lastseat.booking SELECT '', '', 1 WHERE false")
    assert attempt.meets("INSERT", swallowed) == INFRASTRUCTURE
    assert attempt.nothing_is_left()


def test_a_decision_stands_though_the_connection_is_lost_while_it_is_tidied_up(attempt):
    attempt.db.book(attempt.resource, 2)
    assert attempt.meets("ROLLBACK", lose_request) == ("REJECTED", None, False)
    assert attempt.nothing_is_left()
    assert attempt.again() == ("REJECTED", None, False)


def test_a_connection_that_died_between_attempts_is_replaced(db, booking):
    resource = db.resource(2)
    booking.attempt_booking(db.booking_id(), resource, 1)
    connection = booking._session._connection
    db.terminate(connection.info.backend_pid)
    db.eventually(lambda: not connection.silent())  # its last words have to arrive here first
    assert booking.attempt_booking(db.booking_id(), resource, 1).outcome == "BOOKED"
    assert booking._session._connection is not connection
    assert connection.closed


def test_a_server_that_hung_up_is_not_sent_the_commit(db, booking, monkeypatch):
    """Otherwise the attempt would be in doubt for nothing."""
    resource = db.resource(1)
    hung_up = TimedConnection.hung_up

    def terminated(connection):
        db.terminate(connection.info.backend_pid)
        db.eventually(lambda: hung_up(connection))
        return hung_up(connection)

    monkeypatch.setattr(TimedConnection, "hung_up", terminated)
    result = booking.attempt_booking(db.booking_id(), resource, 1)
    assert (result.outcome, result.cause, result.in_doubt) == INFRASTRUCTURE
    assert db.bookings(resource) == {}


def test_a_failed_look_at_the_taken_key_is_a_failure(attempt):
    """The key's owner is asked for after the rollback; that turn can fail like any other."""
    elsewhere = attempt.db.resource(1)

    def take_and_spoil(link):
        attempt.db.book(elsewhere, 1, attempt.own)
        attempt.wire.at("ROLLBACK", lose_request)
        link.forward()
        link.deliver()

    assert attempt.meets("INSERT", take_and_spoil) == INFRASTRUCTURE
    with pytest.raises(ValueError, match="is booked as"):
        attempt.again()


@pytest.mark.parametrize("turn", ["ROLLBACK", "SELECT"])
def test_no_doubt_comes_back_after_a_definite_answer_to_commit(attempt, turn):
    """A key that is refused at the very commit: nothing was committed, whatever comes next."""
    refuse = at_commit(error("ERROR", "23505"))

    def then_lose_the_next(link):
        refuse(link)
        attempt.wire.at(turn, lose_request)

    assert attempt.meets("COMMIT", then_lose_the_next) == INFRASTRUCTURE
    assert attempt.nothing_is_left()
    assert attempt.again() == BOOKED


def test_the_sixth_failure_is_no_different(attempt):
    for _ in range(6):
        assert attempt.meets("INSERT", raising("57014")) == INFRASTRUCTURE
    assert attempt.again() == BOOKED
