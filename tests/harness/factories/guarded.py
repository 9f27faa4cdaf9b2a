"""A right implementation as a team might have it: one guarded transaction, plain psycopg.

It imports nothing of lastseat's.
"""

import signal

import psycopg

IDS = "text"
AUDIT = {
    "bookings": "SELECT id, units FROM claim WHERE place = $1",
    "booked": "SELECT taken FROM place WHERE id = $1",
}
_TABLES = """
    CREATE TABLE IF NOT EXISTS place (
        id text PRIMARY KEY, capacity int NOT NULL, taken int NOT NULL DEFAULT 0
    );
    CREATE TABLE IF NOT EXISTS claim (
        id text PRIMARY KEY, place text NOT NULL REFERENCES place,
        units int NOT NULL CHECK (units > 0)
    )"""
_CLAIM = "INSERT INTO claim VALUES (%s, %s, %s) ON CONFLICT DO NOTHING"
_TAKE = "UPDATE place SET taken = taken + %s WHERE id = %s AND taken + %s <= capacity"
_OWN = "SELECT place, units FROM claim WHERE id = %s"
_CONFLICTS = {"40001", "40P01", "55P03"}


def prepare(dsn):
    with psycopg.connect(dsn) as connection:
        connection.execute(_TABLES)


def declare(dsn, resource_id, capacity):
    with psycopg.connect(dsn) as connection:
        connection.execute("INSERT INTO place VALUES (%s, %s)", (resource_id, capacity))


class Late(Exception):
    """The deadline is over."""


def _late(*_):
    raise Late


class Guarded:
    """One connection, made when it is needed."""

    def __init__(self, dsn, deadline_seconds):
        self._dsn = dsn
        self._seconds = deadline_seconds
        self._connection = None
        signal.signal(signal.SIGALRM, _late)

    def attempt_booking(self, booking_id, resource_id, requested_units):
        self._committing = False
        signal.setitimer(signal.ITIMER_REAL, self._seconds)
        try:
            return {"outcome": self._book(booking_id, resource_id, requested_units)}
        except psycopg.Error as error:
            return self._failed(error)
        except Late:
            self.close()
            cause = {"cause": "INFRASTRUCTURE", "in_doubt": self._committing}
            return {"outcome": "FAILED", **cause}
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)

    def _book(self, booking, place, units):
        if self._connection is None:
            self._connection = psycopg.connect(self._dsn, autocommit=True)
        execute = self._connection.execute
        execute("BEGIN")
        if execute(_CLAIM, (booking, place, units)).rowcount == 0:
            own = execute(_OWN, (booking,)).fetchone()
            execute("ROLLBACK")
            if own != (place, units):
                raise ValueError(f"{booking} is booked otherwise")
            return "BOOKED"
        if execute(_TAKE, (units, place, units)).rowcount == 0:
            execute("ROLLBACK")
            return "REJECTED"
        self._committing = True
        assert execute("COMMIT").statusmessage == "COMMIT"
        return "BOOKED"

    def _failed(self, error):
        self.close()
        if error.sqlstate == "23503":
            raise LookupError("there is no such place") from error
        if error.sqlstate in _CONFLICTS:
            return {"outcome": "FAILED", "cause": "CONFLICT"}
        refused = error.diag.severity_nonlocalized == "ERROR"
        doubt = self._committing and not refused
        return {"outcome": "FAILED", "cause": "INFRASTRUCTURE", "in_doubt": doubt}

    def close(self):
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def guarded(dsn, deadline_seconds):
    return Guarded(dsn, deadline_seconds)
