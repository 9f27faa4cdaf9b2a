"""A pool is shared by threads; who gets no connection in time is told so, by the deadline."""

import threading
import time

import psycopg
import pytest

from lastseat.impl import BookingPool, locking, optimistic

SHORT = 0.3


@pytest.fixture(params=[optimistic.book, locking.book])
def mechanism(request):
    return request.param


def test_a_pool_that_is_exhausted(db, prepared, mechanism):
    """The only connection waits for a row; whoever comes meanwhile waits for the connection."""
    resource, other, results = db.resource(2), db.resource(1), []
    with psycopg.connect(prepared) as holder, BookingPool(mechanism, prepared, SHORT, 1) as pool:
        holder.execute("SELECT FROM lastseat.resource WHERE id = %s FOR UPDATE", (resource,))
        first = threading.Thread(
            target=lambda: results.append(pool.attempt_booking(db.booking_id(), resource, 1))
        )
        first.start()
        db.eventually(lambda: db.waiters() == 1)
        # Nobody gives it back in time for this one.
        pool._free.get = lambda timeout, get=pool._free.get: get(timeout=min(timeout, 0.05))
        began = time.monotonic()
        result = pool.attempt_booking(db.booking_id(), other, 1)
        assert (result.outcome, result.cause, result.in_doubt) == (
            "FAILED",
            "INFRASTRUCTURE",
            False,
        )
        assert "in use" in result.detail
        assert time.monotonic() - began < 30
        first.join()
        assert results[0].outcome == "FAILED"
        holder.rollback()
        del pool._free.get
        assert pool.attempt_booking(db.booking_id(), other, 1).outcome == "BOOKED"


def test_many_threads_over_few_connections(db, prepared, mechanism):
    resource, results = db.resource(5), []
    with BookingPool(mechanism, prepared, 30, 2) as pool:

        def book():
            results.append(pool.attempt_booking(db.booking_id(), resource, 1).outcome)

        threads = [threading.Thread(target=book) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(results) == 8
    assert results.count("BOOKED") == sum(db.bookings(resource).values()) >= 1


def test_a_pool_of_nothing_is_refused():
    with pytest.raises(ValueError, match="size"):
        BookingPool(optimistic.book, "", size=0)
    with pytest.raises(ValueError, match="deadline"):
        BookingPool(optimistic.book, "", deadline_seconds=0)
