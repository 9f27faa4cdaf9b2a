"""Implementations by which is tested what repeats. It imports nothing of lastseat's.

``MakesValuesUp`` is right: row ids, moments and names differ at each attempt, as they do in real
code. The wrong ones beside it differ from it in one thing. Those that are wrong once are so in the
first attempt of all processes that finds no file of the name ``WRONG_ONCE``; not in the attempts by
which connections are tried out between runs.
"""

import contextlib
import os
import time
import uuid
from datetime import UTC, datetime

import psycopg
from tests.harness.factories import guarded

IDS = guarded.IDS
AUDIT = guarded.AUDIT
declare = guarded.declare

_MORE = """
    ALTER TABLE claim ADD COLUMN IF NOT EXISTS row_id uuid, ADD COLUMN IF NOT EXISTS at timestamptz;
    CREATE TABLE IF NOT EXISTS journal (id uuid PRIMARY KEY, said text)"""
_CLAIM = "INSERT INTO claim VALUES (%s, %s, %s, %s, '{now}') ON CONFLICT DO NOTHING"


def prepare(dsn):
    guarded.prepare(dsn)
    with psycopg.connect(dsn) as connection:
        connection.execute(_MORE)


class MakesValuesUp(guarded.Guarded):
    """Right."""

    def _book(self, booking, place, units):
        if self._connection is None:
            self._connection = psycopg.connect(self._dsn, autocommit=True, prepare_threshold=None)
        self._before(booking, place, units)
        execute, savepoint = self._connection.execute, f"s{uuid.uuid4().hex}"
        execute("BEGIN")
        execute(f'SAVEPOINT "{savepoint}"')
        claim = _CLAIM.format(now=datetime.now(UTC).isoformat())
        if execute(claim, (booking, place, units, uuid.uuid4())).rowcount == 0:
            own = execute(guarded._OWN, (booking,)).fetchone()
            execute("ROLLBACK")
            if own != (place, units):
                raise ValueError(f"{booking} is booked otherwise")
            return "BOOKED"
        if execute(guarded._TAKE, (units, place, units)).rowcount == 0:
            execute("ROLLBACK")
            return "REJECTED"
        execute(f'RELEASE SAVEPOINT "{savepoint}"')
        self._committing = True
        assert execute("COMMIT").statusmessage == "COMMIT"
        return "BOOKED"

    def _before(self, booking, place, units):
        """What a wrong one does before its transaction begins."""

    def _keep_a_journal(self, booking):
        """A transaction of its own: against conduct, and nothing else comes of it."""
        self._connection.execute("INSERT INTO journal VALUES (%s, %s)", (uuid.uuid4(), booking))


class KeepsAJournal(MakesValuesUp):
    """Wrong each time, by no fact."""

    def _before(self, booking, place, units):
        self._keep_a_journal(booking)


class KeepsAJournalOnce(MakesValuesUp):
    """Wrong once, by no fact."""

    def _before(self, booking, place, units):
        if _first(booking):
            self._keep_a_journal(booking)


class OversellsOnce(MakesValuesUp):
    """Wrong once, by a fact."""

    def _before(self, booking, place, units):
        if _first(booking):
            take = "UPDATE place SET taken = taken + 1 WHERE id = %s"
            self._connection.execute(take, (place,))


class Hangs(MakesValuesUp):
    """Wrong each time: it never answers."""

    def _before(self, booking, place, units):
        if booking.endswith("b2"):
            self._connection.execute("SELECT FROM place WHERE id = %s", (place,))
            _sleep()


class HangsOnce(MakesValuesUp):
    """Wrong once: it never answers."""

    def _before(self, booking, place, units):
        if _first(booking):
            self._connection.execute("SELECT FROM place WHERE id = %s", (place,))
            _sleep()


def _sleep():
    while True:
        with contextlib.suppress(guarded.Late):
            time.sleep(60)


def _first(booking):
    """Whether this is the first attempt of all."""
    if "first-words" in booking:
        return False
    try:
        os.close(os.open(os.environ["WRONG_ONCE"], os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True
