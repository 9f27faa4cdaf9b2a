"""The process between us and an adapter: whatever the adapter starts ends with it, and its log too.

Run as a script by ``client.Process``:

    python -I -S warden.py OWNER_PID CONTROL_FD STATUS_FD COMMAND ARG...

It starts the command, which gets this process's standard input and output as they are, and prints
two lines to STATUS_FD: the command's pid, and, once it has ended, its exit code (negative: the
signal that killed it). When CONTROL_FD is closed at the other end, or the owner has ended, it kills
the command and all that descends from it, in whatever session or group, and ends.

What the command and its descendants say on standard error goes to this process's own: the first
bytes up to a limit, and the last ones. A log of any length costs a limited room on the disk.

Standard library only, so that a client starts fast.
"""

import contextlib
import ctypes
import os
import select
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
EXIT_EXEC = 126

MOST = 8_000_000
"""Bytes of a log file, but for what ``LAST`` adds once at the end of each process."""

LAST = 32_768
"""Bytes that are kept of the end of what has no room."""

KILLING_SECONDS = 5.0
"""How long descendants are killed that start new ones meanwhile."""

_CHUNK = 65_536
_GLANCE = 0.02  # seconds; a list of children may lack one while others end
_PIPE = 1_048_576  # bytes: no pipe holds more by default

libc = ctypes.CDLL(None, use_errno=True)


class Log:
    """Standard error, up to a limit."""

    def __init__(self) -> None:
        self._room = max(0, MOST - os.fstat(2).st_size)
        self._last = b""
        self._left_out = 0

    def take(self, data: bytes) -> None:
        """Write what there is room for; keep the last of the rest."""
        _write(data[: self._room])
        rest = data[self._room :]
        self._room -= len(data) - len(rest)
        self._left_out += len(rest)
        self._last = (self._last + rest)[-LAST:]

    def settle(self) -> None:
        """Write the last of what had no room, and that something is missing."""
        missing = self._left_out - len(self._last)
        if self._left_out:
            _write(b"\n" + self._last.rstrip(b"\n"))
        if missing:
            where = f"before the last {len(self._last):,}"
            _write(f"\nlastseat: {missing:,} bytes are left out here, {where}\n".encode())
        self._last, self._left_out = b"", 0


def _write(data: bytes) -> None:
    with contextlib.suppress(OSError):  # a full disk must not hold the command up
        while data:
            data = data[os.write(2, data) :]


def launch(command: list[str], errors: int) -> int:
    """Start the command, which ends if this process is killed; its pid."""
    warden = os.getpid()
    child = os.fork()
    if child:
        return child
    try:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != warden:  # it died before the line above could take effect
            os._exit(EXIT_EXEC)
        os.setpgid(0, 0)
        os.dup2(errors, 2)
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)
        os.execvp(command[0], command)
    except OSError as error:
        os.write(2, f"{command[0]} does not start: {error}\n".encode())
    finally:
        os._exit(EXIT_EXEC)


def children() -> Iterator[int]:
    """The pids of this process's children."""
    me = str(os.getpid())
    listed = Path(f"/proc/{me}/task/{me}/children")
    if listed.exists():  # not in every kernel
        yield from map(int, listed.read_text().split())
        return
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            # The command's name, in parentheses, may itself hold spaces and parentheses.
            after_name = (entry / "stat").read_text().rpartition(")")[2]
            if after_name.split()[1] == me:
                yield int(entry.name)


class Warden:
    """Waits for the command, for what it says, and for the owner's word that it is over."""

    def __init__(self, command: list[str], status: int, wakeup: int) -> None:
        self._status = status
        self._wakeup = wakeup
        self._log = Log()
        self.errors, theirs = os.pipe()
        os.set_blocking(self.errors, False)
        self._command = launch(command, theirs)
        os.close(theirs)
        self._tell(self._command)

    def reap(self) -> bool:
        """Collect what has ended; whether a child is left."""
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return True
                if pid == self._command:
                    self.read(_PIPE)  # its last words come before the news of its end
                    self._log.settle()
                    self._tell(os.waitstatus_to_exitcode(status))
        return False

    def read(self, most: int = _CHUNK) -> bool:
        """Take what was said, up to so many bytes; whether more can come."""
        with contextlib.suppress(BlockingIOError):
            while most > 0:
                data = os.read(self.errors, _CHUNK)
                if not data:
                    return False
                self._log.take(data)
                most -= len(data)
        return True

    def end(self) -> None:
        """Kill the command and its descendants, until none is left: orphans become our children."""
        deadline = time.monotonic() + KILLING_SECONDS
        while self.reap() and time.monotonic() < deadline:
            for pid in children():
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
            if select.select([self._wakeup], [], [], _GLANCE)[0]:
                os.read(self._wakeup, _CHUNK)
        self.read(_PIPE)
        self._log.settle()

    def _tell(self, number: int) -> None:
        with contextlib.suppress(BrokenPipeError):
            os.write(self._status, f"{number}\n".encode())


def main(arguments: list[str]) -> None:
    """Watch over one command; see the module's text."""
    owner, control, status = map(int, arguments[:3])
    for fd in (control, status):
        os.set_inheritable(fd, False)
    owner_fd = None
    with contextlib.suppress(OSError):  # old kernels and sandboxes; the control pipe remains
        owner_fd = os.pidfd_open(owner)
    if os.getppid() != owner:
        return
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    wakeup, wakeup_writer = os.pipe()
    for fd in (wakeup, wakeup_writer):
        os.set_blocking(fd, False)
    signal.set_wakeup_fd(wakeup_writer, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: None)  # its end is the owner's to decide
    warden = Warden(arguments[3:], status, wakeup)
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 0)
    os.dup2(nowhere, 1)
    poll = select.poll()
    for fd in filter(None, (control, owner_fd, wakeup, warden.errors)):
        poll.register(fd, select.POLLIN)
    while True:
        ready = {fd for fd, _ in poll.poll()}
        if warden.errors in ready and not warden.read():
            poll.unregister(warden.errors)
        if wakeup in ready:
            os.read(wakeup, _CHUNK)
            warden.reap()
        if control in ready or owner_fd in ready:
            warden.end()
            return


if __name__ == "__main__":
    main(sys.argv[1:])
    # Not sys.exit: there is nothing to clean up, and the owner waits for the end.
    os._exit(0)
