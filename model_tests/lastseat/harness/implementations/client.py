"""One client: a process (or, as an opt-in, a thread) that runs attempts one after another."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any, Protocol

from attrs import frozen

from lastseat.harness.implementations import host, protocol
from lastseat.harness.implementations.protocol import AdapterError
from lastseat.harness.loop import Loop

_PR_SET_PDEATHSIG = 1
_LAST_LINES = 15
_libc = ctypes.CDLL(None, use_errno=True)


@frozen
class Implementation:
    """What is to be verified: the command of an adapter, or a Python factory."""

    name: str
    command: tuple[str, ...]
    factory: str | None = None

    @classmethod
    def python(cls, factory: str, name: str | None = None) -> Implementation:
        """A factory ``package.module:name``, hosted in a child process per client."""
        command = (sys.executable, "-m", host.__name__, factory)
        return cls(name or factory, command, factory)


class Transport(Protocol):
    """A way to a client: requests in, reply lines out."""

    def fileno(self) -> int: ...
    def write(self, data: bytes) -> None: ...
    def read(self) -> bytes: ...
    def ended(self) -> str | None:
        """How it ended, with its last words; None while it lives."""

    def kill(self) -> None: ...


class Process:
    """A child process; it dies with us."""

    def __init__(self, command: Sequence[str], log: Path) -> None:
        self._log = log
        with log.open("wb") as errors:
            self._child = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                # Ctrl-C is ours to handle: the clients end when their input does.
                process_group=0,
                preexec_fn=_die_with_parent,  # noqa: PLW1509 - nothing but one system call
            )
        assert self._child.stdout is not None
        _unblock(self._child.stdout)

    def fileno(self) -> int:
        assert self._child.stdout is not None
        return self._child.stdout.fileno()

    def write(self, data: bytes) -> None:
        assert self._child.stdin is not None
        try:
            self._child.stdin.write(data)
            self._child.stdin.flush()
        except BrokenPipeError as error:
            raise AdapterError(self.ended() or "its standard input is closed") from error

    def read(self) -> bytes:
        return os.read(self.fileno(), 65536)

    def ended(self) -> str | None:
        code = self._child.poll()
        if code is None:
            return None
        lines = self._log.read_text(errors="replace").splitlines()[-_LAST_LINES:]
        said = "\n    ".join(["its last words:", *lines]) if lines else "it said nothing"
        return f"the adapter's process ended with code {code}; {said}"

    def kill(self) -> None:
        if self._child.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._child.pid, signal.SIGKILL)
        for pipe in (self._child.stdin, self._child.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
        self._child.wait()


class Thread:
    """The factory in a thread of this process: faster to start, and hides less of what it shares.

    An opt-in: what goes wrong between processes cannot go wrong here.
    """

    def __init__(self, factory: str) -> None:
        self._ours, theirs = socket.socketpair()
        self._file = theirs.makefile("rwb")
        theirs.close()
        self._thread = threading.Thread(
            target=host.serve, args=(factory, self._file, self._file), daemon=True
        )
        self._thread.start()
        self._ours.setblocking(False)

    def fileno(self) -> int:
        return self._ours.fileno()

    def write(self, data: bytes) -> None:
        self._ours.sendall(data)

    def read(self) -> bytes:
        return self._ours.recv(65536)

    def ended(self) -> str | None:
        return None if self._thread.is_alive() else "the implementation's thread ended"

    def kill(self) -> None:
        self._ours.close()
        self._thread.join(timeout=5)
        if not self._thread.is_alive():
            self._file.close()


class Client:
    """Sends one request at a time, and keeps the reply once the loop has read it."""

    def __init__(self, name: str, loop: Loop, make: Callable[[], Transport]) -> None:
        self.name = name
        self.reply: dict[str, Any] | None = None
        self._loop = loop
        self._transport = make()
        self._buffer = bytearray()
        self._seq = 0
        loop.watch(self._transport, self._ready)

    def send(self, cmd: str, **fields: Any) -> None:
        """Send a request; ``reply`` will hold its reply. Raises AdapterError."""
        self._seq += 1
        self.reply = None
        self._transport.write(protocol.encode(self._seq, cmd, **fields))

    def call(self, cmd: str, within: float = 30.0, **fields: Any) -> Any:
        """Send a request and wait for its result, ``within`` seconds. Raises AdapterError."""
        self.send(cmd, **fields)
        end = time.monotonic() + within
        while self.reply is None:
            if time.monotonic() > end:
                raise AdapterError(f"{self.name}: no reply to {cmd} within {within:g} s")
            self._loop.poll(0.05)
        return self.reply.get("result")

    def close(self) -> None:
        """Ask it to stop, and see to it that it does."""
        with contextlib.suppress(AdapterError):
            self.call("stop", within=2.0)
        self.kill()

    def kill(self) -> None:
        """End it at once."""
        self._loop.forget(self._transport)
        self._transport.kill()

    def _ready(self) -> None:
        data = self._transport.read()
        if not data:
            raise AdapterError(f"{self.name}: {self._last_words()}")
        self._buffer += data
        line, newline, rest = bytes(self._buffer).partition(b"\n")
        if newline:
            self._buffer[:] = rest
            self.reply = protocol.decode(line, self._seq)

    def _last_words(self) -> str:
        end = time.monotonic() + 2.0
        while (words := self._transport.ended()) is None and time.monotonic() < end:
            os.sched_yield()
        return words or "the adapter closed its standard output"


def start(implementation: Implementation, name: str, loop: Loop, log: Path) -> Client:
    """Start a client of its own process."""
    return Client(name, loop, lambda: Process(implementation.command, log))


def start_in_process(implementation: Implementation, name: str, loop: Loop) -> Client:
    """Start a client in a thread of this process; raises AdapterError if it is no factory."""
    if implementation.factory is None:
        raise AdapterError(f"{implementation.name} is a command and cannot run in process")
    factory = implementation.factory
    return Client(name, loop, lambda: Thread(factory))


def _die_with_parent() -> None:
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _unblock(pipe: IO[bytes]) -> None:
    flags = fcntl.fcntl(pipe, fcntl.F_GETFL)
    fcntl.fcntl(pipe, fcntl.F_SETFL, flags | os.O_NONBLOCK)
