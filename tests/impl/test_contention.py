"""Two callers, one seat: what each is told, in an order that the test dictates."""

from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from tests.impl.wire import before

from lastseat.impl.locking import locking
from lastseat.impl.optimistic import optimistic


@pytest.fixture
def overtaken(wire):
    """An optimistic caller, and the proxy at which it can be overtaken."""
    with optimistic(wire.dsn, 20.0) as booking:
        yield booking, wire


def rival(db):
    """A caller that is faster."""
    return optimistic(db.dsn, 20.0)


def test_who_is_overtaken_between_look_and_claim_is_told_so(db, overtaken):
    booking, wire = overtaken
    resource, others, own = db.resource(5), db.booking_id(), db.booking_id()
    with rival(db) as faster:
        wire.at("UPDATE", before(lambda _: faster.attempt_booking(others, resource, 1)))
        result = booking.attempt_booking(own, resource, 1)
    assert (result.outcome, result.cause, result.in_doubt) == ("FAILED", "CONFLICT", False)
    assert db.bookings(resource) == {others: 1}
    assert wire.turns == ["BEGIN", "SELECT", "UPDATE", "SELECT", "ROLLBACK"]
    assert db.quiet()
    assert booking.attempt_booking(own, resource, 1).outcome == "BOOKED"


def test_who_is_overtaken_by_itself_is_booked(db, overtaken):
    """The commit of an earlier attempt of this id may land at any moment."""
    booking, wire = overtaken
    resource, own = db.resource(1), db.booking_id()
    with rival(db) as faster:
        wire.at("UPDATE", before(lambda _: faster.attempt_booking(own, resource, 1)))
        assert booking.attempt_booking(own, resource, 1).outcome == "BOOKED"
    assert db.bookings(resource) == {own: 1}
    assert db.quiet()


def test_who_is_overtaken_by_another_use_of_its_id_is_told_by_an_exception(db, overtaken):
    booking, wire = overtaken
    resource, own = db.resource(5), db.booking_id()
    with rival(db) as faster:
        wire.at("UPDATE", before(lambda _: faster.attempt_booking(own, resource, 2)))
        with pytest.raises(ValueError, match=own):
            booking.attempt_booking(own, resource, 1)
    assert db.quiet()


@pytest.mark.parametrize("ends", ["COMMIT", "ROLLBACK"])
def test_the_claim_waits_for_the_row_and_then_sees_who_has_it(db, prepared, thread, ends):
    resource, own = db.resource(5), db.booking_id()
    with psycopg.connect(prepared, autocommit=True) as holder, optimistic(prepared, 20.0) as waiter:
        holder.execute("BEGIN")
        holder.execute(
            "UPDATE lastseat.resource SET version = version + 1 WHERE id = %s", (resource,)
        )
        other = db.booking_id()
        holder.execute("INSERT INTO lastseat.booking VALUES (%s, %s, 1)", (other, resource))
        future = thread.submit(waiter.attempt_booking, own, resource, 1)
        db.eventually(lambda: db.waiters() == 1)
        holder.execute(ends)
        result = future.result()
    if ends == "COMMIT":
        assert (result.outcome, result.cause) == ("FAILED", "CONFLICT")
        assert db.bookings(resource) == {other: 1}
    else:
        assert result.outcome == "BOOKED"
        assert db.bookings(resource) == {own: 1}


@pytest.mark.parametrize("ends", ["COMMIT", "ROLLBACK"])
def test_a_repetition_waits_for_the_commit_that_was_in_doubt(db, mechanism, prepared, thread, ends):
    """Whatever becomes of the first attempt, the second one's answer is the last word."""
    resource, own = db.resource(1), db.booking_id()
    with psycopg.connect(prepared, autocommit=True) as zombie, mechanism(prepared, 20.0) as again:
        zombie.execute("BEGIN")
        zombie.execute(
            "UPDATE lastseat.resource SET version = version + 1 WHERE id = %s", (resource,)
        )
        zombie.execute("INSERT INTO lastseat.booking VALUES (%s, %s, 1)", (own, resource))
        future = thread.submit(again.attempt_booking, own, resource, 1)
        db.eventually(lambda: db.waiters() == 1)
        zombie.execute(ends)
        assert future.result().outcome == "BOOKED"
    assert db.bookings(resource) == {own: 1}


def test_a_key_that_is_taken_for_this_very_request_is_booked(db, overtaken):
    """By a client that raises no version: only the key tells."""
    booking, wire = overtaken
    resource, own = db.resource(5), db.booking_id()
    wire.at("UPDATE", before(lambda _: db.book(resource, 1, own)))
    assert booking.attempt_booking(own, resource, 1).outcome == "BOOKED"
    assert wire.turns == ["BEGIN", "SELECT", "UPDATE", "INSERT", "ROLLBACK", "SELECT"]
    assert db.bookings(resource) == {own: 1}
    assert db.quiet()


def test_a_key_that_is_taken_on_another_resource_is_raised(db, wire, wired):
    resource, elsewhere, own = db.resource(5), db.resource(5), db.booking_id()
    wire.at("INSERT", before(lambda _: db.book(elsewhere, 1, own)))
    with pytest.raises(ValueError, match=f"is booked as 1 of '{elsewhere}'"):
        wired.attempt_booking(own, resource, 1)
    assert db.quiet()
    assert wired.attempt_booking(db.booking_id(), resource, 1).outcome == "BOOKED"
    assert wire.connections == 1
    assert db.bookings(elsewhere) == {own: 1}


def test_the_database_has_the_last_word_on_capacity(db, overtaken):
    """Somebody who raises no version takes the last seat after the look."""
    booking, wire = overtaken
    resource = db.resource(1)
    wire.at("UPDATE", before(lambda _: db.book(resource)))
    result = booking.attempt_booking(db.booking_id(), resource, 1)
    assert result.outcome == "REJECTED"
    assert "resource_capacity" in result.detail
    assert wire.turns == ["BEGIN", "SELECT", "UPDATE", "INSERT", "ROLLBACK"]
    assert len(db.bookings(resource)) == 1
    assert db.quiet()


def test_two_locking_attempts_on_one_resource_never_conflict(db, wire, prepared, thread):
    resource = db.resource(1)
    with locking(wire.dsn, 20.0) as first, locking(prepared, 20.0) as second:
        futures = []

        def let_the_other_wait(_):
            futures.append(thread.submit(second.attempt_booking, db.booking_id(), resource, 1))
            db.eventually(lambda: db.waiters() == 1)

        wire.at("INSERT", before(let_the_other_wait))
        assert first.attempt_booking(db.booking_id(), resource, 1).outcome == "BOOKED"
        assert futures[0].result().outcome == "REJECTED"


def test_a_caller_serves_one_thread_at_a_time(db, wire, wired):
    resource = db.resource(1)

    def intrude(_):
        with pytest.raises(RuntimeError, match="own"):
            wired.attempt_booking(db.booking_id(), resource, 1)

    wire.at("INSERT", before(intrude))
    assert wired.attempt_booking(db.booking_id(), resource, 1).outcome == "BOOKED"
    assert wire.plan_is_done()


def test_what_everybody_was_told_is_what_there_is(db, mechanism, prepared):
    """Free-running: few seats, few ids, no order dictated; afterwards the books are compared."""
    resource = db.resource(12)
    ids = [db.booking_id() for _ in range(20)]
    told = {own: set() for own in ids}

    def caller(number):
        with mechanism(prepared, 20.0) as booking:
            for turn in range(60):
                own = ids[(number * 7 + turn) % len(ids)]
                result = booking.attempt_booking(own, resource, 1)
                assert not result.in_doubt
                assert result.cause in (None, "CONFLICT")
                told[own].add(result.outcome)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(caller, range(4)))
    rows = db.bookings(resource)
    assert len(rows) == 12
    assert {own for own in ids if "BOOKED" in told[own]} == set(rows)
    assert {own for own in ids if "REJECTED" in told[own]} == set(ids) - set(rows)


def test_the_servers_default_isolation_changes_nothing(db, wire):
    """A snapshot for the whole transaction would hide the booking that the second look is for."""
    resource, own = db.resource(1), db.booking_id()
    dsn = make_conninfo(wire.dsn, options="-c default_transaction_isolation=serializable")
    with optimistic(dsn, 20.0) as booking, rival(db) as faster:
        wire.at("UPDATE", before(lambda _: faster.attempt_booking(own, resource, 1)))
        assert booking.attempt_booking(own, resource, 1).outcome == "BOOKED"
    assert wire.turns == ["BEGIN", "SELECT", "UPDATE", "SELECT", "ROLLBACK"]
