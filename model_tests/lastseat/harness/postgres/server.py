"""One embedded server: started, crashed, stopped, started again, and removed in the end."""

import atexit
import os
import secrets
import signal
import socket
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import psycopg
from attrs import define, evolve, field, frozen
from psycopg import sql
from psycopg.conninfo import make_conninfo

from lastseat.harness import interrupts
from lastseat.harness.mistakes import Mistake
from lastseat.harness.postgres import binaries as places
from lastseat.harness.postgres import cluster, folder, identity, process
from lastseat.harness.postgres.binaries import Binaries
from lastseat.harness.postgres.cluster import HOST, SUPERUSER
from lastseat.harness.postgres.folder import RunFolder
from lastseat.harness.postgres.identity import Identity

READY_SECONDS = 60.0
STOP_SECONDS = 60.0
READY_PACE_SECONDS = 0.005
CONNECT_SECONDS = 10
SMALL_DISK = "small-disk"


class ServerError(Mistake):
    """An embedded server did not do what it was told; holds the end of its log."""


@frozen
class _Place:
    """What stays the same for a server over all its lives."""

    binaries: Binaries
    identity: Identity
    folder: RunFolder
    port: int
    reservation: socket.socket
    password: str
    room: str = ""
    """What the server sees and nobody else: see `keeper.enter_room`."""


@define(eq=False)
class Server:
    """An embedded PostgreSQL that ends with this process, and whose data ends with it too."""

    _place: _Place
    _process: process.Kept | None = field(default=None, init=False)
    _closed: bool = field(default=False, init=False)
    _owner: int = field(factory=os.getpid, init=False)

    @property
    def place(self) -> _Place:
        """Where it is and as whom it runs, for who sets up another beside it."""
        return self._place

    @property
    def port(self) -> int:
        """The TCP port on 127.0.0.1; the same over all restarts, and never another's."""
        return self._place.port

    @property
    def socket_directory(self) -> Path:
        """The folder of the Unix socket, which only the server's owner can enter."""
        return self._place.folder.path

    @property
    def data_directory(self) -> Path:
        """The server's own data directory."""
        return self._place.folder.data

    @property
    def version(self) -> tuple[int, int]:
        """Major and minor version."""
        return self._place.binaries.version

    @property
    def binaries(self) -> Binaries:
        """The programs that it runs from."""
        return self._place.binaries

    @property
    def pid(self) -> int:
        """The postmaster's process id. Raises ServerError if the server does not run."""
        if self._process is None or not self._process.running():
            raise ServerError("the server is not running")
        return self._process.pid

    @property
    def log(self) -> Path:
        """What the server and initdb have said."""
        return self._place.folder.log

    @property
    def small_disk(self) -> Path:
        """The folder of the small disk, where the server has one."""
        return self._place.folder.path / SMALL_DISK

    def processes(self) -> list[int]:
        """The postmaster's process id and those of all its processes."""
        return [self.pid, *_children(self.pid)]

    def running(self) -> bool:
        """Whether the server, or any process that is left of it, is there."""
        return self._process is not None and self._process.running()

    def dsn(self, dbname: str = "postgres", *, tcp: bool = False) -> str:
        """A connection string for the superuser, as libpq understands it.

        By default over the Unix socket, which is faster and asks for no password; `tcp` takes
        127.0.0.1, with the password in the string.
        """
        # The last two save round trips, and keep the environment's preferences out.
        common: dict[str, str | int] = {
            "port": self.port,
            "user": SUPERUSER,
            "dbname": dbname,
            "sslmode": "disable",
            "gssencmode": "disable",
        }
        if tcp:
            common |= {"host": HOST, "password": self._place.password}
        else:
            common["host"] = str(self.socket_directory)
        return make_conninfo("", **common)

    def crash(self) -> None:
        """Kill the postmaster with SIGKILL; returns when all its processes have ended.

        Nothing is flushed or said to clients. Raises ServerError if the server does not run.
        """
        self._end(signal.SIGKILL)

    def ask_to_stop(self) -> None:
        """Begin a smart shutdown: whoever is in may stay, nobody new is let in.

        Returns at once; `stop` or the last client's leaving ends it.
        """
        if self._process is None:
            raise ServerError("the server is not running")
        self._process.send(signal.SIGTERM)

    def stop(self, mode: Literal["fast", "immediate"] = "fast") -> None:
        """Shut down; returns when all processes have ended.

        `fast` rolls open transactions back and writes a checkpoint, `immediate` leaves the data
        as after a crash. Raises ServerError if the server does not run or does not end.
        """
        self._end(signal.SIGINT if mode == "fast" else signal.SIGQUIT)

    def start_again(self) -> None:
        """Start after a stop or crash, with the same data, port and password.

        Returns when the server takes connections, that is, after its recovery. Raises
        ServerError.
        """
        if self._closed:
            raise ServerError("the server was closed, and its data with it")
        if self.running():
            raise ServerError("the server is running already")
        self._collect()
        self._launch()

    def restart(self, mode: Literal["fast", "immediate"] = "fast") -> None:
        """`stop`, then `start_again`."""
        self.stop(mode)
        self.start_again()

    def kill_process(self, pid: int) -> None:
        """Kill one of the server's processes, such as a backend, with SIGKILL.

        Returns when the postmaster has noticed; it then ends all the others and recovers, for
        which `await_ready` waits. Raises ServerError if the process is not the server's.
        """
        if _parent(pid) != self.pid:
            raise ServerError(f"process {pid} is not one of this server")
        os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + STOP_SECONDS
        # It stays as a zombie until the postmaster asks for it.
        while _parent(pid) == self.pid:
            if time.monotonic() > deadline:
                raise self.error(f"process {pid} did not end within {STOP_SECONDS:g} s")
            time.sleep(READY_PACE_SECONDS)

    def await_ready(self) -> None:
        """Return when the server takes connections, as after `kill_process`.

        Of a process that somebody else killed the postmaster may not know yet, so that the
        server may still be about to recover. Raises ServerError if the server has ended, or is
        not ready after READY_SECONDS.
        """
        if self._process is None:
            raise ServerError("the server is not running")
        deadline = time.monotonic() + READY_SECONDS
        while not (self._says_ready() and self._answers()):
            # Waits for the end, so that a server that gives up is noticed at once.
            code = self._process.wait(READY_PACE_SECONDS)
            if code is not None:
                raise self.error(f"the server has ended (exit code {code})")
            if time.monotonic() > deadline:
                raise self.error(f"the server was not ready after {READY_SECONDS:g} s")

    def log_tail(self, lines: int = 30) -> str:
        """The last lines of the server's log."""
        try:
            with self._place.folder.log.open("rb") as log:
                log.seek(max(0, log.seek(0, os.SEEK_END) - 300 * lines))
                text = log.read().decode(errors="replace")
        except OSError:
            return ""
        return "\n".join(text.splitlines()[-lines:])

    def close(self) -> None:
        """End the server at once and delete its data. May be called again."""
        with interrupts.later():
            if self._closed or os.getpid() != self._owner:
                return
            self._closed = True
            atexit.unregister(self.close)
            self._collect()
            self._place.reservation.close()
            self._place.folder.remove()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _launch(self) -> None:
        """Start the postmaster and wait until it takes connections."""
        place = self._place
        with place.folder.append(folder.LOG) as log:
            self._process = process.spawn(
                [place.binaries.bin / "postgres", "-D", place.folder.data],
                identity=place.identity.how,
                log=log,
                inherit=[place.folder.lock_fd],
                room=place.room,
            )
        try:
            self.await_ready()
        except BaseException:
            self._collect()
            raise

    def _says_ready(self) -> bool:
        """Whether the postmaster's own file says that it takes connections."""
        assert self._process is not None
        try:
            lines = folder.read_pid_file(self.data_directory)
        except OSError:
            return False
        # The file of a killed predecessor stays until it is overwritten.
        return len(lines) > 7 and lines[0] == str(self._process.pid) and lines[7].strip() == "ready"

    def _answers(self) -> bool:
        """Whether a connection works; raises ServerError if another server is behind it."""
        try:
            with psycopg.connect(
                self.dsn(), autocommit=True, connect_timeout=CONNECT_SECONDS
            ) as connection:
                row = connection.execute("SHOW data_directory").fetchone()
        except psycopg.OperationalError:
            return False
        if row is None or Path(row[0]) != self.data_directory:
            raise self.error(f"port {self.port} belongs to another server, with data in {row}")
        return True

    def _end(self, number: signal.Signals) -> None:
        if self._process is None or not self._process.running():
            raise ServerError("the server is not running")
        self._process.send(number)
        if self._process.wait(STOP_SECONDS) is None:
            raise self.error(f"the server did not end within {STOP_SECONDS:g} s")
        self._collect()

    def _collect(self) -> None:
        if self._process is not None:
            self._process.close()
            self._process = None

    def error(self, what: str) -> ServerError:
        """An error about this server, with the end of its log."""
        return ServerError(f"{what}\n{self.binaries}; the end of its log:\n{self.log_tail()}")


def start(
    *,
    binaries: Binaries | None = None,
    settings: Mapping[str, str] | None = None,
    small_disk: int = 0,
    own_network: bool = False,
) -> Server:
    """Start a new server on a free port, with data of its own; returns when it can be used.

    `settings` are added to `cluster.SETTINGS` or replace them, as in postgresql.conf; the port
    and the folder are not the caller's to set (ValueError). A `small_disk` of so many bytes
    beside the data, or a network of its own, of which the Unix socket knows nothing, needs
    namespaces. Removes what killed servers have left. Close it, or use it as a context manager;
    at the latest it ends with this process, however that ends. Raises NoPostgres, NoIdentity,
    ServerError.
    """
    if sys.platform != "linux":
        raise ServerError("An embedded server needs Linux; name a running server with --dsn.")
    binaries = binaries or places.find()
    who = identity.choose(binaries.bin)
    folder.sweep()
    password = secrets.token_urlsafe(16)
    reservation = _reserve_port()
    try:
        run_folder = folder.create(who.owner)
    except BaseException:
        reservation.close()
        raise
    port = reservation.getsockname()[1]
    room = "net" if own_network else ""
    if small_disk:
        (run_folder.path / SMALL_DISK).mkdir()
        room = f"disk:{small_disk}:{run_folder.path / SMALL_DISK}"
    server = Server(_Place(binaries, who, run_folder, port, reservation, password, room))
    atexit.register(server.close)
    try:
        try:
            cluster.initialise(binaries, who, run_folder, port=port, settings=settings or {})
        except cluster.InitialiseError as error:
            raise server.error(str(error)) from None
        server.start_again()
        with psycopg.connect(server.dsn(), autocommit=True) as connection:
            connection.execute(
                sql.SQL("ALTER ROLE {} PASSWORD {}").format(
                    sql.Identifier(SUPERUSER), sql.Literal(password)
                )
            )
    except BaseException:
        server.close()
        raise
    return server


def beside(server: Server, run_folder: RunFolder) -> Server:
    """A server for the same port with a folder of its own, in which there is nothing yet."""
    reservation = server.place.reservation.dup()
    return Server(evolve(server.place, folder=run_folder, reservation=reservation, room=""))


def _parent(pid: int) -> int | None:
    """The parent of a process, None if there is no such process."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The second field, the name in parentheses, may itself hold spaces and parentheses.
    return int(stat.rpartition(")")[2].split()[1])


def _children(parent: int) -> list[int]:
    """The processes that another one has started, and that have not ended."""
    found = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    return [pid for pid in found if _parent(pid) == parent]


def _reserve_port() -> socket.socket:
    """A socket bound to a free port, which keeps the port ours while the server is down.

    It does not listen, so that connections are refused then; and since both it and PostgreSQL
    set SO_REUSEADDR, the server can bind and listen beside it.
    """
    reservation = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        reservation.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reservation.bind((HOST, 0))
    except BaseException:
        reservation.close()
        raise
    return reservation
