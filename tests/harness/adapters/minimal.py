"""The smallest adapter: it speaks the protocol by hand, and books by one guarded transaction.

It stands for an implementation in any language, so it imports nothing of lastseat's.
"""

import json
import signal
import sys

import psycopg

BOOKINGS = "SELECT booking_id, units FROM booking WHERE resource_id = $1"
COUNTER = "SELECT booked FROM resource WHERE id = $1"
SCHEMA = """
    CREATE TABLE IF NOT EXISTS resource (
        id text PRIMARY KEY, capacity int NOT NULL, booked int NOT NULL DEFAULT 0);
    CREATE TABLE IF NOT EXISTS booking (
        booking_id text PRIMARY KEY, resource_id text NOT NULL, units int NOT NULL)
"""
CLAIM = "UPDATE resource SET booked = booked + %s WHERE id = %s AND booked + %s <= capacity"
INSERT = "INSERT INTO booking VALUES (%s, %s, %s) ON CONFLICT DO NOTHING"
CONFLICTS = {"40001", "40P01", "55P03"}
MISTAKES = {"22", "23", "42"}  # classes of SQLSTATE that only a wrong program meets


class Late(Exception):
    """The deadline is over."""


class Adapter:
    def __init__(self):
        self.connection = self.admin = None

    def start(self, protocol):
        assert protocol == 1
        return {
            "implementation": {"name": "minimal", "language": "Python", "version": "1"},
            "mechanism": "guarded update",
            "audit": {"bookings": BOOKINGS, "booked": COUNTER},
        }

    def prepare(self, dsn):
        self.admin = psycopg.connect(dsn, autocommit=True)
        self.admin.execute(SCHEMA)

    def declare(self, dsn, resource_id, capacity):
        self.admin.execute("INSERT INTO resource VALUES (%s, %s)", (resource_id, capacity))

    def connect(self, dsn, deadline_ms):
        self.drop()
        self.dsn, self.seconds = dsn, deadline_ms / 1000

    def attempt(self, booking_id, resource_id, requested_units):
        self.committing = False  # has COMMIT been sent, and not been answered?
        signal.setitimer(signal.ITIMER_REAL, self.seconds)
        try:
            return self.book(booking_id, resource_id, requested_units)
        except (psycopg.Error, Late) as error:
            state = getattr(error, "sqlstate", None)
            answered = state and self.connection is not None and not self.connection.closed
            self.drop()
            if answered and state in CONFLICTS:
                return {"outcome": "FAILED", "cause": "CONFLICT"}
            if answered and state[:2] in MISTAKES:
                raise ValueError(str(error)) from error
            doubt = self.committing and not answered
            return {"outcome": "FAILED", "cause": "INFRASTRUCTURE", "in_doubt": doubt}
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)

    def book(self, booking, resource, units):
        if self.connection is None:
            self.connection = psycopg.connect(self.dsn, autocommit=True, prepare_threshold=None)
        execute = self.connection.execute
        execute("BEGIN")
        if execute(INSERT, (booking, resource, units)).rowcount == 0:
            own = execute("SELECT * FROM booking WHERE booking_id = %s", (booking,)).fetchone()
            execute("ROLLBACK")
            if own != (booking, resource, units):
                raise ValueError(f"{booking} is booked otherwise: {own}")
            return {"outcome": "BOOKED"}
        if execute(CLAIM, (units, resource, units)).rowcount == 0:
            exists = execute("SELECT FROM resource WHERE id = %s", (resource,)).rowcount
            execute("ROLLBACK")
            if not exists:
                raise ValueError(f"there is no resource {resource}")
            return {"outcome": "REJECTED"}
        self.committing = True
        if execute("COMMIT").statusmessage != "COMMIT":  # the server has rolled back instead
            return {"outcome": "FAILED", "cause": "INFRASTRUCTURE"}
        return {"outcome": "BOOKED"}

    def drop(self):
        if self.connection is not None:
            self.connection.close()
            self.connection = None

    def stop(self):
        self.drop()


def late(*_):
    raise Late


def main():
    signal.signal(signal.SIGALRM, late)
    adapter = Adapter()
    for line in sys.stdin:
        request = json.loads(line)
        seq, command = request.pop("seq"), request.pop("cmd")
        try:
            reply = {"result": getattr(adapter, command)(**request) or {}}
        except ValueError as error:  # the caller's mistake, and no outcome
            reply = {"raised": {"message": str(error), "in_doubt": False}}
        print(json.dumps({"seq": seq, **reply}), flush=True)
        if command == "stop":
            return


if __name__ == "__main__":
    main()
