"""No attempt outlives its deadline, whoever is silent; and what an interrupt leaves behind.

The deadlines here are short, and what is asserted is what was answered. How late an answer may be
is asserted very generously: only that the attempt did not wait for what would never come.
"""

import os
import signal
import socket
import threading
import time
from pathlib import Path

import psycopg
import pytest
from psycopg.waiting import Wait
from tests.impl.wire import before, error, keep_silent

from lastseat.impl.connection import TimedConnection, conninfo
from lastseat.impl.deadline import Deadline, DeadlineExpired, drive
from lastseat.impl.locking import locking
from lastseat.impl.optimistic import optimistic

IN_DOUBT = ("FAILED", "INFRASTRUCTURE", True)
INFRASTRUCTURE = ("FAILED", "INFRASTRUCTURE", False)
SHORT = 0.3
FOREVER = 60


def attempt(booking, booking_id, resource):
    start = time.monotonic()
    result = booking.attempt_booking(booking_id, resource, 1)
    elapsed = time.monotonic() - start
    assert SHORT * 0.9 < elapsed < FOREVER / 2
    return result.outcome, result.cause, result.in_doubt


@pytest.fixture
def hurried(mechanism, wire):
    with mechanism(wire.dsn, SHORT) as booking:
        yield booking


@pytest.fixture
def mute():
    """A peer that accepts connections, or lets them queue, and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"host=127.0.0.1 port={listener.getsockname()[1]} user=x dbname=x sslmode=disable"


def open_descriptors():
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.parametrize("turn", ["BEGIN", "SELECT", "UPDATE", "INSERT", "COMMIT"])
def test_a_peer_that_falls_silent(db, wire, hurried, mechanism, turn):
    resource, own = db.resource(1), db.booking_id()
    turn = "SELECT" if turn == "UPDATE" and mechanism is locking else turn
    wire.at(turn, keep_silent)
    assert attempt(hurried, own, resource) == (IN_DOUBT if turn == "COMMIT" else INFRASTRUCTURE)
    db.eventually(db.quiet)
    assert db.bookings(resource) == ({own: 1} if turn == "COMMIT" else {})
    assert hurried.attempt_booking(own, resource, 1).outcome == "BOOKED"


@pytest.mark.parametrize("turn", ["SELECT", "INSERT", "COMMIT"])
def test_a_backend_that_is_frozen(db, wire, hurried, turn):
    """What it had received takes effect when it thaws: that is what in doubt means."""
    resource, own, pids = db.resource(1), db.booking_id(), []

    def freeze(pid):
        os.kill(pid, signal.SIGSTOP)
        pids.append(pid)

    wire.at(turn, before(freeze))
    try:
        assert attempt(hurried, own, resource) == (IN_DOUBT if turn == "COMMIT" else INFRASTRUCTURE)
        assert db.bookings(resource) == {}
    finally:
        os.kill(pids[0], signal.SIGCONT)
    db.eventually(lambda: not db.alive(pids[0]))
    assert db.bookings(resource) == ({own: 1} if turn == "COMMIT" else {})


def test_a_row_that_stays_locked(db, prepared, mechanism):
    resource, own = db.resource(1), db.booking_id()
    with psycopg.connect(prepared) as holder, mechanism(prepared, SHORT) as booking:
        holder.execute("SELECT FROM lastseat.resource WHERE id = %s FOR UPDATE", (resource,))
        assert attempt(booking, own, resource) == INFRASTRUCTURE
        holder.rollback()
        db.eventually(db.quiet)
        assert booking.attempt_booking(own, resource, 1).outcome == "BOOKED"


def test_a_server_that_never_greets(mechanism, mute):
    with mechanism(mute, SHORT) as booking:
        descriptors = open_descriptors()
        for _ in range(3):
            assert attempt(booking, "b", "r") == INFRASTRUCTURE
        assert open_descriptors() == descriptors


def test_a_server_that_is_not_there(mechanism):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    for dsn in (f"host=127.0.0.1 port={port} user=x", "host=/nonexistent user=x"):
        with mechanism(dsn, 20.0) as booking:
            result = booking.attempt_booking("b", "r", 1)
            assert (result.outcome, result.cause, result.in_doubt) == INFRASTRUCTURE


def test_a_peer_that_never_stops_talking(db, wire, hurried):
    body = error("NOTICE", "00000")[1]
    notice = b"N" + (len(body) + 4).to_bytes(4) + body

    def chatter(link):
        while True:  # until the client closes
            link.client.sendall(notice * 100)

    wire.at("COMMIT", chatter)
    assert attempt(hurried, db.booking_id(), db.resource(1)) == IN_DOUBT


def test_a_commit_that_comes_too_late_is_not_sent(db, wire, prepared):
    """Time that runs out before the commit leaves no doubt."""
    resource = db.resource(1)
    with optimistic(wire.dsn, SHORT) as booking:
        session = booking._session

        def linger(_):
            session._connection.deadline = Deadline.after(-1)

        wire.at("INSERT", before(linger))
        result = booking.attempt_booking(db.booking_id(), resource, 1)
    assert (result.outcome, result.cause, result.in_doubt) == INFRASTRUCTURE
    assert "COMMIT" not in wire.turns
    db.eventually(db.quiet)
    assert db.bookings(resource) == {}


@pytest.mark.parametrize("turn", ["SELECT", "INSERT", "COMMIT"])
def test_an_interrupt_closes_the_connection_and_passes_through(db, wire, wired, turn):
    resource, own = db.resource(2), db.booking_id()
    main = threading.main_thread().ident

    def interrupt(link):
        link.forward()
        signal.pthread_kill(main, signal.SIGINT)
        link.client.recv(1)
        link.hang_up()

    wire.at(turn, interrupt)
    with pytest.raises(KeyboardInterrupt) as raised:
        wired.attempt_booking(own, resource, 1)
    assert raised.value.in_doubt == (turn == "COMMIT")
    assert bool(getattr(raised.value, "__notes__", [])) == (turn == "COMMIT")
    db.eventually(db.quiet)
    assert db.bookings(resource) == ({own: 1} if turn == "COMMIT" else {})
    assert wired.attempt_booking(own, resource, 1).outcome == "BOOKED"


def test_what_has_arrived_is_taken_though_time_is_up(prepared):
    """Zero seconds are enough for an answer that is there already."""
    connection = TimedConnection.open(conninfo(prepared), Deadline.after(20))
    try:
        connection.pgconn.send_query(b"SELECT 1")
        connection.pgconn.flush()
        while connection.silent():
            pass
        connection.deadline = Deadline.after(-1)
        with pytest.raises(DeadlineExpired):
            drive(endless(), connection.deadline, connection.pgconn.socket)
        assert drive(look_once(connection), connection.deadline, connection.pgconn.socket) == 1
    finally:
        connection.close()


def look_once(connection):
    yield Wait.R
    connection.pgconn.consume_input()
    return connection.pgconn.get_result().ntuples


def endless():
    while True:
        yield Wait.R


def test_a_socket_that_was_closed_behind_our_back(db, booking):
    resource, own = db.resource(1), db.booking_id()
    booking.attempt_booking(own, resource, 1)
    connection = booking._session._connection
    with socket.socket(fileno=os.dup(connection.pgconn.socket)) as same:
        same.shutdown(socket.SHUT_RDWR)
    assert booking.attempt_booking(own, resource, 1).outcome == "BOOKED"
