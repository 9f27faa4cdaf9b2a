"""An implementation as a team might have it: one transaction with a guarded update, on psycopg."""

import os
import socket
import threading

import psycopg

AUDIT = {
    "bookings": "SELECT id, units FROM seat_booking WHERE show = $1",
    "booked": "SELECT sold FROM show WHERE id = $1",
}
TABLES = """
    CREATE TABLE IF NOT EXISTS show (
        id text PRIMARY KEY, seats int NOT NULL, sold int NOT NULL DEFAULT 0
    );
    CREATE TABLE IF NOT EXISTS seat_booking (
        id text PRIMARY KEY, show text NOT NULL REFERENCES show,
        units int NOT NULL CHECK (units > 0)
    )"""
INSERT = "INSERT INTO seat_booking VALUES (%s, %s, %s) ON CONFLICT DO NOTHING"
TAKE = "UPDATE show SET sold = sold + %s WHERE id = %s AND sold + %s <= seats"
OWN = "SELECT show, units FROM seat_booking WHERE id = %s"
CONFLICTS = {"40001", "40P01", "55P03"}  # serialization failure, deadlock, lock not available
NO_SUCH_SHOW = "23503"


def prepare(dsn):
    with psycopg.connect(dsn) as connection:
        connection.execute(TABLES)


def declare(dsn, resource_id, capacity):
    with psycopg.connect(dsn) as connection:
        connection.execute("INSERT INTO show VALUES (%s, %s)", (resource_id, capacity))


class Seats:
    """Sells seats on one connection, which is made when it is needed."""

    def __init__(self, dsn, deadline_seconds):
        self._dsn = dsn
        self._seconds = deadline_seconds
        self._connection = None

    def attempt_booking(self, booking_id, resource_id, requested_units):
        self._committing = False  # has COMMIT been sent, and not been answered?
        deadline = threading.Timer(self._seconds, self._hang_up)
        deadline.start()
        try:
            return self._book(booking_id, resource_id, requested_units)
        except psycopg.Error as error:
            return self._failed(error)
        finally:
            deadline.cancel()

    def _book(self, booking, show, units):
        if self._connection is None:
            self._connection = psycopg.connect(self._dsn, autocommit=True, connect_timeout=2)
        execute = self._connection.execute
        execute("BEGIN")
        if execute(INSERT, (booking, show, units)).rowcount == 0:
            own = execute(OWN, (booking,)).fetchone()
            execute("ROLLBACK")
            if own != (show, units):
                raise ValueError(f"{booking} is booked otherwise: {own}")
            return {"outcome": "BOOKED"}
        if execute(TAKE, (units, show, units)).rowcount == 0:
            execute("ROLLBACK")
            return {"outcome": "REJECTED"}
        self._committing = True
        if execute("COMMIT").statusmessage != "COMMIT":  # the server has rolled back instead
            return {"outcome": "FAILED", "cause": "INFRASTRUCTURE"}
        return {"outcome": "BOOKED"}

    def _hang_up(self):
        """End the wait for a server that is silent, from another thread."""
        if self._connection is not None:
            with socket.socket(fileno=os.dup(self._connection.fileno())) as line:
                line.shutdown(socket.SHUT_RDWR)

    def _failed(self, error):
        answered = self._connection is not None and not self._connection.closed
        self.close()
        if error.sqlstate == NO_SUCH_SHOW:
            raise LookupError("there is no such show") from error
        if answered and error.sqlstate in CONFLICTS:
            return {"outcome": "FAILED", "cause": "CONFLICT"}
        doubt = self._committing and not answered
        return {"outcome": "FAILED", "cause": "INFRASTRUCTURE", "in_doubt": doubt}

    def close(self):
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def seats(dsn, deadline_seconds):
    return Seats(dsn, deadline_seconds)
