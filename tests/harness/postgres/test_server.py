"""A server does what it is told, on every version found here."""

import errno
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from lastseat.harness.postgres import Binaries, Server, ServerError, cluster, start


@pytest.fixture(scope="module")
def running_servers() -> Iterator[dict[int, Server]]:
    """Servers that tests hand on to each other, by major version: a start is most of a test."""
    running: dict[int, Server] = {}
    try:
        yield running
    finally:
        for each in running.values():
            each.close()


@pytest.fixture
def own(any_version: Binaries, running_servers: dict[int, Server]) -> Iterator[Server]:
    """A running server that the test may crash or stop."""
    major = any_version.version[0]
    if major not in running_servers:
        running_servers[major] = start(binaries=any_version)
    server = running_servers[major]
    yield server
    if not server.running():
        server.start_again()
    commit(server, "DROP TABLE IF EXISTS kept")


def ask(server: Server, query: str, *, tcp: bool = False) -> object:
    """The one value that a query returns."""
    with psycopg.connect(server.dsn(tcp=tcp), autocommit=True) as connection:
        row = connection.execute(query).fetchone()
    assert row is not None
    return row[0]


def commit(server: Server, statement: str) -> None:
    with psycopg.connect(server.dsn(), autocommit=True) as connection:
        connection.execute(statement)


def table_of_three(server: Server) -> None:
    commit(server, "CREATE TABLE kept AS SELECT * FROM generate_series(1, 3)")


def test_it_is_ours_by_socket_and_by_port(own: Server, any_version: Binaries) -> None:
    assert ask(own, "SHOW server_version_num") == (
        f"{any_version.version[0]}{any_version.version[1]:04}"
    )
    for tcp in (False, True):
        assert ask(own, "SHOW data_directory", tcp=tcp) == str(own.data_directory)
        assert ask(own, "SELECT inet_server_port()", tcp=tcp) == (own.port if tcp else None)


def test_the_port_asks_for_the_password_and_the_folder_is_closed_to_others(own: Server) -> None:
    for password in ("wrong", ""):
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(own.dsn(tcp=True), password=password)
    assert own.socket_directory.stat().st_mode & 0o077 == 0


def test_settings_are_ours_unless_told_otherwise(any_version: Binaries) -> None:
    awkward = r"it's 100% a\b"
    with start(
        binaries=any_version,
        settings={"fsync": "on", "cluster_name": awkward, "idle_session_timeout": "1h"},
    ) as running:
        assert ask(running, "SHOW fsync") == "on"
        assert ask(running, "SHOW cluster_name") == awkward
        assert ask(running, "SHOW idle_session_timeout") == "1h"
        for name in cluster.SETTINGS.keys() - {"fsync", "log_line_prefix"}:
            assert ask(running, f"SHOW {name}") == cluster.SETTINGS[name]


def test_confirmed_commits_survive_a_crash_and_open_transactions_do_not(own: Server) -> None:
    table_of_three(own)
    with psycopg.connect(own.dsn()) as lost:
        lost.execute("INSERT INTO kept VALUES (4)")
        before = own.pid
        own.crash()
        assert not own.running()
        with pytest.raises(psycopg.OperationalError):
            lost.commit()
        own.start_again()
    assert own.pid != before
    assert ask(own, "SELECT count(*) FROM kept") == 3


def test_after_a_crash_no_process_of_the_server_is_left(own: Server) -> None:
    with psycopg.connect(own.dsn(), autocommit=True) as busy:
        backend = busy.info.backend_pid
        pids = [own.pid, backend, *helpers(own.pid)]
        assert len(pids) > 3
        own.crash()
        assert [pid for pid in pids if Path(f"/proc/{pid}").exists()] == []


def helpers(postmaster: int) -> list[int]:
    """The children of a postmaster."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it ended while we looked
        if int(fields[1]) == postmaster:
            found.append(int(stat.parent.name))
    return found


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_stop_and_start_again_keep_port_password_and_data(own: Server, mode) -> None:
    table_of_three(own)
    before = own.dsn(tcp=True)
    own.stop(mode)
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(before)
    own.start_again()
    assert own.dsn(tcp=True) == before
    assert ask(own, "SELECT count(*) FROM kept", tcp=True) == 3
    lines = own.log_tail().rpartition("starting PostgreSQL")[2]
    assert ("not properly shut down" in lines) == (mode == "immediate")


def test_restart(own: Server) -> None:
    before = own.pid
    own.restart()
    assert own.pid != before
    assert ask(own, "SELECT 1") == 1


def test_while_it_is_down_its_port_refuses_and_is_nobody_elses(own: Server) -> None:
    own.crash()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", own.port))
    with socket.socket() as other, pytest.raises(OSError, match=os.strerror(errno.EADDRINUSE)):
        other.bind(("127.0.0.1", own.port))


def test_the_death_of_a_backend_ends_all_sessions_and_the_server_recovers(own: Server) -> None:
    table_of_three(own)
    with (
        psycopg.connect(own.dsn(), autocommit=True) as victim,
        psycopg.connect(own.dsn(), autocommit=True) as witness,
    ):
        postmaster = own.pid
        own.kill_process(victim.info.backend_pid)
        own.await_ready()
        for connection in (victim, witness):
            with pytest.raises(psycopg.OperationalError):
                connection.execute("SELECT 1")
    assert own.pid == postmaster
    assert ask(own, "SELECT count(*) FROM kept") == 3


def test_only_its_own_processes_can_be_killed(own: Server) -> None:
    for pid in (os.getpid(), own.pid, 2**22 + 1):
        with pytest.raises(ServerError, match="not one of this server"):
            own.kill_process(pid)


def test_what_does_not_fit_its_state_is_refused(own: Server) -> None:
    with pytest.raises(ServerError, match="running already"):
        own.start_again()
    own.stop()
    for action in (own.crash, own.stop, own.restart, own.await_ready, lambda: own.pid):
        with pytest.raises(ServerError, match="not running"):
            action()


@pytest.mark.parametrize("end", ["running", "stopped", "crashed"])
def test_nothing_is_left_when_it_is_closed(any_version: Binaries, end: str) -> None:
    running = start(binaries=any_version)
    folder = running.socket_directory
    segment = (running.data_directory / "postmaster.pid").read_text().splitlines()[6].split()[1]
    assert segment in segments()
    if end == "stopped":
        running.stop()
    elif end == "crashed":
        running.crash()
        assert segment in segments(), "a crash that cleans up after itself is none"
    running.close()
    running.close()
    with pytest.raises(ServerError, match="closed"):
        running.start_again()
    assert not folder.exists()
    assert segment not in segments()


def segments() -> set[str]:
    """The numbers of the System V shared memory segments of this machine."""
    table = Path("/proc/sysvipc/shm").read_text().splitlines()[1:]
    return {line.split()[1] for line in table}


def test_a_server_that_cannot_start_says_why_and_leaves_nothing(
    any_version: Binaries, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("lastseat.harness.postgres.folder.tempfile.gettempdir", lambda: tmp_path)
    with pytest.raises(ServerError, match="no_such_setting"):
        start(binaries=any_version, settings={"no_such_setting": "1"})
    assert list(tmp_path.iterdir()) == []


def test_port_and_folder_are_not_the_callers_to_set() -> None:
    with pytest.raises(ValueError, match="port"):
        start(settings={"port": "5432"})


def test_two_servers_side_by_side(own: Server, any_version: Binaries) -> None:
    commit(own, "CREATE TABLE kept ()")
    with start(binaries=any_version) as other:
        assert other.port != own.port
        assert ask(other, "SELECT count(*) FROM pg_class WHERE relname = 'kept'") == 0
