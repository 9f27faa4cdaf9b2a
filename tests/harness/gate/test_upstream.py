"""How the gate gets in at the server, and what its clients are told where it does not."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator

import asyncpg
import psycopg
import pytest
from attrs import evolve
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from tests.harness.gate.scene import Scene, query
from tests.harness.gate.tls import PEM, TlsServer

from lastseat.harness.gate import messages, upstream
from lastseat.harness.gate.events import Answered, Broken, HungUp, Opened, Refused
from lastseat.harness.gate.messages import message
from lastseat.harness.gate.upstream import CannotConnect, Upstream
from lastseat.harness.postgres import Server, start

ROLES = {"cleartext": "password", "md5": "md5", "scram": "scram-sha-256"}
PASSWORD = "a secret: 'ä' \\ &"


@pytest.fixture(scope="module")
def guarded() -> Iterator[Server]:
    """A server that asks each of our roles for its password in its own way."""
    with start() as server:
        hba = server.data_directory / "pg_hba.conf"
        rules = [f"host all {role} 127.0.0.1/32 {how}" for role, how in ROLES.items()]
        hba.write_text("\n".join([*rules, hba.read_text()]))
        with psycopg.connect(server.dsn(), autocommit=True) as connection:
            for role, how in ROLES.items():
                kept = "md5" if how == "md5" else "scram-sha-256"
                connection.execute(f"SET password_encryption = '{kept}'")
                connection.execute(
                    psycopg.sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(
                        psycopg.sql.Identifier(role), psycopg.sql.Literal(PASSWORD)
                    )
                )
            connection.execute("CREATE ROLE narrow LOGIN PASSWORD 'narrow' CONNECTION LIMIT 0")
        server.restart()
        yield server


@pytest.fixture(scope="module")
def tls(guarded: Server) -> Iterator[TlsServer]:
    with TlsServer(int(conninfo_to_dict(guarded.dsn(tcp=True))["port"])) as speaking:
        yield speaking


def dsn(server: Server, **changes: str) -> str:
    return make_conninfo(server.dsn(tcp=True), **changes)


def ask(scene: Scene, sql: str) -> str:
    """The one value that a client gets for this query, through the gate."""

    def talk(url: str) -> str:
        with psycopg.connect(url) as connection:
            return str(connection.execute(sql).fetchone()[0])

    return scene.finish(scene.talk(talk, scene.gate.admit("alice")))


@pytest.mark.parametrize("role", ROLES)
def test_it_shows_the_server_a_password_of_its_own(guarded: Server, role: str) -> None:
    with Scene(dsn(guarded, user=role, password=PASSWORD)) as scene:
        assert ask(scene, "SELECT current_user") == role


@pytest.mark.parametrize(
    ("sslmode", "encrypted"),
    [("disable", 0), ("prefer", 1), ("require", 1), ("verify-full", 1)],
)
def test_tls_is_as_the_dsn_says(
    guarded: Server, tls: TlsServer, sslmode: str, encrypted: int
) -> None:
    before = tls.encrypted
    given = dsn(guarded, sslmode=sslmode, sslrootcert=str(PEM), port=str(tls.port))
    with Scene(given) as scene:
        assert ask(scene, "SELECT 7") == "7"
    assert tls.encrypted - before == encrypted


def test_large_answers_and_requests_pass_through_tls(guarded: Server, tls: TlsServer) -> None:
    """Records of TLS do not end where reads and writes do."""
    with Scene(dsn(guarded, sslmode="require", port=str(tls.port))) as scene:
        assert len(ask(scene, "SELECT repeat('x', 5000000)")) == 5_000_000
        assert ask(scene, f"SELECT length('{'x' * 5_000_000}')") == "5000000"


def test_a_certificate_of_nobody_we_know_is_refused(guarded: Server, tls: TlsServer) -> None:
    given = dsn(guarded, sslmode="verify-full", port=str(tls.port))
    with pytest.raises(CannotConnect, match="certificate verify failed"):
        upstream.connect(Upstream.parse(given), {})


def test_tls_that_is_not_there_is_refused(server: Server) -> None:
    with pytest.raises(CannotConnect, match="does not speak TLS"):
        upstream.connect(Upstream.parse(dsn(server, sslmode="require")), {})


@pytest.mark.parametrize(
    ("changes", "sqlstate"),
    [
        ({"user": "scram", "password": "wrong"}, "28P01"),
        ({"dbname": "nowhere"}, "3D000"),
        ({"user": "narrow", "password": "narrow"}, "53300"),
    ],
)
def test_what_the_server_refuses_reaches_the_client_as_it_is(
    guarded: Server, changes: dict[str, str], sqlstate: str
) -> None:
    with Scene(dsn(guarded, **changes)) as scene:
        raw = scene.raw()
        raw.log_in()
        scene.until(lambda: raw.ended)
        assert f"C{sqlstate}\0".encode() in bytes(raw.data)
        assert raw.to_the_end() == "E"
        (refused,) = scene.of(Refused)
        assert refused.error is not None
        assert (refused.error.severity, refused.error.sqlstate) == ("FATAL", sqlstate)


def test_a_missing_password_is_asked_for_in_words(guarded: Server) -> None:
    with pytest.raises(CannotConnect, match="put one into the dsn"):
        upstream.connect(evolve(Upstream.parse(dsn(guarded)), password=None), {})


def test_no_server_at_all(unused_port: int) -> None:
    with Scene(f"host=127.0.0.1 port={unused_port} user=x dbname=x") as scene:
        raw = scene.raw()
        raw.log_in()
        scene.until(lambda: raw.ended)
        assert b"C08006\0" in bytes(raw.data)
        assert scene.of(Refused)[0].error is None


@pytest.fixture
def unused_port() -> Iterator[int]:
    """A port that nobody listens to, and that stays ours."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        message("R", b"\0\0\0\x07"),  # GSSAPI
        message("R", b"\0\0\0\x0aSCRAM-SHA-1\0\0"),
        message("R", b"\0\0\0\x0b no such thing"),
        message("R", b"\0\0\0\0") + b"Z",
    ],
)
def test_a_server_that_is_none_is_told_as_such(said: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as port:

        def answer() -> None:
            peer, _ = port.accept()
            with peer:
                peer.recv(4096)
                peer.sendall(said)

        thread = threading.Thread(target=answer)
        thread.start()
        number = port.getsockname()[1]
        given = f"host=127.0.0.1 port={number} user=x dbname=x password=p sslmode=disable"
        with pytest.raises(CannotConnect) as refused:
            upstream.connect(Upstream.parse(given), {})
        thread.join()
    assert refused.value.error is None


def test_a_client_that_hangs_up_at_the_server_s_last_word_did_not_end_the_session() -> None:
    """A driver may close its socket before the server has closed its own."""
    greeting = message("R", b"\0\0\0\0") + message("K", b"\0\0\0\x07\0\0\0\x08")
    last_word = messages.error("FATAL", "57P01", "terminating")
    with socket.create_server(("127.0.0.1", 0)) as port:

        def end_slowly() -> None:
            peer, _ = port.accept()
            with peer:
                peer.recv(4096)
                peer.sendall(greeting + message("Z", b"I") + last_word)
                assert peer.recv(4096) == b""

        thread = threading.Thread(target=end_slowly)
        thread.start()
        number = port.getsockname()[1]
        given = f"host=127.0.0.1 port={number} user=x dbname=x password=p sslmode=disable"
        with Scene(given) as scene:
            raw = scene.raw_ready()
            assert raw.until("E") == "E"
            raw.close()
            scene.until(lambda: scene.of(HungUp))
            thread.join()
            (broken,) = scene.of(Broken)
            kinds = [type(event) for event in scene.events]
    assert kinds.index(Broken) < kinds.index(HungUp)
    assert broken.error is not None
    assert (broken.by, broken.error.sqlstate) == ("server", "57P01")


@pytest.mark.parametrize("protocol", [0x30000, 0x30002])
def test_the_server_negotiates_the_protocol(server: Server, protocol: int) -> None:
    """PostgreSQL 18 speaks 3.2, in which the key to cancel with is longer."""
    with Scene(server.dsn()) as scene:
        raw = scene.raw()
        raw.log_in(protocol)
        scene.until(lambda: scene.of(Opened) and len(raw.data) > 200)
        key = bytes(raw.data).index(b"K\0\0\0")
        length = bytes(raw.data)[key + 4]
        assert (length > 12) == (protocol == 0x30002 and server.version[0] >= 18)
        raw.until("Z")
        raw.send(query("SELECT 1"))
        assert raw.until("Z") == "TDCZ"


def test_an_older_server_says_that_it_speaks_less(server: Server) -> None:
    with Scene(server.dsn()) as scene:
        raw = scene.raw()
        raw.log_in(0x30063)
        greeting = raw.until("Z")
        assert greeting.startswith("v")
        assert scene.of(Answered) == []


def test_options_of_the_dsn_hold_and_the_client_s_come_behind(server: Server) -> None:
    given = make_conninfo(server.dsn(), options="-c lock_timeout=111 -c statement_timeout=222")
    session = upstream.connect(Upstream.parse(given), {"options": "-c lock_timeout=333"})
    with session.sock as sock:
        sock.sendall(query("SELECT 1 / (current_setting('lock_timeout') = '333ms')::int"))
        sock.sendall(query("SELECT 1 / (current_setting('statement_timeout') = '222ms')::int"))
        data = b""
        while data.count(b"Z\0\0\0\x05") < 2:
            data += sock.recv(4096)
    assert data.count(b"SELECT 1\0") == 2


def test_hosts_are_tried_in_order(server: Server, unused_port: int) -> None:
    found = conninfo_to_dict(server.dsn(tcp=True))
    given = make_conninfo(
        server.dsn(tcp=True), host="127.0.0.1,127.0.0.1", port=f"{unused_port},{found['port']}"
    )
    upstream.connect(Upstream.parse(given), {}).sock.close()


def test_what_the_dsn_lacks_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPASSWORD", "from outside")
    monkeypatch.setenv("PGPORT", "1234")
    parsed = Upstream.parse("postgresql://somebody@somewhere/")
    assert parsed.password == "from outside"
    assert parsed.places == (("somewhere", 1234),)
    assert (parsed.user, parsed.dbname) == ("somebody", "somebody")
    assert "outside" not in repr(parsed)


def test_names_with_signs_in_them_reach_the_url(server: Server) -> None:
    with Scene(server.dsn()) as scene:
        scene.gate._upstream = evolve(scene.gate._upstream, user="a b@c", dbname="d/e?f")
        parsed = conninfo_to_dict(scene.gate.admit("alice"))
        assert (parsed["user"], parsed["dbname"]) == ("a b@c", "d/e?f")


@pytest.mark.parametrize("role", ["scram", "over the socket"])
def test_as_a_url_it_is_read_by_other_drivers(guarded: Server, role: str) -> None:
    given = guarded.dsn() if role not in ROLES else dsn(guarded, user=role, password=PASSWORD)
    url = Upstream.parse(make_conninfo(given, options="-c work_mem=123kB")).url

    async def ask() -> str:
        connection = await asyncpg.connect(url)
        try:
            return str(await connection.fetchval("SHOW work_mem"))
        finally:
            await connection.close()

    assert asyncio.run(ask()) == "123kB"
    with psycopg.connect(url) as connection:
        assert connection.execute("SHOW work_mem").fetchone() == ("123kB",)


def test_a_url_has_room_for_several_hosts_and_odd_addresses() -> None:
    given = Upstream((("::1", 5432), ("db.example", 5433)), "a@b", "c/d", None, "prefer")
    assert given.url == "postgresql://a%40b@[::1]:5432,db.example:5433/c%2Fd?sslmode=prefer"
    assert Upstream.parse(given.url) == given
