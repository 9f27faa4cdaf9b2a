"""One guarded booking through one driver after another: what is tried is the driver's way to speak.

It imports nothing of lastseat's, and of the drivers the one that is asked for. What fails is not
explained here; the examples show how.
"""

from urllib.parse import urlsplit

import psycopg
from tests.harness.factories.guarded import AUDIT, IDS, declare, prepare

__all__ = ["AUDIT", "IDS", "declare", "prepare"]

CLAIM = "INSERT INTO claim VALUES (%s, %s, %s) ON CONFLICT DO NOTHING"
TAKE = "UPDATE place SET taken = taken + %s WHERE id = %s AND taken + %s <= capacity"
OWN = "SELECT place, units FROM claim WHERE id = %s"


class Guarded:
    """``open`` connects; ``say`` executes one statement, and tells how many rows it met."""

    def __init__(self, dsn, _):
        self._dsn = dsn
        self.connection = None

    async def attempt_booking(self, booking, place, units):
        if self.connection is None:
            self.connection = await self.open(self._dsn)
        claimed, taken = await self.try_to_take(booking, place, units)
        if claimed and taken:
            await self.say("COMMIT")
            return {"outcome": "BOOKED"}
        repeated = not claimed and await self.say(OWN + " AND place = %s", booking, place)
        await self.say("ROLLBACK")
        return {"outcome": "BOOKED" if repeated else "REJECTED"}

    async def try_to_take(self, booking, place, units):
        await self.say("BEGIN")
        claimed = await self.say(CLAIM, booking, place, units)
        return claimed, claimed and await self.say(TAKE, units, place, units)

    async def close(self):
        if self.connection is not None:
            self.connection.close()


class Psycopg(Guarded):
    """Prepares a statement at its sixth execution."""

    async def open(self, dsn):
        return psycopg.connect(dsn, autocommit=True)

    async def say(self, sql, *parameters):
        return self.connection.execute(sql, parameters).rowcount


class PsycopgAsync(Guarded):
    """The same with coroutines."""

    async def open(self, dsn):
        return await psycopg.AsyncConnection.connect(dsn, autocommit=True)

    async def say(self, sql, *parameters):
        return (await self.connection.execute(sql, parameters)).rowcount

    async def close(self):
        if self.connection is not None:
            await self.connection.close()


class PsycopgPipeline(Psycopg):
    """Several statements in one turn, from BEGIN on."""

    async def try_to_take(self, booking, place, units):
        with self.connection.pipeline():
            self.connection.execute("BEGIN")
            claim = self.connection.execute(CLAIM, (booking, place, units))
            take = self.connection.execute(TAKE, (units, place, units))
        return claim.rowcount, take.rowcount


class Psycopg2(Guarded):
    """Simple queries, with the values in their text."""

    async def open(self, dsn):
        import psycopg2

        connection = psycopg2.connect(dsn)
        connection.autocommit = True
        return connection

    async def say(self, sql, *parameters):
        with self.connection.cursor() as cursor:
            cursor.execute(sql, parameters)
            return cursor.rowcount


class Asyncpg(Guarded):
    """Prepares everything, with Flush, and asks for the statement's shape only once."""

    async def open(self, dsn):
        import asyncpg

        return await asyncpg.connect(dsn)

    async def say(self, sql, *parameters):
        for number in range(1, len(parameters) + 1):
            sql = sql.replace("%s", f"${number}", 1)
        if sql.startswith("SELECT"):
            return len(await self.connection.fetch(sql, *parameters))
        tag = await self.connection.execute(sql, *parameters)
        return int(tag.rpartition(" ")[2]) if parameters else 0

    async def close(self):
        if self.connection is not None:
            await self.connection.close()


class Pg8000(Guarded):
    """A Flush behind every message."""

    async def open(self, dsn):
        import pg8000.dbapi

        at = urlsplit(dsn)
        connection = pg8000.dbapi.connect(
            at.username, at.hostname, at.path[1:], at.port, at.password
        )
        connection.autocommit = True
        return connection

    async def say(self, sql, *parameters):
        cursor = self.connection.cursor()
        cursor.execute(sql, parameters)
        return cursor.rowcount
