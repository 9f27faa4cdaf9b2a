"""The folder in which one server keeps everything: data, socket, log, and a lock.

The lock says whether anybody still lives there. Its file descriptor is inherited by the keeper
and by every process of the server, so that it is free only when all of them are gone, whoever
was killed in whatever order. Each start removes the folders whose lock is free.
"""

import contextlib
import ctypes
import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from attrs import frozen

PREFIX = "lastseat-pg-"
LOCK = "lock"
SHARED = Path("/tmp")

SOCKET_PATH_BYTES = 107
"""The longest path of a Unix socket on Linux."""

SEGMENTS = Path("/proc/sysvipc/shm")
IPC_RMID = 0


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
        return self.path / "server.log"

    def remove(self) -> None:
        """Delete the folder and give the lock back."""
        try:
            _delete(self.path)
        finally:
            os.close(self.lock_fd)


def create(owner: tuple[int, int] | None = None) -> RunFolder:
    """A new folder with its lock held, for `owner` (user and group) if it is to be another's.

    Raises OSError if there is no place for it.
    """
    # The usual place may be root's own; everybody can reach /tmp.
    base = _base() if owner is None else SHARED
    while True:
        path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=base))
        lock_fd = _lock(path)
        # A sweep elsewhere may have taken it for deserted before the lock was held.
        if lock_fd is not None:
            if owner is not None:
                os.chown(path, *owner)
            return RunFolder(path, lock_fd)


def sweep() -> list[Path]:
    """Remove what killed servers have left, whose lock is free; what was removed.

    Only folders of this user; root also removes those of the users that it ran servers as.
    """
    removed = []
    for path in _left():
        lock_fd = _lock(path)
        if lock_fd is None:
            continue
        try:
            _delete(path)
            removed.append(path)
        finally:
            os.close(lock_fd)
    return removed


def _base() -> Path:
    """Where folders are made: the usual place, or /tmp when sockets there had too long paths."""
    usual = Path(tempfile.gettempdir())
    longest = usual / (PREFIX + "x" * 8) / ".s.PGSQL.65535.lock"
    return usual if len(os.fsencode(longest)) <= SOCKET_PATH_BYTES else SHARED


def _left() -> Iterator[Path]:
    me = os.geteuid()
    for path in (path for base in {_base(), SHARED} for path in base.glob(PREFIX + "*")):
        with contextlib.suppress(FileNotFoundError):
            info = path.lstat()
            if stat.S_ISDIR(info.st_mode) and me in (0, info.st_uid):
                yield path


def _lock(folder: Path) -> int | None:
    """The descriptor of the folder's lock, held; None if another holds it or the folder went.

    A sweep makes the lock where there is none, just as a creator does: whoever comes first has
    the folder, and a creator who comes second takes another one.
    """
    flags = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CREAT
    try:
        fd = os.open(folder / LOCK, flags, 0o600)
    except OSError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(fd), (folder / LOCK).lstat()):
            return fd
    except OSError:
        pass
    os.close(fd)
    return None


def _delete(folder: Path) -> None:
    _remove_shared_memory(folder / "data" / "postmaster.pid")
    # The lock goes last: an interrupted removal leaves a folder that the next sweep finds.
    for entry in os.scandir(folder):
        if entry.name == LOCK:
            continue
        if entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry.path, ignore_errors=True)
        else:
            Path(entry.path).unlink(missing_ok=True)
    if [entry.name for entry in folder.iterdir()] == [LOCK]:
        (folder / LOCK).unlink()
        with contextlib.suppress(OSError):  # a sweep elsewhere has come into it or removed it
            folder.rmdir()


def _remove_shared_memory(pid_file: Path) -> None:
    """Remove the System V segment that a killed postmaster cannot remove any more.

    It is a few bytes, but it outlives every process, and a machine has room for 4096. The
    postmaster's file names it; since numbers are used again, it must also have the right key
    and creator, and nobody attached.
    """
    try:
        lines = pid_file.read_text().splitlines()
        pid = lines[0].strip().removeprefix("-")  # the sign marks the server that initdb runs
        key, number = lines[6].split()
        table = SEGMENTS.read_text().splitlines()
    except (OSError, IndexError, ValueError):
        return
    for line in table[1:]:
        # key shmid perms size cpid lpid nattch ...
        fields = line.split()
        if fields[:2] == [str(_signed(int(key))), number] and fields[4] == pid and fields[6] == "0":
            _remove_segment(int(number))


def _remove_segment(number: int) -> None:
    ctypes.CDLL(None).shmctl(number, IPC_RMID, None)


def _signed(key: int) -> int:
    """The key as the kernel prints it: 32 bits with a sign."""
    key &= 0xFFFFFFFF
    return key - (1 << 32) if key & 0x80000000 else key
