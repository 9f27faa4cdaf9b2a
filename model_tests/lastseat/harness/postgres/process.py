"""Our side of a keeper: a command that runs as a given identity and never outlives us."""

import contextlib
import os
import select
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from attrs import define

from lastseat.harness.postgres import keeper

KEEPER = Path(keeper.__file__)


@define
class Kept:
    """A command under a keeper; the keeper's end is the end of all the command's processes."""

    pid: int
    """Of the command itself, not of its keeper; it may have ended."""
    _keeper: "subprocess.Popen[bytes]"

    def running(self) -> bool:
        """Whether any process of the command may still be there."""
        return self._keeper.poll() is None

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the command, by its keeper, so that it never meets a recycled pid."""
        assert self._keeper.stdin is not None
        # A broken pipe: it has ended, and a signal could have brought about no more.
        with contextlib.suppress(BrokenPipeError):
            os.write(self._keeper.stdin.fileno(), bytes([number]))

    def wait(self, seconds: float) -> int | None:
        """Wait for the end of all processes; the command's exit code, or None if still there.

        A command that was killed by a signal has 128 plus the signal's number.
        """
        # Popen.wait with a time-out sleeps in steps; the pipe's end tells at once.
        assert self._keeper.stdout is not None
        if not select.select([self._keeper.stdout], [], [], seconds)[0]:
            return None
        return self._keeper.wait()

    def close(self) -> None:
        """End everything at once and collect the keeper. May be called again."""
        assert self._keeper.stdin is not None
        assert self._keeper.stdout is not None
        self._keeper.stdin.close()
        self._keeper.wait()
        self._keeper.stdout.close()


def spawn(
    command: Sequence[str | Path],
    *,
    identity: str,
    log: BinaryIO,
    inherit: Sequence[int] = (),
    room: str = "",
) -> Kept:
    """Start a command under a keeper, in a session of its own.

    In a session of its own the terminal's Ctrl-C does not reach it: its owner decides.
    Standard output and error go to `log`. `inherit` are file descriptors that all its
    processes keep open. `room` is what they alone see: see `keeper.enter_room`.
    """
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", KEEPER, str(os.getpid()), identity, room, *command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log,
        bufsize=0,
        cwd="/",
        env=_environment(),
        pass_fds=tuple(inherit),
        start_new_session=True,
    )
    assert process.stdout is not None
    try:
        first = process.stdout.readline()
    except BaseException:
        Kept(0, process).close()
        raise
    return Kept(int(first) if first else 0, process)


def _environment() -> dict[str, str]:
    """What the programs get to see: nothing that changes what they do, such as PGDATA."""
    kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}
    return {**kept, "LC_ALL": "C", "TZ": "UTC"}


def run(
    command: Sequence[str | Path],
    *,
    identity: str,
    log: BinaryIO,
    seconds: float,
    inherit: Sequence[int] = (),
    room: str = "",
) -> int:
    """Run a command to its end; its exit code. Raises TimeoutError."""
    kept = spawn(command, identity=identity, log=log, inherit=inherit, room=room)
    try:
        code = kept.wait(seconds)
    finally:
        kept.close()
    if code is None:
        raise TimeoutError(f"{Path(command[0]).name} did not end within {seconds:g} s")
    return code
