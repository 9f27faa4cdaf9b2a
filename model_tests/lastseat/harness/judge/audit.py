"""The bookings as they are: read by the harness's own SQL, past the implementation."""

from __future__ import annotations

from types import TracebackType
from typing import Self

import psycopg
from attrs import frozen
from psycopg.raw_cursor import RawCursor

from lastseat.harness.implementations.protocol import AdapterError, Start

ADVICE = (
    "audit.bookings selects two columns, id and units, of every booking of the resource $1;"
    " audit.booked selects its counter, or is null where there is none"
)


@frozen
class Reading:
    """One resource in one snapshot: its rows in order, and its counter where there is one."""

    rows: tuple[tuple[str, int], ...]
    booked: int | None


class Auditor:
    """Reads through a connection of its own, with the queries that the implementation declares."""

    def __init__(self, dsn: str, declared: Start) -> None:
        self._connection = psycopg.connect(dsn, autocommit=True)
        # One statement is one snapshot.
        self._query = (
            "SELECT (SELECT coalesce(json_agg(json_build_array(b.id::text, b.units)), '[]')"
            f" FROM ({declared.bookings_sql}) AS b(id, units)),"
            f" ({declared.booked_sql or 'SELECT NULL::bigint'})"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def read(self, resource_id: str) -> Reading:
        """The resource as it is committed now. Raises AdapterError if its queries do not work."""
        try:
            with RawCursor(self._connection) as cursor:
                row = cursor.execute(self._query, (resource_id,), prepare=True).fetchone()
        except psycopg.Error as error:
            raise AdapterError(f"the audit's queries do not work: {error}", ADVICE) from error
        assert row is not None
        rows, booked = row
        return Reading(tuple(sorted((str(b), int(u)) for b, u in rows)), booked)

    def close(self) -> None:
        self._connection.close()
