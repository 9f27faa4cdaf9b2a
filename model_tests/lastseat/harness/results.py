"""Folders of results: each is written to by one run at a time, and can be written to at all."""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from lastseat.harness.mistakes import Mistake

HERE = Path(".lastseat")
"""Where results go that the user has named no folder for."""

_held: list[int] = []
_PROBE = bytes(65536)


class NoFolder(Mistake):
    """Results cannot be written where they should go."""


def folder(kind: str, named: Path | None) -> Path:
    """The folder that the user has named, or a new one called after the kind of run and the moment.

    It is this process's until ``release``. Raises NoFolder where it cannot be written to, or where
    another run writes to it.
    """
    try:
        path = _new(kind) if named is None else _existing(named)
        with tempfile.TemporaryFile(dir=path) as probe:
            probe.write(_PROBE)
        _hold(path)
    except OSError as error:
        place = HERE if named is None else named
        raise NoFolder(
            f"results cannot be written to {place}: {error.strerror or error};"
            " --out names another folder"
        ) from error
    return path


def release() -> None:
    """Let other runs write to the folders that this process has been given."""
    while _held:
        os.close(_held.pop())


def _new(kind: str) -> Path:
    first = HERE / f"{kind}-{time.strftime('%Y%m%d-%H%M%S')}"
    for path in itertools.chain([first], _others(first)):
        with contextlib.suppress(FileExistsError):
            path.mkdir(parents=True)
            return path
    raise AssertionError("there is always another number")


def _others(first: Path) -> Iterator[Path]:
    """Names for runs that began in the same second."""
    return (first.with_name(f"{first.name}-{number}") for number in itertools.count(2))


def _existing(named: Path) -> Path:
    named.mkdir(parents=True, exist_ok=True)
    return named


def _hold(path: Path) -> None:
    """Lock the folder itself, as long as this process lives; not all file systems can."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        raise NoFolder(f"another run is writing to {path}; --out names another folder") from None
    except OSError:
        os.close(fd)
    else:
        _held.append(fd)
