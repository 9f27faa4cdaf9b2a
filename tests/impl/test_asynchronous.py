"""The asynchronous face keeps the deadline, too; a cancelled task leaves nothing dirty behind."""

import asyncio
import os
import signal
import socket
import time

import pytest
from tests.impl.wire import before, keep_silent

from lastseat.impl import AsyncAttemptBooking, UnknownResource, locking, optimistic

IN_DOUBT = ("FAILED", "INFRASTRUCTURE", True)
INFRASTRUCTURE = ("FAILED", "INFRASTRUCTURE", False)
SHORT = 0.3
FOREVER = 60

MECHANISMS = {"optimistic": optimistic.book, "locking": locking.book}


@pytest.fixture(params=MECHANISMS)
def mechanism(request):
    return MECHANISMS[request.param]


@pytest.fixture(params=["BEGIN", "SELECT", "INSERT", "COMMIT"])
def turn(request):
    return request.param


def told(result):
    return result.outcome, result.cause, result.in_doubt


async def timed(booking, *request):
    """The answer to an attempt that ended by its deadline, with the loop running all the while."""
    ticks, start = 0, time.monotonic()
    attempt = asyncio.create_task(booking.attempt_booking(*request))
    while not attempt.done():
        await asyncio.sleep(0.01)
        ticks += 1
    assert SHORT * 0.9 < time.monotonic() - start < FOREVER / 2
    assert ticks > 1
    return told(await attempt)


def test_a_peer_that_falls_silent(db, wire, mechanism, turn):
    resource, own = db.resource(1), db.booking_id()

    async def story():
        async with AsyncAttemptBooking(mechanism, wire.dsn, SHORT) as booking:
            wire.at(turn, keep_silent)
            assert await timed(booking, own, resource, 1) == (
                IN_DOUBT if turn == "COMMIT" else INFRASTRUCTURE
            )
            await asyncio.to_thread(db.eventually, db.quiet)
            assert db.bookings(resource) == ({own: 1} if turn == "COMMIT" else {})
            assert (await booking.attempt_booking(own, resource, 1)).outcome == "BOOKED"

    asyncio.run(story())


def test_a_frozen_backend(db, wire, mechanism):
    """What it had received takes effect when it thaws."""
    resource, own, pids = db.resource(1), db.booking_id(), []

    def freeze(pid):
        os.kill(pid, signal.SIGSTOP)
        pids.append(pid)

    async def story():
        async with AsyncAttemptBooking(mechanism, wire.dsn, SHORT) as booking:
            wire.at("COMMIT", before(freeze))
            try:
                assert await timed(booking, own, resource, 1) == IN_DOUBT
                assert db.bookings(resource) == {}
            finally:
                os.kill(pids[0], signal.SIGCONT)

    asyncio.run(story())
    db.eventually(lambda: not db.alive(pids[0]))
    assert db.bookings(resource) == {own: 1}


def test_a_server_that_never_greets(mechanism):
    async def story():
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
            dsn = f"host=127.0.0.1 port={port} user=x dbname=x sslmode=disable"
            async with AsyncAttemptBooking(mechanism, dsn, SHORT) as booking:
                assert await timed(booking, "b", "r", 1) == INFRASTRUCTURE

    asyncio.run(story())


def test_a_task_that_is_cancelled(db, wire, mechanism, turn):
    resource, own = db.resource(2), db.booking_id()

    async def story():
        reached, loop = asyncio.Event(), asyncio.get_running_loop()

        def stall(link):
            link.forward()
            loop.call_soon_threadsafe(reached.set)
            link.client.recv(1)
            link.hang_up()

        async with AsyncAttemptBooking(mechanism, wire.dsn, FOREVER) as booking:
            wire.at(turn, stall)
            attempt = asyncio.create_task(booking.attempt_booking(own, resource, 1))
            await reached.wait()
            attempt.cancel()
            with pytest.raises(asyncio.CancelledError) as raised:
                await attempt
            assert raised.value.in_doubt == (turn == "COMMIT")
            await asyncio.to_thread(db.eventually, db.quiet)
            assert db.bookings(resource) == ({own: 1} if turn == "COMMIT" else {})
            assert (await booking.attempt_booking(own, resource, 1)).outcome == "BOOKED"

    asyncio.run(story())


def test_cancelled_before_and_after(db, prepared, mechanism):
    """Whatever moment the cancellation meets, what it says of the booking is true."""
    resource = db.resource(1000)

    async def story():
        async with AsyncAttemptBooking(mechanism, prepared, FOREVER) as booking:
            for delay in [n * 0.0002 for n in range(25)]:
                own = db.booking_id()
                attempt = asyncio.create_task(booking.attempt_booking(own, resource, 1))
                await asyncio.sleep(delay)
                attempt.cancel()
                try:
                    outcome = (await attempt).outcome
                    assert (own in db.bookings(resource)) == (outcome == "BOOKED")
                except asyncio.CancelledError as cancelled:
                    await asyncio.to_thread(db.eventually, db.quiet)
                    doubt = getattr(cancelled, "in_doubt", False)
                    assert doubt or own not in db.bookings(resource)

    asyncio.run(story())


def test_programming_errors_and_one_at_a_time(db, prepared, mechanism):
    resource = db.resource(2)

    async def story():
        async with AsyncAttemptBooking(mechanism, prepared, FOREVER) as booking:
            with pytest.raises(UnknownResource):
                await booking.attempt_booking(db.booking_id(), "nowhere", 1)
            first = asyncio.create_task(booking.attempt_booking(db.booking_id(), resource, 1))
            await asyncio.sleep(0)
            with pytest.raises(RuntimeError, match="under way"):
                await booking.attempt_booking(db.booking_id(), resource, 1)
            assert (await first).outcome == "BOOKED"
        await booking.close()

    asyncio.run(story())
