"""What statements are taken for, from their texts."""

from __future__ import annotations

import pytest

from lastseat.harness.gate.sql import (
    Kind,
    classify,
    executed_statement,
    gives_back,
    kept_statement,
    prepared_transaction,
    savepoint,
    split,
)

KNOWN = frozenset(
    {"now", "sum", "count", "coalesce", "unnest", "extract", "pg_advisory_unlock"}
    | {"in", "values", "exists", "as", "from"}
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
        "SELECT extract(epoch FROM now())",
        "SELECT * FROM unnest(ARRAY[1, 2])",
        "CLOSE c",
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
        "FETCH 1 FROM c",
        "MOVE FORWARD ALL IN c",
        "SELECT 1 FROM unnest(ARRAY[1]) JOIN booking ON true",
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


def test_a_function_of_the_user_s_that_may_not_write_reads() -> None:
    readers = frozenset({"find", "lastseat.find"})
    assert classify("SELECT find(1)", KNOWN, readers) is Kind.READ
    assert classify("SELECT * FROM lastseat.find(1)", KNOWN, readers) is Kind.READ
    assert classify("SELECT find(1), attempt(1)", KNOWN, readers) is Kind.UNSURE
    assert classify("SELECT other.find(1)", KNOWN, readers) is Kind.UNSURE


@pytest.mark.parametrize(
    ("sql", "found"),
    [
        ("SAVEPOINT a", ("SAVEPOINT", "a")),
        ("savepoint A;", ("SAVEPOINT", "a")),
        ('SAVEPOINT "s1_x""2"', ("SAVEPOINT", 's1_x"2')),
        ("RELEASE a", ("RELEASE", "a")),
        ("RELEASE SAVEPOINT a", ("RELEASE", "a")),
        ("ROLLBACK TO a", ("ROLLBACK", "a")),
        ("ROLLBACK WORK TO SAVEPOINT a", ("ROLLBACK", "a")),
        ("ROLLBACK", None),
        ("SELECT 'SAVEPOINT a'", None),
    ],
)
def test_a_savepoint_has_a_name(sql: str, found: tuple[str, str] | None) -> None:
    assert savepoint(sql) == found


@pytest.mark.parametrize(
    ("sql", "found"),
    [
        ("ROLLBACK TO a", True),
        ("RELEASE a", True),
        ("CLOSE ALL", True),
        ("DISCARD ALL", True),
        ("RESET ALL", True),
        ("DEALLOCATE p", True),
        ("SELECT pg_advisory_unlock(1)", True),
        ("SAVEPOINT a", False),
        ("SET LOCAL lock_timeout = 1", False),
        ("SELECT 1 FROM booking", False),
        ("", False),
    ],
)
def test_what_only_gives_something_back(sql: str, found: bool) -> None:
    assert gives_back(sql) is found


@pytest.mark.parametrize(
    ("sql", "found"),
    [
        ("PREPARE own AS SELECT 1", ("own", "SELECT 1")),
        ("prepare Own (text, int) as SELECT 1 AS x", ("own", "SELECT 1 AS x")),
        ('PREPARE "Own" AS INSERT INTO x VALUES ($1)', ("Own", "INSERT INTO x VALUES ($1)")),
        ("PREPARE TRANSACTION 'one'", None),
        ("SELECT 'PREPARE own AS SELECT 1'", None),
    ],
)
def test_a_statement_is_kept_under_a_name(sql: str, found: tuple[str, str] | None) -> None:
    assert kept_statement(sql) == found


@pytest.mark.parametrize(
    ("sql", "found"),
    [("EXECUTE own", "own"), ('execute "Own" (1)', "Own"), ("SELECT 'EXECUTE own'", None)],
)
def test_and_is_executed_by_it(sql: str, found: str | None) -> None:
    assert executed_statement(sql) == found
