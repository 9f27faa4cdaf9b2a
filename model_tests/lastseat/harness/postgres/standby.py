"""A standby of an embedded server, and what becomes of it when the primary is gone.

It keeps its data in a folder of its own and listens only there, until it takes over the primary's
address: clients that reach the primary by TCP reach the standby then, as behind a virtual address.
"""

import atexit
import time
from typing import LiteralString

import psycopg

from lastseat.harness.postgres import cluster, folder, process
from lastseat.harness.postgres.cluster import HOST, SUPERUSER
from lastseat.harness.postgres.server import Server, ServerError, beside

COPY_SECONDS = 120.0
CATCH_UP_SECONDS = 60.0
PACE_SECONDS = 0.01


def add_standby(primary: Server) -> Server:
    """Copy a running server; returns when the copy streams from it and answers reads.

    Raises ServerError, also where there is no pg_basebackup.
    """
    place = primary.place
    binaries, who = place.binaries, place.identity
    program = binaries.bin / "pg_basebackup"
    if not program.exists():
        raise ServerError(f"{binaries} has no pg_basebackup")
    copy = folder.create(who.owner)
    standby = beside(primary, copy)
    atexit.register(standby.close)
    try:
        with copy.append(folder.LOG) as log:
            code = process.run(
                [
                    program,
                    f"--pgdata={copy.data}",
                    f"--host={primary.socket_directory}",
                    f"--port={primary.port}",
                    f"--username={SUPERUSER}",
                    "--wal-method=stream",
                    "--checkpoint=fast",
                    "--no-sync",
                ],
                identity=who.how,
                log=log,
                seconds=COPY_SECONDS,
                inherit=[copy.lock_fd],
            )
        if code != 0:
            raise standby.error(f"pg_basebackup failed (exit code {code})")
        _become_standby(standby, primary)
        standby.start_again()
        await_streaming(primary)
    except BaseException:
        standby.close()
        raise
    return standby


def take_over(standby: Server) -> None:
    """Let it listen at the primary's address, still as a standby; the primary must be gone.

    What it has received and not written is lost, as what it has not received.
    """
    standby.crash()
    cluster.configure(standby.place.folder, {"listen_addresses": HOST})
    standby.start_again()


def promote(standby: Server) -> None:
    """Let it take writes; returns when it does. It has what it has, and waits for nobody."""
    wait_for_standby(standby, wait=False)  # the primary's setting was copied with its data
    with psycopg.connect(standby.dsn(), autocommit=True) as connection:
        row = connection.execute("SELECT pg_promote(true, 60)").fetchone()
    if row != (True,):
        raise standby.error("it was not promoted")


def wait_for_standby(primary: Server, *, wait: bool = True) -> None:
    """From now on every commit waits until a standby has it, or none does."""
    with psycopg.connect(primary.dsn(), autocommit=True) as connection:
        names = "'*'" if wait else "''"
        connection.execute(f"ALTER SYSTEM SET synchronous_standby_names = {names}")
        connection.execute("SELECT pg_reload_conf()")
    if wait:
        await_streaming(primary, "AND sync_state IN ('sync', 'quorum')")


def await_streaming(primary: Server, condition: LiteralString = "") -> None:
    """Return when a standby has all that the primary has written; raises ServerError."""
    end = time.monotonic() + CATCH_UP_SECONDS
    with psycopg.connect(primary.dsn(), autocommit=True) as connection:
        written = connection.execute("SELECT pg_current_wal_flush_lsn()").fetchone()
        while not connection.execute(
            "SELECT FROM pg_stat_replication"
            " WHERE state = 'streaming' AND replay_lsn >= %s::pg_lsn " + condition,
            written,
        ).fetchall():
            if time.monotonic() > end:
                raise primary.error("no standby has caught up with it")
            time.sleep(PACE_SECONDS)


def receivers(standby: Server) -> list[int]:
    """The process ids of what receives the primary's log."""
    with psycopg.connect(standby.dsn(), autocommit=True) as connection:
        rows = connection.execute("SELECT pid FROM pg_stat_wal_receiver").fetchall()
    return [pid for (pid,) in rows if pid]


def _become_standby(standby: Server, primary: Server) -> None:
    standby.place.folder.append("data/standby.signal").close()
    upstream = f"host={primary.socket_directory} port={primary.port} user={SUPERUSER}"
    own = {
        "unix_socket_directories": str(standby.socket_directory),
        "listen_addresses": "",
        "primary_conninfo": upstream,
        "hot_standby": "on",
        # How soon a lost stream is sought again.
        "wal_retrieve_retry_interval": "100ms",
    }
    cluster.configure(standby.place.folder, own)
