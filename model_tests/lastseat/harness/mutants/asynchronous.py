"""Mechanisms on psycopg's asynchronous connections: one that is right, and one that is not."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import threading
from typing import Any

import psycopg
from attrs import define, field
from psycopg.pq import TransactionStatus

from lastseat.harness.mutants.caller import (
    BOOKED,
    CONFLICT,
    CONFLICTS,
    IN_DOUBT,
    INFRASTRUCTURE,
    REJECTED,
    Answer,
    Inconsistent,
)
from lastseat.harness.mutants.conforming import IF_ROOM, INSERT
from lastseat.harness.mutants.schema import COUNTED
from lastseat.impl.connection import conninfo

__all__ = ["AUDIT", "IDS", "Expiring", "Guarded", "declare", "prepare"]

IDS = "text"
AUDIT = COUNTED.audit
prepare = COUNTED.prepare
declare = COUNTED.declare

_OWN = "SELECT resource_id, units FROM booking WHERE booking_id = %s"


@define
class Guarded:
    """Right: the row first, unless it is there, then the counter, if there is room; or neither."""

    dsn: str
    deadline_seconds: float
    _connection: psycopg.AsyncConnection | None = field(default=None, init=False)
    _committing: bool = field(default=False, init=False)

    async def attempt_booking(self, booking_id: str, resource_id: str, units: int) -> Answer:
        """One attempt; it is over when its time is."""
        self._committing = False
        booking = asyncio.create_task(self._answered(booking_id, resource_id, units))
        done, _ = await asyncio.wait({booking}, timeout=self.deadline_seconds)
        if not done:
            self._hang_up(booking)
        return await booking

    def _hang_up(self, booking: asyncio.Task[Answer]) -> None:
        """Whoever waits for the server is told that the connection has ended."""
        if self._connection is None:  # nothing has been sent yet
            booking.cancel()
        else:
            with socket.socket(fileno=os.dup(self._connection.fileno())) as wire:
                wire.shutdown(socket.SHUT_RDWR)

    async def _answered(self, booking_id: str, resource_id: str, units: int) -> Answer:
        try:
            if self._connection is None:
                self._connection = await psycopg.AsyncConnection.connect(
                    conninfo(self.dsn), autocommit=True, prepare_threshold=None
                )
            return await self._book(booking_id, resource_id, units)
        except asyncio.CancelledError:
            return INFRASTRUCTURE
        except psycopg.errors.UniqueViolation:
            await self._execute("ROLLBACK")
            return BOOKED if await self._has(booking_id, resource_id, units) else CONFLICT
        except psycopg.IntegrityError as error:
            await self.close()
            raise Inconsistent(str(error)) from error
        except psycopg.Error as error:
            return await self._failed(error)

    async def _book(self, booking: str, resource: str, units: int) -> Answer:
        await self._execute("BEGIN")
        row = await self._execute(INSERT + " ON CONFLICT DO NOTHING", booking, resource, units)
        if row.rowcount == 0:
            known = await self._has(booking, resource, units)
            await self._execute("ROLLBACK")
            return BOOKED if known else CONFLICT
        if (await self._execute(IF_ROOM, units, resource, units)).rowcount == 0:
            await self._execute("ROLLBACK")
            return REJECTED
        self._committing = True
        tag = (await self._execute("COMMIT")).statusmessage
        self._committing = False
        return BOOKED if tag == "COMMIT" else INFRASTRUCTURE

    async def _execute(self, sql: str, *parameters: object) -> psycopg.AsyncCursor[Any]:
        assert self._connection is not None
        return await self._connection.execute(sql.encode(), parameters or None)

    async def _has(self, booking: str, resource: str, units: int) -> bool:
        own = await (await self._execute(_OWN, booking)).fetchone()
        if own is not None and own != (resource, units):
            await self.close()
            raise Inconsistent(f"{booking!r} is booked otherwise")
        return own is not None

    async def _failed(self, error: psycopg.Error) -> Answer:
        told = error.diag.severity_nonlocalized == "ERROR"
        lost = self._connection is None or self._connection.closed
        if not lost and self._connection is not None:
            lost = self._connection.pgconn.transaction_status == TransactionStatus.UNKNOWN
        definite = told and not lost
        await self.close()
        if definite and error.sqlstate in CONFLICTS:
            return CONFLICT
        return IN_DOUBT if self._committing and not definite else INFRASTRUCTURE

    async def close(self) -> None:
        if self._connection is not None:
            await self._connection.close()
            self._connection.pgconn.finish()
            self._connection = None


class Expiring:
    """Wrong: when time is up, ROLLBACK is put into the queue; but the call itself goes on.

    What it executes next comes behind the ROLLBACK, and is its own transaction.
    """

    def __init__(self, dsn: str, deadline_seconds: float) -> None:
        self._guarded = _Lasting(dsn, deadline_seconds)
        self._seconds = deadline_seconds
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()

    def attempt_booking(self, booking_id: str, resource_id: str, units: int) -> Answer:
        """One attempt, on the loop that all of them share."""
        attempt = self._guarded.expire(booking_id, resource_id, units)
        return asyncio.run_coroutine_threadsafe(attempt, self._loop).result()

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self._guarded.close(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)


@define
class _Lasting(Guarded):
    _background: set[asyncio.Task[Any]] = field(factory=set, init=False)

    async def expire(self, booking_id: str, resource_id: str, units: int) -> Answer:
        """The answer, or that there was none in time."""
        self._committing = False
        booking = asyncio.create_task(self._answered(booking_id, resource_id, units))
        done, _ = await asyncio.wait({booking}, timeout=self.deadline_seconds)
        if done:
            return await booking
        self._background |= {booking, asyncio.create_task(self._give_up())}
        return IN_DOUBT if self._committing else INFRASTRUCTURE

    async def _give_up(self) -> None:
        with contextlib.suppress(psycopg.Error):
            await self._execute("ROLLBACK")
