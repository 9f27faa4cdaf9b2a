"""One client: a process (or, as an opt-in, a thread) that runs attempts one after another."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any, Protocol

from attrs import frozen

from lastseat.harness.implementations import host, protocol, warden
from lastseat.harness.implementations.protocol import AdapterError
from lastseat.harness.loop import Loop

_LAST_LINES = 15
_LAST_BYTES = 16_384
_LONGEST_LINE = 1_000_000
_KILL_PATIENCE = 5.0  # seconds
_WARDEN_SECONDS = 2 * warden.KILLING_SECONDS
_WARDEN = Path(warden.__file__)


@frozen
class Implementation:
    """What is to be verified: the command of an adapter, or a Python factory."""

    name: str
    command: tuple[str, ...]
    factory: str | None = None
    beside: Implementation | None = None
    """Another one on the same schema, which every second client runs instead."""
    built_in: bool = False
    """Whether it comes with lastseat, so that a file may name it."""

    def of(self, number: int) -> Implementation:
        """What the client of that number runs, counted from 0."""
        return self if self.beside is None or number % 2 == 0 else self.beside

    @classmethod
    def python(cls, factory: str) -> Implementation:
        """A user's factory ``package.module:name``, hosted in a child process per client.

        It may be imported from the working directory.
        """
        return cls(factory, (sys.executable, "-m", host.__name__, factory), factory)

    @classmethod
    def ours(cls, factory: str, name: str) -> Implementation:
        """A factory that comes with lastseat. Nothing is imported from the working directory, where
        a stranger's files may lie."""
        command = (sys.executable, "-P", "-m", host.__name__, factory)
        return cls(name, command, factory, built_in=True)


class Transport(Protocol):
    """A way to a client: requests in, reply lines out."""

    @property
    def pid(self) -> int:
        """The process that it runs in."""

    def fileno(self) -> int: ...
    def write(self, data: bytes) -> None:
        """Send a request; raises OSError if the client takes no more."""

    def read(self) -> bytes:
        """What has come; empty at the end."""

    def last_words(self, within: float) -> str | None:
        """How it ended and what it said; None if it has not ended ``within`` seconds."""

    def kill(self) -> None:
        """End it at once."""


class Process:
    """A child process under a warden; it ends with us, and all that it has started ends with it.

    What it logs goes behind what the file already holds.
    """

    def __init__(self, command: Sequence[str], log: Path) -> None:
        if shutil.which(command[0]) is None:
            raise AdapterError(
                f"the adapter {command[0]!r} does not start: there is no such program"
            )
        self._log = log
        theirs_control, self._control = os.pipe()
        self._status, theirs_status = os.pipe()
        self._told = b""
        """What the warden has told so far: a line each, the pid and the exit code."""
        with log.open("ab") as errors:
            self._logged_before = errors.tell()
            self._warden = subprocess.Popen(
                [
                    *(sys.executable, "-I", "-S", str(_WARDEN), str(os.getpid())),
                    *(str(theirs_control), str(theirs_status)),
                    *command,
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                pass_fds=(theirs_control, theirs_status),
                # Ctrl-C is ours to handle: the clients end when their input does.
                process_group=0,
            )
        os.close(theirs_control)
        os.close(theirs_status)
        assert self._warden.stdin is not None
        assert self._warden.stdout is not None
        self._requests: IO[bytes] = self._warden.stdin
        self._replies: IO[bytes] = self._warden.stdout
        os.set_blocking(self._replies.fileno(), False)
        self._killed = False

    @property
    def pid(self) -> int:
        told = self._tells(1, _WARDEN_SECONDS)
        if told is None:
            raise AdapterError("the adapter's process did not start")
        return told

    def fileno(self) -> int:
        return self._replies.fileno()

    def write(self, data: bytes) -> None:
        self._requests.write(data)
        self._requests.flush()

    def read(self) -> bytes:
        return os.read(self.fileno(), 65536)

    def last_words(self, within: float) -> str | None:
        code = self._tells(2, within)
        if code is None:
            return None
        how = f"by signal {-code}" if code < 0 else f"with code {code}"
        with self._log.open("rb") as log:
            log.seek(max(self._logged_before, self._log.stat().st_size - _LAST_BYTES))
            lines = log.read().decode("utf-8", "replace").splitlines()[-_LAST_LINES:]
        said = "\n    ".join(["its last words:", *lines]) if lines else "it said nothing"
        return f"the adapter's process ended {how}; {said}"

    def _tells(self, number: int, within: float) -> int | None:
        """What the warden tells as its first or second line; None if not ``within`` seconds."""
        end = time.monotonic() + within
        while self._told.count(b"\n") < number:
            left = max(0.0, end - time.monotonic())
            if self._killed or not select.select([self._status], [], [], left)[0]:
                return None
            data = os.read(self._status, 100)
            if not data:
                return None
            self._told += data
        return int(self._told.split(b"\n")[number - 1])

    def end_input(self) -> None:
        """Close its standard input: there will be no more requests."""
        self._requests.close()

    def kill(self) -> None:
        if self._killed:
            return
        self._killed = True
        os.close(self._control)
        with contextlib.suppress(BrokenPipeError):  # a request that it never took
            self._requests.close()
        try:
            self._warden.wait(_WARDEN_SECONDS)
        except subprocess.TimeoutExpired:
            self._warden.kill()
            self._warden.wait()
        self._replies.close()
        os.close(self._status)


class Thread:
    """The factory in a thread of this process: faster to start, and hides less of what it shares.

    An opt-in: what goes wrong between processes cannot go wrong here.
    """

    def __init__(self, factory: str) -> None:
        self._ours, self._theirs = socket.socketpair()
        self._failure = ""
        self._thread = threading.Thread(target=self._serve, args=(factory,), daemon=True)
        self._thread.start()

    def _serve(self, factory: str) -> None:
        with (
            contextlib.suppress(OSError),  # once we have closed our end, a reply finds no reader
            self._theirs,
            self._theirs.makefile("rb") as requests,
            self._theirs.makefile("wb") as replies,
        ):
            try:
                host.serve(factory, requests, replies)
            except BaseException as error:  # noqa: BLE001 - told, as a process's log would
                told = "".join(traceback.format_exception(error))
                self._failure = f"; its last words: {told}"

    @property
    def pid(self) -> int:
        return os.getpid()

    def fileno(self) -> int:
        return self._ours.fileno()

    def write(self, data: bytes) -> None:
        self._ours.sendall(data)

    def read(self) -> bytes:
        try:
            return self._ours.recv(65536)
        except ConnectionError:
            return b""

    def last_words(self, within: float) -> str | None:
        self._thread.join(within)
        if self._thread.is_alive():
            return None
        return f"the implementation's thread ended{self._failure}"

    def kill(self) -> None:
        # A thread cannot be ended from outside: the end of its input ends it, if it still reads.
        self._ours.close()
        self._thread.join(_KILL_PATIENCE)


@frozen
class Moment:
    """A moment in seconds: by the monotonic clock, which the client's deadlines follow, and by the
    loop's, which stands while nothing runs."""

    monotonic: float
    running: float

    @classmethod
    def of(cls, loop: Loop) -> Moment:
        """The present one."""
        return cls(time.monotonic(), loop.now())


class Client:
    """Sends one request at a time, and keeps the reply once the loop has read it.

    What goes wrong is kept, too, and told to whoever asks this client next: never to another
    client's caller, who happens to run the loop.
    """

    def __init__(self, name: str, loop: Loop, make: Callable[[], Transport]) -> None:
        self.name = name
        self._loop = loop
        self._transport = make()
        self._buffer = bytearray()
        self._seq = 0
        self._asked = ""
        self._reply: dict[str, Any] | None = None
        self._failure: AdapterError | None = None
        self._watched = True
        self.read_at = Moment.of(loop)
        """When the last reply was read: whoever runs the loop may look at it much later."""
        self.patience = 30.0
        """How many seconds a reply is waited for, where nothing else is said."""
        loop.watch(self._transport, self._ready)

    @property
    def pid(self) -> int:
        """The process that it runs in."""
        return self._transport.pid

    @property
    def reply(self) -> dict[str, Any] | None:
        """The reply to the last request; None until it has come. Raises AdapterError."""
        if self._failure is not None:
            raise self._failure
        return self._reply

    @property
    def failed(self) -> bool:
        """Is there nothing more to be had from it?"""
        return self._failure is not None

    def send(self, cmd: str, **fields: Any) -> None:
        """Send a request; ``reply`` will hold its reply. Raises AdapterError."""
        if self._failure is not None:
            raise self._failure
        self._seq += 1
        self._asked, self._reply = cmd, None
        try:
            self._transport.write(protocol.encode(self._seq, cmd, **fields))
        except OSError as error:
            self._fail(self._last_words())
            raise AdapterError(str(self._failure)) from error

    def call(self, cmd: str, within: float | None = None, **fields: Any) -> Any:
        """Send a request and wait for its result, ``within`` seconds. Raises AdapterError.

        To ``attempt`` the reply may be an exception instead, for which ``reply`` is to be read.
        """
        self.send(cmd, **fields)
        return self.wait(within)

    def wait(self, within: float | None = None) -> Any:
        """Wait for the result of what was sent, as ``call`` does."""
        within = self.patience if within is None else within
        end = self._loop.now() + within
        while (reply := self.reply) is None:
            left = end - self._loop.now()
            if left <= 0:
                raise AdapterError(
                    f"{self.name}: no reply to {self._asked} within {within:g} s",
                    "answer every request by one line, and flush standard output behind it",
                )
            self._loop.poll(left)
        if "result" not in reply and self._asked != "attempt":
            raise AdapterError(
                f"{self.name}: an exception in the place of the result of {self._asked}: {reply}",
                "only an attempt is answered by raised; what the adapter cannot do is errored",
            )
        return reply.get("result")

    def close(self) -> None:
        """Ask it to stop, and see to it that it does."""
        with contextlib.suppress(AdapterError):
            self.call("stop", within=2.0)
        self.kill()

    def kill(self) -> None:
        """End it at once. May be called again."""
        self._forget()
        self._transport.kill()
        self._failure = self._failure or AdapterError(f"{self.name}: it was ended")

    def _ready(self) -> None:
        data = self._transport.read()
        if not data:
            self._fail(self._last_words())
            return
        self._buffer += data
        *lines, rest = bytes(self._buffer).split(b"\n")
        self._buffer[:] = rest
        if len(rest) > _LONGEST_LINE:
            self._fail(f"a reply of more than {_LONGEST_LINE} bytes")
        for line in lines:
            self._take(line)

    def _take(self, line: bytes) -> None:
        if self._reply is not None or not self._seq:
            self._fail(
                f"a line that answers no request: {protocol.quoted(line)}",
                "print one line for each request; logs go to standard error",
            )
            return
        try:
            self._reply = protocol.decode(line, self._seq)
            self.read_at = Moment.of(self._loop)
        except AdapterError as error:
            self._fail(str(error))

    def _fail(self, words: str, advice: str = "") -> None:
        """From now on there is nothing to be had from it but this; the first failure counts."""
        self._forget()
        self._failure = self._failure or AdapterError(f"{self.name}: {words}", advice)

    def _forget(self) -> None:
        if self._watched:
            self._watched = False
            self._loop.forget(self._transport)

    def _last_words(self) -> str:
        words = self._transport.last_words(2.0)
        self._loop.excuse()
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


def try_to_start(implementation: Implementation, *, in_process: bool = False) -> None:
    """Have each program of a user's answer ``start`` once; raises AdapterError."""
    for each in (implementation, implementation.beside):
        if each is None or each.built_in:
            continue
        if in_process and each.factory is None:
            raise AdapterError(f"{each.name} is a command and cannot run in process")
        with Loop() as loop, tempfile.TemporaryDirectory() as folder:
            client = start(each, each.name, loop, Path(folder, "log"))
            try:
                protocol.read_start(client.call("start", protocol=protocol.PROTOCOL))
            finally:
                client.close()
