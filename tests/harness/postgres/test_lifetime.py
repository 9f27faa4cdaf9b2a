"""A server ends with the process that started it, however that ends, and only then."""

import contextlib
import fcntl
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from lastseat.harness.postgres import folder, start

PATIENCE_SECONDS = 30.0

PROGRAM = """
import os, signal, sys, threading, time
import psycopg
from lastseat.harness.postgres import start

def tell(server):
    print(server.socket_directory, server.pid, server.dsn(), sep="\\t", flush=True)

"""


class Owner:
    """A Python process of its own that starts a server."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        assert process.stdout is not None
        line = process.stdout.readline()
        place, pid, self.dsn = line.rstrip("\n").split("\t")
        self.folder, self.postmaster = Path(place), int(pid)

    @property
    def keeper(self) -> int:
        """The pid of the server's keeper."""
        return parent(self.postmaster)

    def kill(self) -> None:
        """End the process itself with SIGKILL, and nothing else."""
        self.process.kill()
        self.process.wait()


@contextlib.contextmanager
def owner(code: str) -> Iterator[Owner]:
    """Run a program that starts a server and tells about it; it leads a process group."""
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM + code],
        stdout=subprocess.PIPE,
        text=True,
        process_group=0,
    )
    try:
        yield Owner(process)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def parent(pid: int) -> int:
    """The pid of a process's parent."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def await_end(place: Path) -> None:
    """Return when no process is left that belongs to the server of a folder.

    All of them have inherited the folder's lock, so that it can be had only then.
    """
    with (place / folder.LOCK).open("rb+") as lock:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                assert time.monotonic() < deadline, f"still alive: {holders(place)}"
                time.sleep(0.01)
            else:
                return


def holders(place: Path) -> list[str]:
    """The names of the processes that have the lock open, this one excepted."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if int(entry.name) != os.getpid() and any(
                fd.readlink() == place / folder.LOCK for fd in (entry / "fd").iterdir()
            ):
                found.append((entry / "comm").read_text().strip())
    return sorted(found)


@contextlib.contextmanager
def busy_backend(dsn: str) -> Iterator[int]:
    """The pid of a backend that is too busy to notice the end of its client or postmaster."""
    with contextlib.closing(psycopg.connect(dsn, autocommit=True)) as connection:
        connection.pgconn.send_query(b"DO $$ BEGIN LOOP END LOOP; END $$")
        yield connection.info.backend_pid


def test_all_processes_hold_the_lock_while_the_server_runs() -> None:
    """What the other tests rely on."""
    with start() as server, psycopg.connect(server.dsn()):
        names = holders(server.socket_directory)
        assert names.count("postgres") > 3
        assert sum(name.startswith("python") for name in names) == 1, "the keeper"


def test_kill_9_of_the_owner_ends_everything_and_the_next_start_removes_the_folder() -> None:
    with owner("server = start(); tell(server); time.sleep(600)") as killed:
        with busy_backend(killed.dsn):
            killed.kill()
            await_end(killed.folder)
        assert killed.folder.exists()
        with start():
            assert not killed.folder.exists()


def test_kill_9_of_the_owner_while_a_forked_child_of_it_lives_on() -> None:
    """The child has inherited the pipe to the keeper, whose end therefore never comes."""
    code = """
server = start()
if os.fork() == 0:
    signal.pause()
tell(server)
time.sleep(600)
"""
    with owner(code) as killed:
        watched = os.pidfd_open(killed.postmaster)
        try:
            killed.kill()
            await_process(watched)
        finally:
            os.close(watched)
        # The child is a holder of the lock, and rightly: a sweep must not take its folder.
        assert holders(killed.folder) != []
        os.killpg(killed.process.pid, signal.SIGKILL)
        await_end(killed.folder)


def await_process(pidfd: int) -> None:
    """Return when a process has ended."""
    assert select.select([pidfd], [], [], PATIENCE_SECONDS)[0], "it did not end"


def test_kill_9_of_the_keeper_ends_the_server_too() -> None:
    with owner("server = start(); tell(server); signal.pause()") as orphaned:
        keeper = orphaned.keeper
        assert keeper != orphaned.process.pid
        watched = os.pidfd_open(orphaned.postmaster)
        try:
            os.kill(keeper, signal.SIGKILL)
            await_process(watched)
        finally:
            os.close(watched)


def test_kill_9_of_the_postmaster_ends_busy_backends_too() -> None:
    with start() as server, busy_backend(server.dsn()) as pid:
        backend = os.pidfd_open(pid)
        try:
            os.kill(server.pid, signal.SIGKILL)
            await_process(backend)
        finally:
            os.close(backend)


def test_ctrl_c_reaches_the_owner_and_not_the_server() -> None:
    code = """
with start() as server:
    try:
        tell(server)
        signal.pause()
    except KeyboardInterrupt:
        with psycopg.connect(server.dsn()) as connection:
            print("still there:", connection.execute("SELECT 42").fetchone()[0], flush=True)
print("closed", flush=True)
"""
    with owner(code) as interrupted:
        os.killpg(interrupted.process.pid, signal.SIGINT)
        output, _ = interrupted.process.communicate(timeout=PATIENCE_SECONDS)
        assert output == "still there: 42\nclosed\n"
        assert not interrupted.folder.exists()


def test_ctrl_c_that_nobody_catches_leaves_nothing() -> None:
    code = "server = start(); tell(server); signal.signal(2, signal.default_int_handler)\n"
    with owner(code + "sys.stderr.close(); signal.pause()") as interrupted:
        os.killpg(interrupted.process.pid, signal.SIGINT)
        assert interrupted.process.wait(PATIENCE_SECONDS) != 0
        assert not interrupted.folder.exists()


@pytest.mark.parametrize("moment", ["initdb", "postgres"])
def test_ctrl_c_in_the_middle_of_a_start_leaves_nothing(moment: str) -> None:
    code = f"""
from lastseat.harness.postgres import process, server

spawn, wait = process.spawn, process.Kept.wait
running = []

def note(command, **how):
    running.append((command[0].name, spawn(command, **how)))
    return running[-1][1]

def interrupt(kept, seconds):
    if running[-1][0] == {moment!r}:
        os.kill(os.getpid(), signal.SIGINT)
    return wait(kept, seconds)

create = server.folder.create
made = []

def create_and_watch(owner):
    # From here on: what runs before is only to find out as whom to run.
    process.spawn, process.Kept.wait = note, interrupt
    made.append(create(owner))
    return made[0]

server.folder.create = create_and_watch
try:
    start()
except KeyboardInterrupt:
    print(made[0].path, running[-1][1].pid, "interrupted", sep="\\t", flush=True)
"""
    with owner(code) as interrupted:
        assert interrupted.dsn == "interrupted"
        assert not interrupted.folder.exists()
        assert not Path(f"/proc/{interrupted.postmaster}").exists()


def test_an_owner_that_forgets_to_close_leaves_nothing() -> None:
    with owner("server = start(); tell(server)") as forgetful:
        assert forgetful.process.wait(PATIENCE_SECONDS) == 0
        assert not forgetful.folder.exists()


def test_the_end_of_the_thread_that_started_it_is_not_the_servers_end() -> None:
    code = """
made = []
thread = threading.Thread(target=lambda: made.append(start()))
thread.start()
thread.join()
tell(made[0])
signal.pause()
"""
    with owner(code) as threaded:
        for _ in range(20):
            with psycopg.connect(threaded.dsn) as connection:
                assert connection.execute("SELECT 1").fetchone() == (1,)
        assert Path(f"/proc/{threaded.postmaster}").exists()


def test_a_forked_child_that_exits_in_order_does_not_take_the_server_along() -> None:
    code = """
server = start()
child = os.fork()
if child == 0:
    server.close()
    sys.exit()
os.waitpid(child, 0)
with psycopg.connect(server.dsn()):
    tell(server)
signal.pause()
"""
    with owner(code) as parent_of_it:
        assert parent_of_it.folder.exists()


def test_a_stopped_server_can_still_be_closed() -> None:
    with start() as server:
        os.kill(server.pid, signal.SIGSTOP)
        before = time.monotonic()
        server.close()
        assert time.monotonic() - before < PATIENCE_SECONDS
    assert not server.socket_directory.exists()
