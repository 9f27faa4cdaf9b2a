"""What statements are taken for, from their texts."""

from __future__ import annotations

import pytest

from lastseat.harness.gate.sql import Kind, classify, prepared_transaction, split

KNOWN = frozenset(
    {"now", "sum", "count", "coalesce", "unnest"} | {"in", "values", "exists", "as", "from"}
)
"""Functions of the server and keywords, as far as they occur here."""

STATEMENTS = [
    (Kind.BEGIN, "BEGIN", "begin isolation level serializable", "START TRANSACTION READ WRITE"),
    (
        Kind.COMMIT,
        "COMMIT",
        "commit work",
        "END",
        "/* x */ COMMIT AND CHAIN",
        "COMMIT PREPARED 'x'",
    ),
    (Kind.ROLLBACK, "ROLLBACK", "ABORT", "rollback and chain", "ROLLBACK PREPARED 'x'"),
    (Kind.SAVEPOINT, "SAVEPOINT s", "RELEASE s", "ROLLBACK TO s", "rollback work to savepoint s"),
    (Kind.PREPARE_TRANSACTION, "PREPARE TRANSACTION 'x'"),
    (
        Kind.NEUTRAL,
        "",
        "-- COMMIT",
        "SELECT 1",
        "SELECT now()",
        "SELECT 'UPDATE booking'",
        "SELECT $$DELETE$$, $q$ INSERT $$ $q$",
        "SET search_path = x",
        "SHOW ALL",
        "DEALLOCATE ALL",
        "PREPARE p AS UPDATE booking SET units = 1",
        "SELECT oid FROM pg_type",
        "SELECT t.oid FROM pg_catalog.pg_type t, pg_class c WHERE count(a, b)",
        'SELECT * FROM "pg_type"',
    ),
    (
        Kind.READ,
        "SELECT * FROM booking",
        'select * from "Booking" for update',
        "SELECT 1 FROM resource FOR NO KEY UPDATE",
        "SELECT sum(units) FROM booking WHERE id IN (1)",
        "WITH b (id) AS (SELECT id FROM booking) SELECT count(*) FROM b",
        "WITH RECURSIVE b(id) AS (VALUES (1)) SELECT * FROM b AS c(id)",
        "SELECT 1 FROM pg_class, booking",
        "SELECT 1 FROM (SELECT 1) x",
        "(SELECT 1 FROM booking)",
        "TABLE booking",
        "LOCK TABLE booking",
        "DECLARE c CURSOR FOR SELECT * FROM booking",
        "COPY booking TO STDOUT",
        "COPY (SELECT * FROM booking) TO STDOUT",
        "SELECT 'it''s', E'\\'', \"from\" FROM booking",
    ),
    (
        Kind.WRITE,
        "INSERT INTO booking VALUES (1)",
        "update booking set x = 1",
        "-- hello\nDELETE FROM booking",
        "MERGE INTO booking USING x ON true WHEN MATCHED THEN DELETE",
        "TRUNCATE booking",
        "WITH x AS (INSERT INTO booking VALUES (1) RETURNING id) SELECT * FROM x",
        "WITH x AS (UPDATE booking SET a = 1 RETURNING id) SELECT id FROM x FOR UPDATE",
        "EXPLAIN ANALYZE DELETE FROM booking",
        "SELECT * INTO other FROM booking",
        "COPY booking FROM STDIN",
        "COPY booking (id, units) FROM STDIN",
        "COPY (DELETE FROM booking RETURNING id) TO STDOUT",
    ),
    (
        Kind.UNSURE,
        "SELECT attempt('b', 'r', 1)",
        "SELECT * FROM lastseat.attempt(1)",
        "SELECT lastseat.now()",
        'SELECT "Attempt" (1)',
        "CALL attempt(1)",
        "DO $$ BEGIN END $$",
        "EXECUTE p",
        "CREATE TABLE x ()",
        "VACUUM",
        "whatever comes",
    ),
]


@pytest.mark.parametrize(
    ("kind", "sql"), [(kind, sql) for kind, *texts in STATEMENTS for sql in texts]
)
def test_a_statement_is_what_its_text_says(kind: Kind, sql: str) -> None:
    assert classify(sql, KNOWN) is kind


def test_without_a_list_of_the_server_s_functions_every_call_may_write() -> None:
    assert classify("SELECT now()") is Kind.UNSURE
    assert classify("SELECT pg_catalog.now()", KNOWN) is Kind.NEUTRAL


@pytest.mark.parametrize(
    ("sql", "parts"),
    [
        ("", ()),
        (" ; ;", ()),
        ("-- only a comment; BEGIN", ()),
        ("BEGIN;", ("BEGIN",)),
        ("BEGIN; SELECT ';' ; COMMIT", ("BEGIN", "SELECT ';'", "COMMIT")),
        ("DO $$ BEGIN; END; $$; SELECT 1", ("DO $$ BEGIN; END; $$", "SELECT 1")),
        ('SELECT ";" /* ; */; SELECT 2', ('SELECT ";" /* ; */', "SELECT 2")),
    ],
)
def test_a_query_may_hold_several_statements(sql: str, parts: tuple[str, ...]) -> None:
    assert split(sql) == parts


@pytest.mark.parametrize(
    ("sql", "name"),
    [
        ("PREPARE TRANSACTION 'one'", "one"),
        ("commit prepared 'one';", "one"),
        ("ROLLBACK /* now */ PREPARED 'one'", "one"),
        ("COMMIT", None),
        ("PREPARE one AS SELECT 'two'", None),
        ("INSERT INTO x VALUES ('PREPARE TRANSACTION')", None),
    ],
)
def test_a_transaction_in_two_phases_has_a_name(sql: str, name: str | None) -> None:
    assert prepared_transaction(sql) == name
