"""Right, and quick to go: what becomes of a connection is no longer waited for once it is decided.

They behave as drivers of other languages do. The statements are those of ``driven``.
"""

import select
import threading
import time

import psycopg
from psycopg.pq import ConnStatus, ExecStatus, PGconn
from tests.harness.factories.driven import CLAIM, OWN, TAKE
from tests.harness.factories.guarded import AUDIT, IDS, declare, prepare

__all__ = ["AUDIT", "IDS", "AtOnce", "CancelsAndLeaves", "CancelsAndWaits", "declare", "prepare"]

_LATER = 0.05  # seconds after which a connection is closed by somebody else


class Late(Exception):
    """The deadline has expired, and a statement is not answered."""


class Refused(psycopg.OperationalError):
    """The server has answered with an error, and the session goes on."""


class AtOnce:
    """Answers as soon as it reads FATAL, and leaves it to others to close the connection."""

    def __init__(self, dsn, deadline_seconds):
        self._dsn = dsn
        self._seconds = deadline_seconds
        self._libpq = None
        self._committing = False
        self._ends = 0.0

    def attempt_booking(self, booking, place, units):
        self._ends = time.monotonic() + self._seconds
        self._committing = False
        try:
            return {"outcome": self._booked(booking, place, units)}
        except Late:
            return self._failed(self.too_late())
        except psycopg.OperationalError:
            self.leave()
            return self._failed(in_doubt=self._committing)

    def _failed(self, in_doubt):
        return {"outcome": "FAILED", "cause": "INFRASTRUCTURE", "in_doubt": in_doubt}

    def _booked(self, booking, place, units):
        if self._libpq is None:
            self._libpq = PGconn.connect(self._dsn.encode())
            self._answerable()
        self._say("BEGIN")
        claimed = self._say(CLAIM, booking, place, units).command_tuples
        if claimed and self._say(TAKE, units, place, units).command_tuples:
            self._committing = True
            if self._say("COMMIT").command_status != b"COMMIT":
                raise AssertionError("rolled back")
            return "BOOKED"
        repeated = not claimed and self._say(OWN + " AND place = %s", booking, place).ntuples
        self._say("ROLLBACK")
        return "BOOKED" if repeated else "REJECTED"

    def _answerable(self):
        if self._libpq.status != ConnStatus.OK:
            raise psycopg.OperationalError(self._libpq.error_message.decode())

    def _say(self, sql, *parameters):
        for number in range(1, len(parameters) + 1):
            sql = sql.replace("%s", f"${number}", 1)
        self._libpq.send_query_params(sql.encode(), [str(p).encode() for p in parameters])
        return self._answer(self._ends)

    def _answer(self, until):
        ready = select.poll()
        ready.register(self._libpq.socket, select.POLLIN)
        while self._libpq.is_busy():
            if not ready.poll(max(0.0, until - time.monotonic()) * 1000):
                raise Late
            self._libpq.consume_input()
        found = self._libpq.get_result()
        if found is None or self._libpq.status != ConnStatus.OK or _is_fatal(found):
            raise psycopg.OperationalError("the connection is lost")
        while self._libpq.get_result() is not None:
            pass
        if found.status not in {ExecStatus.COMMAND_OK, ExecStatus.TUPLES_OK}:
            raise Refused(found.error_message.decode())
        return found

    def too_late(self):
        """Give up; in doubt?"""
        self.leave()
        return self._committing

    def leave(self):
        """The connection is closed later, by somebody else."""
        if self._libpq is not None:
            threading.Timer(_LATER, self._libpq.finish).start()
            self._libpq = None

    def close(self):
        if self._libpq is not None:
            self._libpq.finish()
            self._libpq = None


class CancelsAndLeaves(AtOnce):
    """At its deadline it answers; in the background it cancels the statement, and then closes."""

    def leave(self):
        if self._libpq is not None:
            threading.Timer(_LATER, _cancel_and_finish, [self._libpq]).start()
            self._libpq = None


class CancelsAndWaits(AtOnce):
    """At its deadline it cancels the statement, and waits for what the server says to that."""

    def too_late(self):
        self._libpq.get_cancel().cancel()
        try:
            self._answer(self._ends + 1.0)
        except Refused:
            self._committing = False
        except (psycopg.OperationalError, Late):
            pass
        self.leave()
        return self._committing


def _is_fatal(result):
    return result.error_field(psycopg.pq.DiagnosticField.SEVERITY_NONLOCALIZED) in {
        b"FATAL",
        b"PANIC",
    }


def _cancel_and_finish(libpq):
    libpq.get_cancel().cancel()
    libpq.finish()
