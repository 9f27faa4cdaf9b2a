"""Contested booking with asyncpg: claim the id, then move a guarded counter, in one transaction.

    cd docs/examples/asyncpg
    lastseat verify booking:booking

Explicit BEGIN and COMMIT instead of ``async with connection.transaction()``: its exit does not tell
that the server answered COMMIT with ROLLBACK, and on a cancelled task it waits for the server
without a limit.
"""

import asyncio
import contextlib

import asyncpg

AUDIT = {
    "bookings": "SELECT id, units FROM booking WHERE event = $1",
    "booked": "SELECT booked FROM event WHERE id = $1",
}
SCHEMA = """
    CREATE TABLE IF NOT EXISTS event (
        id text PRIMARY KEY,
        capacity bigint NOT NULL,
        booked bigint NOT NULL DEFAULT 0 CHECK (booked BETWEEN 0 AND capacity)
    );
    CREATE TABLE IF NOT EXISTS booking (
        id text PRIMARY KEY,
        event text NOT NULL REFERENCES event,
        units bigint NOT NULL CHECK (units > 0)
    )
"""
CLAIM = "INSERT INTO booking VALUES ($1, $2, $3) ON CONFLICT (id) DO NOTHING"
TAKE = "UPDATE event SET booked = booked + $2 WHERE id = $1 AND booked + $2 <= capacity"
OWN = "SELECT event, units FROM booking WHERE id = $1"

FAILURES = (asyncpg.PostgresError, asyncpg.InterfaceError, OSError)
FULL = "23514"
CONFLICTS = {"40001", "40P01", "55P03"}
MISTAKES = ("22", "23", "42")  # classes of errors that the program is to blame for


async def prepare(dsn):
    async with asyncpg.create_pool(dsn, min_size=1, max_size=1) as pool:
        await pool.execute(SCHEMA)


async def declare(dsn, resource_id, capacity):
    async with asyncpg.create_pool(dsn, min_size=1, max_size=1) as pool:
        await pool.execute("INSERT INTO event VALUES ($1, $2)", resource_id, capacity)


class NotCommitted(Exception):
    """The server answered COMMIT with ROLLBACK."""


class Mistake(Exception):
    """The request is wrong: there is no such event, or the id is booked otherwise."""


class Booking:
    """A pool of one connection: connected when it is needed, reset when it is given back."""

    def __init__(self, pool, deadline_seconds):
        self._pool = pool
        self._seconds = deadline_seconds

    async def attempt_booking(self, booking_id, resource_id, requested_units):
        attempt = Attempt(booking_id, resource_id, requested_units)
        # One deadline for everything. The time-outs that asyncpg has are for one call each.
        now = asyncio.get_running_loop().time
        end = now() + self._seconds
        try:
            async with asyncio.timeout_at(end):
                connection = await self._pool.acquire()
        except (TimeoutError, *FAILURES) as error:
            attempt.fails(f"no connection: {error}")
            return attempt.answer
        try:
            async with asyncio.timeout_at(end):
                await attempt.run(connection)
        except TimeoutError:
            attempt.fails("the deadline has passed")
            drop(connection)
        finally:
            # All is decided; what breaks now is not in the pool any more.
            with contextlib.suppress(Exception):
                await self._pool.release(connection, timeout=max(0, end - now()))
        return attempt.answer

    async def close(self):
        self._pool.terminate()


def drop(connection):
    """End it without a word: close() would wait for the server."""
    with contextlib.suppress(asyncpg.InterfaceError):  # the pool may have been faster
        connection.terminate()


class Attempt:
    """One attempt; its answer, once decided, stays."""

    def __init__(self, booking_id, resource_id, units):
        self.id, self.event, self.units = booking_id, resource_id, units
        self.answer = None
        self._committing = False

    async def run(self, connection):
        try:
            await self._book(connection)
        except FAILURES as error:
            # Definite is an ERROR on a connection that lives on; all else leaves COMMIT open.
            if getattr(error, "severity_en", None) == "ERROR" and not connection.is_closed():
                self._committing = False
            drop(connection)
            self._explain(error)
        except NotCommitted as error:
            self._committing = False
            self.fails(str(error))

    async def _book(self, connection):
        await connection.execute("BEGIN")
        if await connection.execute(CLAIM, self.id, self.event, self.units) == "INSERT 0 0":
            own = await connection.fetchrow(OWN, self.id)
            if tuple(own) == (self.event, self.units):
                self._decides("BOOKED")
            await connection.execute("ROLLBACK")
            if self.answer is None:
                raise Mistake(f"{self.id} is booked as {own['units']} of {own['event']}")
        elif await connection.execute(TAKE, self.event, self.units) == "UPDATE 0":
            self._decides("REJECTED")
            await connection.execute("ROLLBACK")
        else:
            # Is the connection lost already? In one round the loop reads the end of the stream, in
            # the next asyncpg is told. What it sends in between is thrown away without a word.
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            if connection.is_closed():
                raise ConnectionResetError("it was lost before COMMIT could be sent")
            self._committing = True
            answer = await connection.execute("COMMIT")
            if answer != "COMMIT":
                raise NotCommitted(f"COMMIT was answered {answer}")
            self._decides("BOOKED")

    def _decides(self, outcome):
        self.answer = {"outcome": outcome}

    def _explain(self, error):
        state = getattr(error, "sqlstate", None) or ""
        if self.answer is not None:  # it met the ROLLBACK: all had been decided
            return
        if self._committing:
            self.fails(str(error))
        elif state == FULL:
            self._decides("REJECTED")
        elif state in CONFLICTS:
            self.answer = {"outcome": "FAILED", "cause": "CONFLICT", "detail": str(error)}
        elif state.startswith(MISTAKES):
            raise Mistake(str(error)) from error
        else:
            self.fails(str(error))

    def fails(self, detail):
        """Infrastructure, unless all was decided before."""
        if self.answer is None:
            self.answer = {
                "outcome": "FAILED",
                "cause": "INFRASTRUCTURE",
                "in_doubt": self._committing,
                "detail": detail,
            }


async def booking(dsn, deadline_seconds):
    """insert, guarded update"""
    pool = asyncpg.create_pool(dsn, min_size=0, max_size=1)
    return Booking(await pool, deadline_seconds)
