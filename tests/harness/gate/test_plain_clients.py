"""PostgreSQL's own programs as clients of the gate; they come with every server that is found."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from tests.harness.gate.scene import Scene

from lastseat.harness.gate.events import Answered
from lastseat.harness.postgres import Server

Program = Callable[..., str]


@pytest.fixture
def program(server: Server) -> Program:
    """Run a program of this server's version; what it said, its errors included."""

    def run(name: str, *args: str, given: str = "") -> str:
        done = subprocess.run(
            [Path(server.binaries.bin, name), *args],
            input=given,
            capture_output=True,
            text=True,
            check=False,
            env=os.environ | {"PGCONNECT_TIMEOUT": "10", "LC_ALL": "C"},
        )
        return done.stdout + done.stderr

    return run


def test_psql_says_several_statements_in_one_turn(
    scene: Scene, program: Program, table: psycopg.Connection
) -> None:
    said = "BEGIN; UPDATE seat SET taken = 1; INSERT INTO booking VALUES ('b', 1); COMMIT"
    scene.gate.hold("alice")
    talk = scene.talk(program, "psql", scene.gate.admit("alice"), "-qXc", said)
    assert scene.release_all(talk) == [said]
    assert talk.result == ""
    (answered,) = scene.of(Answered)
    assert answered.answer.tags == ("BEGIN", "UPDATE 1", "INSERT 0 1", "COMMIT")
    assert table.execute("SELECT id FROM booking").fetchall() == [("b",)]


def test_psql_copies_in_both_directions(
    scene: Scene, program: Program, table: psycopg.Connection
) -> None:
    scene.gate.hold("alice")
    script = "\\copy booking FROM pstdin\nb1\t1\nb2\t1\n\\.\n\\copy booking TO pstdout\n"
    script = script.replace("FROM pstdin", "FROM stdin")
    talk = scene.talk(lambda: program("psql", "-qX", scene.gate.admit("alice"), given=script))
    turns = scene.release_all(talk)
    assert [turn.split()[0] for turn in turns] == ["COPY", "COPY"]
    assert talk.result == "b1\t1\nb2\t1\n"
    assert table.execute("SELECT count(*) FROM booking").fetchone() == (2,)


def test_who_asks_for_tls_is_told_politely_that_there_is_none(scene: Scene) -> None:
    """By libpq as it comes with psycopg: the programs of a server may be built without TLS."""
    url = scene.gate.admit("alice").replace("sslmode=disable", "sslmode=prefer&gssencmode=prefer")

    def ask(url: str) -> int:
        with psycopg.connect(url) as connection:
            return connection.execute("SELECT 7").fetchone()[0]

    assert scene.finish(scene.talk(ask, url)) == 7
    insisting = scene.talk(ask, url.replace("sslmode=prefer", "sslmode=require"))
    with pytest.raises(psycopg.OperationalError, match="server does not support SSL"):
        scene.finish(insisting)


@pytest.mark.parametrize("mode", ["simple", "extended", "prepared"])
def test_pgbench_books_in_each_of_its_ways(
    scene: Scene, program: Program, table: psycopg.Connection, mode: str, tmp_path: Path
) -> None:
    script = tmp_path / "book.sql"
    script.write_text(
        "BEGIN;\n"
        "SELECT taken FROM seat WHERE id = 1 FOR NO KEY UPDATE;\n"
        "UPDATE seat SET taken = taken + 1 WHERE id = 1;\n"
        "INSERT INTO booking VALUES (:client_id || '-' || gen_random_uuid(), 1);\n"
        "COMMIT;\n"
    )
    scene.gate.hold("alice")
    options = ("-n", "-c", "2", "-t", "2", "-M", mode, "-f", str(script))
    talk = scene.talk(program, "pgbench", *options, scene.gate.admit("alice"))
    turns = scene.release_all(talk)
    assert "number of transactions actually processed: 4/4" in talk.result
    words = [turn.split()[0].strip(";") for turn in turns]
    assert [words.count(w) for w in ("BEGIN", "UPDATE", "INSERT", "COMMIT")] == [4, 4, 4, 4]
    assert table.execute("SELECT taken FROM seat").fetchone() == (4,)


def test_pgbench_sends_a_whole_transaction_in_a_pipeline(
    scene: Scene, program: Program, table: psycopg.Connection, tmp_path: Path
) -> None:
    script = tmp_path / "book.sql"
    script.write_text(
        "\\startpipeline\n"
        "BEGIN;\n"
        "UPDATE seat SET taken = taken + 1 WHERE id = 1;\n"
        "INSERT INTO booking VALUES ('b', 1);\n"
        "COMMIT;\n"
        "\\endpipeline\n"
    )
    scene.gate.hold("alice")
    options = ("-n", "-c", "1", "-t", "1", "-M", "extended", "-f", str(script))
    talk = scene.talk(program, "pgbench", *options, scene.gate.admit("alice"))
    turns = scene.release_all(talk)
    assert "number of transactions actually processed: 1/1" in talk.result
    assert turns[-1].replace(";;", ";") == (
        "BEGIN; UPDATE seat SET taken = taken + 1 WHERE id = 1; "
        "INSERT INTO booking VALUES ('b', 1); COMMIT;"
    )
    assert table.execute("SELECT id FROM booking").fetchall() == [("b",)]
