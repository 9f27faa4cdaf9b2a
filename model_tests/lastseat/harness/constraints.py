"""The constraints that make the database the arbiter, and whether a request would violate them now.

Their names are the implementation's own, and it may well know its constraints by them. So they are
looked up: the audit's queries tell which column holds the bookings' ids, and which is the counter.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import psycopg
from psycopg.pq.abc import PGresult

from lastseat.harness.faults import Constraint
from lastseat.harness.implementations.protocol import Start
from lastseat.spec.evidence import CAPACITY_VIOLATED, KEY_VIOLATED
from lastseat.spec.resource import ProgrammingError, State, step
from lastseat.spec.vocabulary import REJECTED, Request

_UNIQUE = """
SELECT relnamespace::regnamespace::text, relation.relname::text, indexrelid::regclass::text
  FROM pg_index JOIN pg_class AS relation ON relation.oid = indrelid
 WHERE indrelid = %s AND indisunique AND indnkeyatts = 1 AND indkey[0] = %s"""
_CHECK = """
SELECT relnamespace::regnamespace::text, relation.relname::text, conname::text
  FROM pg_constraint JOIN pg_class AS relation ON relation.oid = conrelid
 WHERE conrelid = %s AND contype = 'c' AND %s::smallint = ANY (conkey)
   AND array_length(conkey, 1) > 1"""
_WORDS = {
    KEY_VIOLATED: "duplicate key value violates unique constraint",
    CAPACITY_VIOLATED: "new row violates check constraint",
}


def find(dsn: str, declared: Start) -> Mapping[str, Constraint]:
    """By SQLSTATE, where there is just one that it can be: the unique key over the bookings' ids,
    and the check that holds the counter against another column."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        asked = (
            (KEY_VIOLATED, _UNIQUE, declared.bookings_sql),
            (CAPACITY_VIOLATED, _CHECK, declared.booked_sql),
        )
        return {
            sqlstate: found
            for sqlstate, query, audit in asked
            if audit is not None
            for found in _only(connection, sqlstate, query, audit)
        }


def _only(
    connection: psycopg.Connection, sqlstate: str, query: str, audit: str
) -> Iterator[Constraint]:
    described = _describe(connection, audit)
    if described is None or not described.ftable(0):
        return
    column = described.ftable(0), described.ftablecol(0)
    rows = connection.execute(query.encode(), column).fetchall()
    if len(rows) == 1:
        schema, table, name = rows[0]
        yield Constraint(sqlstate, _WORDS[sqlstate], schema, table, name.rpartition(".")[2])


def _describe(connection: psycopg.Connection, sql: str) -> PGresult | None:
    """Which columns the query's result comes from; None if it does not work, as the audit says."""
    try:
        connection.pgconn.prepare(b"", sql.encode())
        described = connection.pgconn.describe_prepared(b"")
    except psycopg.Error:
        return None
    return described if described.nfields else None


def violated(
    constraints: Mapping[str, Constraint], state: State, request: Request, sqlstate: str
) -> Constraint | None:
    """The constraint with this SQLSTATE, if the request would violate it in this state."""
    if sqlstate == KEY_VIOLATED:
        true = state.booking(request.booking_id) is not None
    else:
        try:
            true = step(state, request)[1] == REJECTED
        except ProgrammingError:
            true = False
    return constraints.get(sqlstate) if true else None
