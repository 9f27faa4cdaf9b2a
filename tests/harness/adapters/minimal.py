"""The smallest adapter: it speaks the protocol by hand, and books by one guarded transaction.

It stands for an implementation in any language, so it imports nothing of lastseat's.
"""

import json
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
FAILED = {"outcome": "FAILED", "cause": "INFRASTRUCTURE"}


class Adapter:
    def __init__(self) -> None:
        self.connection: psycopg.Connection | None = None
        self.admin: psycopg.Connection | None = None
        self.dsn = ""
        self.committing = False

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
        self.dsn = dsn

    def attempt(self, booking_id, resource_id, requested_units):
        self.committing = False
        try:
            return {"outcome": self.book(booking_id, resource_id, requested_units)}
        except psycopg.Error as error:
            self.drop()
            if not self.committing and error.sqlstate in {"40001", "40P01", "55P03"}:
                return {"outcome": "FAILED", "cause": "CONFLICT"}
            if self.committing and error.diag.severity_nonlocalized == "ERROR":
                conflict = error.sqlstate in {"40001", "40P01", "55P03"}
                return {"outcome": "FAILED", "cause": "CONFLICT"} if conflict else FAILED
            return {**FAILED, "in_doubt": self.committing}

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
            return "BOOKED"
        if execute(CLAIM, (units, resource, units)).rowcount == 0:
            execute("ROLLBACK")
            return "REJECTED"
        self.committing = True
        committed = execute("COMMIT").statusmessage == "COMMIT"
        self.committing = False
        return "BOOKED" if committed else "REJECTED"

    def drop(self):
        if self.connection is not None:
            self.connection.close()
            self.connection = None

    def stop(self):
        self.drop()


def main():
    adapter = Adapter()
    for line in sys.stdin:
        request = json.loads(line)
        seq, command = request.pop("seq"), request.pop("cmd")
        try:
            reply = {"result": getattr(adapter, command)(**request) or {}}
        except ValueError as error:
            reply = {"raised": {"message": str(error), "in_doubt": False}}
        print(json.dumps({"seq": seq, **reply}), flush=True)
        if command == "stop":
            return


main()
