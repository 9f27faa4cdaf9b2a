"""A target is a database of our own, and everything else stays as it was."""

from collections.abc import Iterator
from contextlib import closing, contextmanager

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from lastseat.harness.postgres import Server, Target, TargetError, open_target


def rows(dsn: str, query: str, *, before: str = "") -> list[tuple[object, ...]]:
    """What a query returns on a new connection, on which `before` was executed first."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(before)
        return connection.execute(query).fetchall()


def databases(server: Server) -> set[object]:
    return {row[0] for row in rows(server.dsn(), "SELECT datname FROM pg_database")}


def name_of(dsn: str) -> object:
    return conninfo_to_dict(dsn)["dbname"]


@contextmanager
def role(server: Server, name: str, options: str) -> Iterator[str]:
    """A login role with a password; its connection string over TCP."""
    with psycopg.connect(server.dsn(), autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'secret' {options}")
        try:
            yield make_conninfo(server.dsn(tcp=True), user=name, password="secret")
        finally:
            connection.execute(f"DROP ROLE {name}")


def test_its_databases_come_and_go(server: Server) -> None:
    before = databases(server)
    with open_target(server=server) as opened:
        other = opened.new_database()
        names = {name_of(opened.dsn), name_of(other)}
        assert len(names) == 2
        assert all(str(name).startswith("lastseat_") for name in names)
        assert databases(server) == before | names
    assert databases(server) == before
    assert server.running()


def test_it_is_dropped_although_somebody_is_connected(server: Server) -> None:
    before = databases(server)
    with open_target(server=server) as opened:
        left_open = psycopg.connect(opened.dsn)
    with closing(left_open), pytest.raises(psycopg.OperationalError):
        left_open.execute("SELECT 1")
    assert databases(server) == before


def test_it_is_empty_and_compares_bytes(server: Server) -> None:
    with psycopg.connect(server.dsn("template1"), autocommit=True) as connection:
        connection.execute("CREATE TABLE of_the_users_template ()")
    try:
        with open_target(server=server) as opened:
            (found,) = rows(
                opened.dsn,
                "SELECT count(*), current_setting('server_encoding'), 'a' < 'B' COLLATE \"default\""
                " FROM pg_class WHERE relname = 'of_the_users_template'",
            )
        assert found == (0, "UTF8", False)
    finally:
        with psycopg.connect(server.dsn("template1"), autocommit=True) as connection:
            connection.execute("DROP TABLE of_the_users_template")


def test_without_anything_given_it_brings_its_own_server() -> None:
    with open_target(settings={"work_mem": "7MB"}) as opened:
        own = opened.server
        assert own is not None
        assert rows(opened.dsn, "SHOW work_mem") == [("7MB",)]
        own.crash()  # to close a target whose server is down is no error
    assert not own.socket_directory.exists()


def test_its_own_server_ends_when_the_database_cannot_be_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(self: Target) -> str:
        assert self.server is not None
        seen.append(self.server)
        raise TargetError("no")

    seen: list[Server] = []
    monkeypatch.setattr(Target, "new_database", fail)
    with pytest.raises(TargetError, match="no"):
        open_target()
    assert not seen[0].running()
    assert not seen[0].socket_directory.exists()


def test_the_users_server_is_not_ours_to_end(server: Server) -> None:
    before = databases(server)
    with open_target(server.dsn(tcp=True)) as opened:
        assert opened.server is None
        assert rows(opened.dsn, "SELECT current_database()") == [(name_of(opened.dsn),)]
    assert databases(server) == before


def test_deadlock_timeout_is_ours_where_that_is_allowed_and_told_where_not(
    server: Server,
) -> None:
    # The server of a user, for whom ours stands in, has what it has.
    with server_wide_deadlock_timeout(server, "3s"):
        with open_target(server.dsn(tcp=True)) as by_superuser:
            assert rows(by_superuser.dsn, "SHOW deadlock_timeout") == [("10ms",)]
            assert "deadlock_timeout" not in by_superuser.describe()
        with role(server, "maker", "CREATEDB") as dsn, open_target(dsn) as opened:
            assert opened.deadlock_timeout == "3s"
            assert "deadlock_timeout 3s (not ours to set)" in opened.describe()


@contextmanager
def server_wide_deadlock_timeout(server: Server, value: str) -> Iterator[None]:
    (before,) = rows(server.dsn(), "SHOW deadlock_timeout")

    def change(statement: str, expected: object) -> None:
        rows(server.dsn(), "SELECT pg_reload_conf()", before=statement)
        while rows(server.dsn(), "SHOW deadlock_timeout") != [(expected,)]:
            pass  # the postmaster reads its configuration when it gets round to it

    change(f"ALTER SYSTEM SET deadlock_timeout = '{value}'", value)
    try:
        yield
    finally:
        change("ALTER SYSTEM RESET deadlock_timeout", before[0])


def test_its_description_is_one_line_without_secrets(server: Server) -> None:
    with role(server, "quiet", "CREATEDB") as dsn, open_target(dsn) as opened:
        described = opened.describe()
        assert "\n" not in described
        assert "secret" not in described
        for part in (f"PostgreSQL {server.version[0]}.", "--dsn", name_of(opened.dsn)):
            assert str(part) in described


def test_who_may_not_create_databases_is_told_so(server: Server) -> None:
    before = databases(server)
    with (
        role(server, "poor", "NOCREATEDB") as dsn,
        pytest.raises(TargetError, match=r"poor may not create databases(.|\n)*CREATEDB"),
    ):
        open_target(dsn)
    assert databases(server) == before


def test_who_cannot_terminate_its_own_sessions_is_told_so_and_nothing_stays(
    server: Server,
) -> None:
    before = databases(server)
    with (
        role(server, "tied", "CREATEDB") as dsn,
        templates_without_the_right_to_terminate(server),
        pytest.raises(TargetError, match="permission denied for function pg_terminate_backend"),
    ):
        open_target(dsn)
    assert databases(server) == before


@contextmanager
def templates_without_the_right_to_terminate(server: Server) -> Iterator[None]:
    """New databases, made from template0, in which only superusers may end sessions."""
    function = "FUNCTION pg_terminate_backend(integer, bigint)"

    def execute(*statements: str, dbname: str = "postgres") -> None:
        with psycopg.connect(server.dsn(dbname), autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)

    execute("ALTER DATABASE template0 ALLOW_CONNECTIONS true")
    try:
        execute(f"REVOKE EXECUTE ON {function} FROM PUBLIC", dbname="template0")
        yield
    finally:
        execute(f"GRANT EXECUTE ON {function} TO PUBLIC", dbname="template0")
        execute("ALTER DATABASE template0 ALLOW_CONNECTIONS false")


@pytest.mark.parametrize(
    "dsn",
    ["host=127.0.0.1 port=1", "host=/nowhere", "nonsense", "postgresql://[::", "host=x.invalid"],
)
def test_a_dsn_that_leads_nowhere(dsn: str) -> None:
    with pytest.raises(TargetError, match="cannot connect with the given dsn"):
        open_target(dsn)


@pytest.mark.parametrize("major", [14, 19])
def test_other_versions_are_refused(
    server: Server, monkeypatch: pytest.MonkeyPatch, major: int
) -> None:
    told = property(lambda _: major * 10000 + 1)
    monkeypatch.setattr(psycopg.ConnectionInfo, "server_version", told)
    with pytest.raises(TargetError, match=f"is PostgreSQL {major}; lastseat needs 15 to 18"):
        open_target(server.dsn())


def test_a_pooler_is_refused(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psycopg.ConnectionInfo, "backend_pid", property(lambda _: 1))
    with pytest.raises(TargetError, match="pooler"):
        open_target(server.dsn())


def test_a_drop_that_fails_is_told(server: Server) -> None:
    with role(server, "stuck", "CREATEDB") as dsn:
        opened = open_target(dsn)
        with somebody_elses(server, opened), pytest.raises(TargetError, match="Drop by hand"):
            opened.close()


def test_a_drop_that_fails_does_not_hide_what_went_wrong_first(server: Server) -> None:
    with role(server, "stuck", "CREATEDB") as dsn:
        opened = open_target(dsn)
        first = KeyError("first")
        with somebody_elses(server, opened):
            opened.__exit__(KeyError, first, None)
    assert ["Drop by hand" in note for note in first.__notes__] == [True]


@contextmanager
def somebody_elses(server: Server, opened: Target) -> Iterator[None]:
    """Give the target's database to another, so that the target cannot drop it."""
    name = name_of(opened.dsn)
    with psycopg.connect(server.dsn(), autocommit=True) as connection:
        connection.execute(f'ALTER DATABASE "{name}" OWNER TO postgres')
        yield
        connection.execute(f'DROP DATABASE "{name}"')


def test_over_tcp_it_is_the_same_database(target: Target) -> None:
    where = target.over_tcp(target.dsn)
    assert conninfo_to_dict(where)["host"] == "127.0.0.1"
    assert rows(where, "SELECT current_database()") == [(name_of(target.dsn),)]


def test_on_the_user_s_server_it_is_reached_as_the_user_said(server: Server) -> None:
    with open_target(server.dsn()) as opened:
        assert opened.over_tcp(opened.dsn) == opened.dsn
