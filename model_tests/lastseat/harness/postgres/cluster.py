"""The data directory of a new server: created by initdb, with our settings and rules."""

import os
from collections.abc import Mapping
from pathlib import Path

from lastseat.harness.postgres import process
from lastseat.harness.postgres.binaries import Binaries
from lastseat.harness.postgres.folder import LOG, RunFolder
from lastseat.harness.postgres.identity import Identity

SUPERUSER = "postgres"
HOST = "127.0.0.1"
INITDB_SECONDS = 120.0

SETTINGS: Mapping[str, str] = {
    # Survives every crash of the server, since the kernel keeps what was written; only a crash
    # of the machine would lose it, and then the run is lost anyway. Commits get much cheaper.
    "fsync": "off",
    # Stated because it matters: with `off` a crash of the server may lose confirmed commits.
    "synchronous_commit": "on",
    # Real deadlocks show at once. Roles may not set it, so that it must be here.
    "deadlock_timeout": "10ms",
    # Its workers take locks, show up among the waiting, and come when they like. Databases here
    # live for minutes; whoever runs for longer can turn it on.
    "autovacuum": "off",
    "jit": "off",
    # A worker for each core, and each with four clients, of which some pool their connections.
    "max_connections": str(100 + 20 * (os.cpu_count() or 1)),
    # Off by default, and then nobody could be seen to leave one behind.
    "max_prepared_transactions": "10",
    "shared_buffers": "32MB",
    # Keeps segments in the data folder instead of /dev/shm, where a killed server leaves them.
    "dynamic_shared_memory_type": "mmap",
    "listen_addresses": HOST,
    "logging_collector": "off",
    # With the SQLSTATE: what the server has told its clients can be read off its log.
    "log_line_prefix": "%m [%p] %e %q%u@%d ",
    "log_timezone": "UTC",
    "timezone": "UTC",
}
"""What every server runs with, unless told otherwise; no time-out of the server is set."""

HBA = """\
# The socket lies in a folder that only its owner can enter. Everybody on this machine can
# reach the port, so that it asks for the password.
local all,replication all trust
host all all 127.0.0.1/32 scram-sha-256
"""


class InitialiseError(Exception):
    """initdb failed; the log has its words."""


def initialise(
    binaries: Binaries,
    who: Identity,
    folder: RunFolder,
    *,
    port: int,
    settings: Mapping[str, str],
) -> None:
    """Create the data directory; raises InitialiseError, and ValueError for `settings`.

    Always by initdb: it takes half a second, and a copy of a prepared directory, which would
    have to be kept somewhere, guarded and renewed, took between a fifth and a half.
    """
    own = {"port": str(port), "unix_socket_directories": str(folder.path)}
    if clash := own.keys() & settings.keys():
        raise ValueError(f"not for the caller to set: {', '.join(sorted(clash))}")
    _initdb(binaries, who, folder)
    with folder.append("data/pg_hba.conf", truncated=True) as file:
        file.write(HBA.encode())
    configure(folder, {**SETTINGS, **settings, **own})


def configure(folder: RunFolder, settings: Mapping[str, str]) -> None:
    """Write settings behind those that are there; a server reads them when it starts."""
    with folder.append("data/postgresql.conf") as file:
        for name, value in settings.items():
            quoted = value.replace("\\", "\\\\").replace("'", "''")
            file.write(f"{name} = '{quoted}'\n".encode())


def _initdb(binaries: Binaries, who: Identity, folder: RunFolder) -> None:
    command: list[str | Path] = [
        binaries.bin / "initdb",
        f"--pgdata={folder.data}",
        f"--username={SUPERUSER}",
        "--auth=trust",  # replaced before the server ever runs
        "--encoding=UTF8",
        "--no-locale",
        "--no-sync",
        "--no-instructions",
    ]
    with folder.append(LOG) as log:
        try:
            code = process.run(
                command,
                identity=who.how,
                log=log,
                seconds=INITDB_SECONDS,
                inherit=[folder.lock_fd],
            )
        except TimeoutError as error:
            raise InitialiseError(str(error)) from None
    if code != 0:
        raise InitialiseError(f"initdb failed (exit code {code}, as {who.words})")
