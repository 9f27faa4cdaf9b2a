"""The server that the user names: on the command line, or in the environment.

Every user of the machine can read the command lines of all processes. The environment of a process
can be read by its own user only, and so can files such as those of PGPASSFILE and PGSERVICEFILE.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

VARIABLE = "LASTSEAT_DSN"

_ARG_START, _ARG_END = 48, 49  # fields of /proc/PID/stat, counted from 1; see proc(5)
_NAME = 2  # the field behind which they are cut: a command's name may hold spaces


def from_environment() -> str | None:
    """The dsn that the environment names, if it does."""
    return os.environ.get(VARIABLE) or None


def forget_environment() -> None:
    """From now on children inherit no dsn."""
    os.environ.pop(VARIABLE, None)


class DsnAction(argparse.Action):
    """Takes a dsn from the command line, and takes it off there if it holds a password."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,  # noqa: ARG002 - as argparse calls it
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        setattr(namespace, self.dest, values)
        dsn = str(values)
        if holds_password(dsn):
            conceal(dsn)
            print(
                f"lastseat: the password in {option_string} could be read by every user of this"
                f" machine; put the dsn into {VARIABLE}, or the password into the file that"
                " PGPASSFILE names",
                file=sys.stderr,
            )


def holds_password(dsn: str) -> bool:
    """Whether a connection string names a password; one that cannot be read names none."""
    import psycopg
    from psycopg.conninfo import conninfo_to_dict

    with contextlib.suppress(psycopg.Error, UnicodeError):
        return bool(conninfo_to_dict(dsn).get("password"))
    return False


def conceal(word: str) -> None:
    """Overwrite this word of our own command line, as others see it; does nothing where the kernel
    does not tell where it is."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        start, end = (int(fields[number - _NAME - 1]) for number in (_ARG_START, _ARG_END))
        if not 0 < start < end:
            return
        secret, line = os.fsencode(word), ctypes.string_at(start, end - start)
        at = line.find(secret)
        while at >= 0:
            ctypes.memset(start + at, ord("*"), len(secret))
            at = line.find(secret, at + len(secret))
