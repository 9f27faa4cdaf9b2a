"""The bookings as they are: read by the harness's own SQL, past the implementation."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence

import msgspec
import psycopg
from attrs import frozen

from lastseat.harness.asking import Asking
from lastseat.harness.gate.sql import with_parameter
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
    """Reads with the queries that the implementation declares."""

    def __init__(self, asking: Asking, declared: Start) -> None:
        self._asking = asking
        self._declared = declared
        self._query = functools.cache(self._for)

    def read(self, resource_ids: Sequence[str]) -> list[Reading]:
        """These resources as they are committed now, in one snapshot.

        Raises AdapterError if the queries do not work.
        """
        try:
            (row,) = self._asking.ask(self._query(len(resource_ids)), *resource_ids)
            return list(_readings(row))
        except (psycopg.Error, ValueError) as error:
            raise AdapterError(f"the audit's queries do not work: {error}", ADVICE) from error

    def _for(self, resources: int) -> str:
        """One statement is one snapshot."""
        return "SELECT " + ", ".join(map(self._columns, range(1, resources + 1)))

    def _columns(self, number: int) -> str:
        bookings = with_parameter(self._declared.bookings_sql, number)
        booked = with_parameter(self._declared.booked_sql or "SELECT NULL", number)
        return (
            "(SELECT coalesce(json_agg(json_build_array(b.id::text, b.units)), '[]')"
            f" FROM ({bookings}) AS b(id, units)), ({booked})"
        )


def _readings(row: Sequence[str | None]) -> Iterator[Reading]:
    for bookings, booked in zip(row[::2], row[1::2], strict=True):
        rows = sorted((str(b), int(u)) for b, u in msgspec.json.decode(bookings or "[]"))
        yield Reading(tuple(rows), None if booked is None else int(booked))
