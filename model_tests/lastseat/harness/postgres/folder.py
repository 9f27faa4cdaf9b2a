"""The folder in which one server keeps everything: data, socket, log, and a lock.

The lock says whether the server still lives. Its file descriptor is inherited by the keeper and by
every process of the server, so that it is free only when all of them are gone, whatever was killed
in whatever order. Each start removes the folders whose lock is free.

It says, too, whose the folder is. Temporary folders are shared with other users, who can make
folders of any name there, and swap what is theirs for links and pipes at any moment. So a folder is
ours only if its lock is a file that we own; it is reached from there by descriptors alone, without
following links; and nothing is opened that could make us wait.
"""

import contextlib
import ctypes
import errno
import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from attrs import frozen

from lastseat.harness.mistakes import Mistake

PREFIX = "lastseat-pg-"
LOCK = "lock"
LOG = "server.log"
SHARED = Path("/tmp")

SOCKET_PATH_BYTES = 107
"""The longest path of a Unix socket on Linux."""

SEGMENTS = Path("/proc/sysvipc/shm")
IPC_RMID = 0

DEEPEST = 16
"""How many folders can lie in each other; a server's data needs four."""

NEEDED = 100_000_000
"""Bytes that a server takes before anything is done with it, and about as many to work with."""

_PID_FILE_BYTES = 4096
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_NONBLOCK
_FILE = os.O_NOFOLLOW | os.O_NONBLOCK


class NoRoom(Mistake):
    """There is no place for a server's folder."""


@frozen
class RunFolder:
    """A folder that is ours alone while its lock is held."""

    path: Path
    lock_fd: int

    @property
    def data(self) -> Path:
        """The server's data directory."""
        return self.path / "data"

    @property
    def log(self) -> Path:
        """Where initdb and the server write to, one after the other."""
        return self.path / LOG

    def append(self, name: str, *, truncated: bool = False) -> BinaryIO:
        """A file in the folder, such as data/postgresql.conf, to be written to at its end.

        The folder may be that of a user that must not write what we may: no link leads elsewhere.
        Raises OSError.
        """
        *inner, last = name.split("/")
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | (os.O_TRUNC if truncated else 0)
        with contextlib.ExitStack() as stack:
            at = stack.enter_context(_opened(self.path.parent))
            for part in (self.path.name, *inner):
                at = stack.enter_context(_opened(part, at))
            return os.fdopen(os.open(last, flags | _FILE, 0o600, dir_fd=at), "ab")

    def remove(self) -> None:
        """Delete the folder and give the lock back. What cannot be deleted, a sweep finds."""
        try:
            with contextlib.suppress(OSError), _opened(self.path.parent) as base:
                _delete_ours(base, self.path.name, self.lock_fd)
        finally:
            os.close(self.lock_fd)


def create(owner: tuple[int, int] | None = None) -> RunFolder:
    """A new folder with its lock held, for `owner` (user and group) if it is to be another's.

    Raises NoRoom if there is no place for it.
    """
    # The usual place may be root's own; everybody can reach /tmp.
    base = _base()
    if owner is not None and not _open_to_all(base):
        base = SHARED
    try:
        free = shutil.disk_usage(base).free
        if free < NEEDED:
            raise OSError(errno.ENOSPC, f"{free / 1e6:.0f} MB are free")
        return _created(base, owner)
    except OSError as error:
        elsewhere = "TMPDIR names another folder, " if owner is None else ""
        raise NoRoom(
            f"a server of our own needs {NEEDED / 1e6:.0f} MB in {base}: {error.strerror or error};"
            f" {elsewhere}--dsn names a server that runs"
        ) from error


def _created(base: Path, owner: tuple[int, int] | None) -> RunFolder:
    while True:
        path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=base))
        # A sweep elsewhere may take it for deserted before the lock is held.
        with contextlib.suppress(FileNotFoundError), _opened(path) as folder:
            lock_fd = _lock(folder)
            if lock_fd is not None:
                if owner is not None:
                    os.chown(folder, *owner)
                return RunFolder(path, lock_fd)


def sweep() -> list[Path]:
    """Remove what killed servers have left, whose lock is free and ours; what was removed.

    The folders of servers that root ran as other users are root's by their lock.
    """
    removed = []
    for base in {_base(), SHARED}:
        with contextlib.suppress(OSError), _opened(base) as fd:
            removed += [base / name for name in _names(fd) if _swept(fd, name)]
    return removed


def read_pid_file(data: Path) -> list[str]:
    """The lines of the postmaster's own file in a data directory; raises OSError."""
    with _opened(data) as fd:
        return _pid_file(fd)


def _swept(base: int, name: str) -> bool:
    """Remove the folder of that name if it is a deserted one of ours; whether it was."""
    if not name.startswith(PREFIX):
        return False
    with contextlib.suppress(OSError), _opened(name, base) as folder:
        lock_fd = _lock(folder)
        if lock_fd is not None:
            try:
                return _delete_ours(base, name, lock_fd)
            finally:
                os.close(lock_fd)
    return False


def _base() -> Path:
    """Where folders are made: the usual place, or /tmp when sockets there had too long paths."""
    usual = Path(tempfile.gettempdir())
    longest = usual / (PREFIX + "x" * 8) / ".s.PGSQL.65535.lock"
    return usual if len(os.fsencode(longest)) <= SOCKET_PATH_BYTES else SHARED


def _open_to_all(base: Path) -> bool:
    return all(folder.stat().st_mode & stat.S_IXOTH for folder in (base, *base.parents))


@contextlib.contextmanager
def _opened(path: str | Path, base: int | None = None) -> Iterator[int]:
    """A descriptor of the folder, which may be a link only where no ``base`` is given."""
    flags = _FOLDER if base is not None else _FOLDER & ~os.O_NOFOLLOW
    fd = os.open(path, flags, dir_fd=base)
    try:
        yield fd
    finally:
        os.close(fd)


def _names(folder: int) -> list[str]:
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries)


def _lock(folder: int) -> int | None:
    """The descriptor of the folder's lock, held; None if another holds it or it is not ours.

    In a folder of ours that is empty a sweep makes the lock, just as a creator does: whichever
    comes first has the folder, and a creator that comes second takes another one.
    """
    fresh = os.fstat(folder).st_uid == os.geteuid() and not _names(folder)
    flags = os.O_RDWR | _FILE | (os.O_CREAT if fresh else 0)
    try:
        fd = os.open(LOCK, flags, 0o600, dir_fd=folder)
    except OSError:
        return None
    try:
        if _is_ours(os.fstat(fd)):
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _same(fd, folder):
                return fd
    except OSError:
        pass
    os.close(fd)
    return None


def _is_ours(lock: os.stat_result) -> bool:
    """Whether we made it: nobody else can make a file that we own, but a second name of one."""
    return stat.S_ISREG(lock.st_mode) and lock.st_uid == os.geteuid() and lock.st_nlink == 1


def _same(lock_fd: int, folder: int) -> bool:
    there = os.stat(LOCK, dir_fd=folder, follow_symlinks=False)
    return os.path.samestat(os.fstat(lock_fd), there)


def _delete_ours(base: int, name: str, lock_fd: int) -> bool:
    """Delete the folder that this lock, which is held, is in; whether all of it is gone."""
    with _opened(name, base) as folder:
        if not _same(lock_fd, folder):
            return False
        with contextlib.suppress(OSError), _opened("data", folder) as data:
            _remove_shared_memory(data)
        # The lock goes last: an interrupted removal leaves a folder that the next sweep finds.
        _empty(folder, os.fstat(folder).st_dev, keep=LOCK)
        if _names(folder) != [LOCK]:
            return False
        os.unlink(LOCK, dir_fd=folder)
        with contextlib.suppress(OSError):  # a sweep elsewhere has come into it or removed it
            os.rmdir(name, dir_fd=base)
        return True


def _empty(folder: int, device: int, keep: str = "", depth: int = 0) -> None:
    """Remove what is in the folder, as far as that can be; what is mounted there stays.

    What is there can be swapped for something else at any moment: a link is removed as such, and a
    folder is entered only by its descriptor.
    """
    for name in _names(folder):
        if name == keep:
            continue
        with contextlib.suppress(OSError):
            try:
                os.unlink(name, dir_fd=folder)
            except (IsADirectoryError, PermissionError):
                with _opened(name, folder) as inner:
                    if depth < DEEPEST and os.fstat(inner).st_dev == device:
                        _empty(inner, device, depth=depth + 1)
                os.rmdir(name, dir_fd=folder)


def _pid_file(data: int) -> list[str]:
    fd = os.open("postmaster.pid", os.O_RDONLY | _FILE, dir_fd=data)
    with os.fdopen(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return []
        return file.read(_PID_FILE_BYTES).decode(errors="replace").splitlines()


def _remove_shared_memory(data: int) -> None:
    """Remove the System V segment that a killed postmaster cannot remove any more.

    It is a few bytes, but it outlives every process, and a machine has room for 4096. The
    postmaster's file names it; since numbers are used again, it must also have the right key,
    creator and owner, and no process attached.
    """
    try:
        lines = _pid_file(data)
        pid = lines[0].strip().removeprefix("-")  # the sign marks the server that initdb runs
        key, number = map(int, lines[6].split())
        owner = str(os.fstat(data).st_uid)
        table = SEGMENTS.read_text().splitlines()
    except (OSError, IndexError, ValueError):
        return
    for line in table[1:]:
        # key shmid perms size cpid lpid nattch uid ...
        fields = line.split()
        found = fields[0], fields[1], fields[4], fields[6], fields[7]
        if found == (str(_signed(key)), str(number), pid, "0", owner):
            _remove_segment(number)


def _remove_segment(number: int) -> None:
    ctypes.CDLL(None).shmctl(number, IPC_RMID, None)


def _signed(key: int) -> int:
    """The key as the kernel prints it: 32 bits with a sign."""
    key &= 0xFFFFFFFF
    return key - (1 << 32) if key & 0x80000000 else key
