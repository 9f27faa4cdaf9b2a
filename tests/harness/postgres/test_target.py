"""A target is a database of our own, and everything else stays as it was."""

from collections.abc import Iterator
from contextlib import closing, contextmanager

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from lastseat.harness.postgres import Server, Target, TargetError, open_target
from lastseat.harness.postgres import target as targets


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
            for dsn in (by_superuser.dsn, by_superuser.for_clients(by_superuser.dsn)):
                assert rows(dsn, "SHOW deadlock_timeout") == [("10ms",)]
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


RIGHTS = (
    "SELECT rolsuper, rolcreatedb, rolcreaterole, rolreplication, rolbypassrls,"
    " rolname = (SELECT datdba::regrole::text FROM pg_database WHERE datname = current_database())"
    " FROM pg_roles WHERE rolname = current_user"
)
ONLY_OWNER = (False, False, False, False, False, True)


def roles(server: Server) -> set[object]:
    return {name for (name,) in rows(server.dsn(), "SELECT rolname FROM pg_roles")}


@pytest.mark.parametrize("tcp", [True, False])
def test_clients_enter_as_the_owner_of_their_database_only(target: Target, tcp: bool) -> None:
    where = target.for_clients(target.dsn, tcp=tcp)
    assert (conninfo_to_dict(where)["host"] == "127.0.0.1") == tcp
    assert rows(where, "SELECT current_database()") == [(name_of(target.dsn),)]
    assert rows(where, RIGHTS) == [ONLY_OWNER]
    # In its database it may do what an owner may.
    rows(where, "SELECT 1", before="CREATE EXTENSION btree_gist; CREATE TABLE t (n int)")
    with psycopg.connect(where, autocommit=True) as connection:
        connection.execute("CREATE SCHEMA s; SET lock_timeout = 7; SELECT pg_advisory_lock(1)")
        connection.execute("DO $$ BEGIN RAISE NOTICE 'x'; END $$")
        connection.execute("BEGIN; INSERT INTO t VALUES (1); PREPARE TRANSACTION 'p'")
        connection.execute("COMMIT PREPARED 'p'")


@pytest.mark.parametrize(
    "attack",
    [
        "COPY (SELECT 1) TO PROGRAM 'true'",
        "COPY (SELECT 1) TO '/tmp/lastseat-was-here'",
        "SELECT pg_read_file('/etc/passwd')",
        "ALTER SYSTEM SET fsync = on",
        "CREATE ROLE another",
        "ALTER ROLE postgres PASSWORD 'mine'",
        "CREATE DATABASE another",
        "SET ROLE postgres",
        "SET SESSION AUTHORIZATION postgres",
        "SET session_replication_role = replica",
        "DROP DATABASE {other}",
        "GRANT postgres TO CURRENT_USER",
        "CREATE FUNCTION f() RETURNS int LANGUAGE c AS 'libc', 'abs'",
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'postgres'",
    ],
)
def test_clients_cannot_do_more_than_that(target: Target, server: Server, attack: str) -> None:
    other = target.new_database()
    where = target.for_clients(target.dsn)
    with (
        psycopg.connect(target.dsn),  # of ours, to be ended by the last of them
        psycopg.connect(where, autocommit=True) as connection,
        pytest.raises(psycopg.Error) as refused,
    ):
        connection.execute(attack.format(other=name_of(other)))
    assert refused.value.sqlstate == "42501"


def test_clients_cannot_enter_another_database(target: Target) -> None:
    other = target.new_database()
    where = make_conninfo(target.for_clients(target.dsn), dbname=str(name_of(other)))
    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        psycopg.connect(where)


def test_owners_come_and_go_with_their_databases(server: Server) -> None:
    before = roles(server)
    with open_target(server=server) as opened:
        other = opened.new_database()
        assert roles(server) == before | {name_of(opened.dsn), name_of(other)}
    assert roles(server) == before


@pytest.mark.parametrize(
    "options", ["SUPERUSER", "CREATEDB CREATEROLE", "CREATEDB CREATEROLE NOINHERIT"]
)
def test_on_the_user_s_server_too_clients_are_owners_of_their_own(
    server: Server, options: str
) -> None:
    before = roles(server), databases(server)
    with role(server, "keen", options) as dsn:
        with open_target(dsn) as opened:
            if "NOINHERIT" in options and server.version[0] < 16:
                assert "clients enter as keen (it may not create roles)" in opened.describe()
                return
            assert "clients enter" not in opened.describe()
            where = opened.for_clients(opened.dsn)
            assert rows(where, RIGHTS) == [ONLY_OWNER]
            # We see, end and roll back what is theirs.
            rows(where, "SELECT 1", before="CREATE TABLE t AS SELECT 7 AS n")
            rows(where, "SELECT 1", before="BEGIN; LOCK t; PREPARE TRANSACTION 'p'")
            rows(opened.dsn, "SELECT 1", before="ROLLBACK PREPARED 'p'")
            assert rows(opened.dsn, "SELECT n FROM t") == [(7,)]
        assert (roles(server) - {"keen"}, databases(server)) == before


def test_who_may_not_create_roles_is_what_clients_enter_as_and_told_so(server: Server) -> None:
    with role(server, "modest", "CREATEDB") as dsn, open_target(dsn) as opened:
        assert "clients enter as modest (it may not create roles)" in opened.describe()
        assert rows(opened.for_clients(opened.dsn), "SELECT current_user") == [("modest",)]


def test_where_a_new_role_may_not_get_in_it_is_told_so_and_done_without(server: Server) -> None:
    before = roles(server), databases(server)
    hba = server.data_directory / "pg_hba.conf"
    rules = hba.read_text()
    with role(server, "alone", "CREATEDB CREATEROLE") as dsn:
        hba.write_text(f"host all alone 127.0.0.1/32 scram-sha-256\n{_but_tcp(rules)}")
        _reload(server)
        try:
            with open_target(dsn) as opened:
                assert "clients enter as alone (a role made for them may not" in opened.describe()
                assert rows(opened.for_clients(opened.dsn), "SELECT current_user") == [("alone",)]
                assert roles(server) == before[0] | {"alone"}
        finally:
            hba.write_text(rules)
            _reload(server)
    assert (roles(server), databases(server)) == before


def _but_tcp(rules: str) -> str:
    return "\n".join(line for line in rules.splitlines() if not line.startswith("host"))


def _reload(server: Server) -> None:
    """Returns when a new session is met by the rules as they are now."""
    with psycopg.connect(server.dsn(), autocommit=True) as connection:
        (before,) = connection.execute("SELECT pg_conf_load_time()").fetchone()
        connection.execute("SELECT pg_reload_conf()")
    while rows(server.dsn(), "SELECT pg_conf_load_time()") == [(before,)]:
        pass


def test_the_server_s_log_has_no_password(server: Server) -> None:
    with psycopg.connect(server.dsn(), autocommit=True) as connection:
        connection.execute("ALTER SYSTEM SET log_statement = 'all'")
        _reload(server)
        try:
            with open_target(server=server) as opened:
                password = str(conninfo_to_dict(opened.for_clients(opened.dsn))["password"])
                name = str(name_of(opened.dsn))
        finally:
            connection.execute("ALTER SYSTEM RESET log_statement")
            _reload(server)
    said = server.log.read_text()
    assert f'CREATE ROLE "{name}"' in said
    assert password not in said


@pytest.mark.parametrize(("seconds", "again"), [(10.1, False), (15.0, True)])
def test_a_time_out_counts_if_the_time_was_the_server_s(
    server: Server, monkeypatch: pytest.MonkeyPatch, seconds: float, again: bool
) -> None:
    """Where this process was stopped in between, ten seconds have not been waited for."""
    connect, waits = psycopg.connect, [seconds]
    now = [0.0]

    def connecting(*args, **more):
        if waits:
            now[0] += waits.pop()
            raise psycopg.errors.ConnectionTimeout("connection timeout expired")
        return connect(*args, **more)

    with open_target(server=server) as target:
        monkeypatch.setattr(psycopg, "connect", connecting)
        monkeypatch.setattr(targets.time, "clock_gettime", lambda _: now[0])
        if again:
            assert name_of(target.new_database()) in databases(server)
        else:
            with pytest.raises(TargetError, match="time"):
                target.new_database()
        monkeypatch.undo()


def test_what_a_killed_worker_leaves_on_the_users_server_goes_with_the_target(
    server: Server,
) -> None:
    def ours() -> set[str]:
        with psycopg.connect(server.dsn()) as connection:
            found = connection.execute(
                "SELECT datname FROM pg_database WHERE datname LIKE 'lastseat%'"
                " UNION SELECT rolname FROM pg_roles WHERE rolname LIKE 'lastseat%'"
            )
            return {name for (name,) in found}

    before = ours()
    with open_target(server.dsn(tcp=True)) as mine, open_target(server.dsn(tcp=True)) as another:
        worker = open_target(mine.for_others())
        theirs = open_target(another.for_others())
        worker.new_database()
        made = ours()
        # Both workers are killed: nothing of them is closed.
        with psycopg.connect(worker.for_clients(worker.dsn)):
            mine.close()
        gone = made - ours()
        assert set(worker._names) < gone
        assert not set(theirs._names) & gone, "another run's"
    assert ours() == before
