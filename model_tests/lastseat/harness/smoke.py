"""Is the adapter itself right? Each part of the protocol is tried once, without any contention.

A part that fails says what was received and what to do. Where nothing can be tried without it, it
is the last one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from attrs import define, field, frozen

from lastseat.harness.asking import Asking
from lastseat.harness.gate.backends import Backends
from lastseat.harness.gate.gate import Gate
from lastseat.harness.gate.upstream import Upstream, entering_as
from lastseat.harness.implementations import schema
from lastseat.harness.implementations.client import Client, Implementation, Process
from lastseat.harness.implementations.protocol import (
    PROTOCOL,
    AdapterError,
    Raised,
    Start,
    read_attempt,
    read_start,
)
from lastseat.harness.judge.audit import ADVICE, Auditor, Reading
from lastseat.harness.loop import Loop
from lastseat.harness.names import Fresh
from lastseat.harness.stage import DAY_MS, DEADLINE_MS, GRACE_MS
from lastseat.harness.ways import Ways
from lastseat.spec.vocabulary import BOOKED, REJECTED, Answer, Outcome

_PATIENCE = (DEADLINE_MS + GRACE_MS) / 1000  # seconds that an attempt may take
_ENDING = 5.0  # seconds that an adapter is given to end


Attach = Callable[[Mapping[str, Client]], None]
"""Is shown clients, and returns when they may go on."""


@frozen
class Tried:
    """A part of the protocol, and what was wrong with it, if anything."""

    part: str
    mistake: str = ""


@define
class _Bench:
    """The adapter's processes behind a gate, and what is known of the implementation so far."""

    implementation: Implementation
    dsn: str
    beside: str
    logs: Path
    loop: Loop
    gate: Gate
    asking: Asking
    backends: Backends
    stack: ExitStack
    attach: Attach | None
    processes: dict[str, Process] = field(factory=dict)
    clients: dict[str, Client] = field(factory=dict)
    lines: dict[str, bytes] = field(factory=dict)
    """The last line that each client has sent."""
    expected: dict[str, dict[str, int]] = field(factory=dict)
    """The bookings that each resource must have."""
    started: Start = field(init=False)
    auditor: Auditor = field(init=False)
    fresh: Fresh = field(init=False)
    ways: Ways = field(init=False)

    def begin(self, name: str) -> None:
        """Start a process of the adapter."""
        process = Process(self.implementation.command, self.logs / f"{name}.log")
        self.processes[name] = process
        client = Client(name, self.loop, lambda: _Overheard(process, name, self.lines))
        self.clients[name] = client
        self.stack.callback(client.kill)

    def ask(self, name: str, cmd: str, **fields: Any) -> dict[str, Any]:
        """The reply to a request, if it fits its schema; raises AdapterError."""
        client = self.clients[name]
        hurried = cmd == "attempt" and self.attach is None
        client.call(cmd, within=_PATIENCE if hurried else None, **fields)
        reply = client.reply
        assert reply is not None
        if wrong := schema.mistakes("reply", cmd, reply):
            raise AdapterError(
                f"{name}: the reply to {cmd} is not right: {'; '.join(wrong)}\n"
                f"  received: {self.received(name)}",
                f"the reply must fit reply/{cmd} of {schema.SCHEMA}",
            )
        return reply

    def received(self, name: str) -> str:
        """The last line of this client."""
        return self.lines[name].decode("utf-8", "replace").strip()

    def attempt(self, name: str, booking: str, resource: str, units: int) -> Answer | Raised:
        """What an attempt is answered; afterwards the bookings must be as expected."""
        asked = {"booking_id": booking, "resource_id": resource, "requested_units": units}
        return read_attempt(self.ask(name, "attempt", **asked))

    def check_bookings(self) -> None:
        """The audit must show what there must be; raises AdapterError."""
        for resource, rows in self.expected.items():
            (read,) = self.auditor.read([resource])
            booked = None if self.started.booked_sql is None else sum(rows.values())
            wanted = Reading(tuple(sorted(rows.items())), booked)
            if read != wanted:
                raise AdapterError(
                    f"the audit's queries show {_shown(read)} for the resource {resource},"
                    f" where there must be {_shown(wanted)}",
                    f"{ADVICE}; and the attempts must work in the database that their dsn names",
                )


class _Overheard:
    """A process whose last line is kept, to be shown when it is not right."""

    def __init__(self, process: Process, name: str, lines: dict[str, bytes]) -> None:
        self._process, self._name, self._lines = process, name, lines
        self._begun = b""
        self.fileno, self.write = process.fileno, process.write
        self.last_words, self.kill = process.last_words, process.kill
        self.pid = process.pid

    def read(self) -> bytes:
        data = self._process.read()
        *whole, self._begun = (self._begun + data).split(b"\n")
        if whole:
            self._lines[self._name] = whole[-1]
        return data


def smoke(
    implementation: Implementation,
    dsn: str,
    beside: str,
    logs: Path,
    attach: Attach | None = None,
) -> Iterator[Tried]:
    """Try every part of the protocol in turn, on an empty database.

    ``dsn`` is how we reach it, ``beside`` how the adapter does, past the gate, and as whom.
    ``attach`` is shown each client that runs attempts, once it has started; with it, nothing is
    timed.
    """
    logs.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        loop = stack.enter_context(Loop())
        theirs = entering_as(dsn, beside)
        gate = stack.enter_context(Gate(loop, Upstream.parse(theirs)))
        backends = Backends(stack.enter_context(Asking(dsn, catalog_only=True)))
        asking = stack.enter_context(Asking(theirs))
        here = (loop, gate, asking, backends, stack)
        bench = _Bench(implementation, dsn, beside, logs, *here, attach)
        for part, needed, run in _PARTS:
            try:
                run(bench)
            except AdapterError as error:
                yield Tried(part, str(error))
                if needed or any(client.failed for client in bench.clients.values()):
                    return
            else:
                yield Tried(part)


def _start(bench: _Bench) -> None:
    bench.begin("steward")
    bench.started = read_start(bench.ask("steward", "start", protocol=PROTOCOL)["result"])
    bench.fresh = Fresh(bench.started.ids)


def _prepare(bench: _Bench) -> None:
    bench.ask("steward", "prepare", dsn=bench.beside)


def _prepare_again(bench: _Bench) -> None:
    bench.ask("steward", "prepare", dsn=bench.beside)


def _declare(bench: _Bench) -> None:
    for capacity in (3, 100):
        resource = bench.fresh.id("r")
        bench.expected[resource] = {}
        told = {"resource_id": resource, "capacity": capacity}
        bench.ask("steward", "declare", dsn=bench.beside, **told)


def _audit(bench: _Bench) -> None:
    bench.auditor = Auditor(bench.asking, bench.started)
    bench.check_bookings()
    bench.ways = Ways(bench.gate, bench.backends, bench.loop)


def _connect(bench: _Bench) -> None:
    _another(bench, "alice")


def _another(bench: _Bench, name: str) -> None:
    bench.begin(name)
    bench.ask(name, "start", protocol=PROTOCOL)
    if bench.attach is not None:
        bench.clients[name].patience = DAY_MS / 1000
        bench.attach({name: bench.clients[name]})
    _connect_to(bench, name)


def _connect_to(bench: _Bench, name: str) -> None:
    deadline = DEADLINE_MS if bench.attach is None else DAY_MS
    bench.ask(name, "connect", dsn=bench.gate.admit(name), deadline_ms=deadline)


def _booked(bench: _Bench) -> None:
    _book(bench, "alice", bench.fresh.id("b"), _small(bench), 2)
    if not bench.gate.drain():
        raise AdapterError(
            "the attempt was answered, and nothing of it passed the gate",
            "all of a client's SQL goes to the dsn that connect gave it",
        )


def _book(bench: _Bench, name: str, booking: str, resource: str, units: int) -> None:
    answer = bench.attempt(name, booking, resource, units)
    bench.ways.check_passwords()
    _must_be(answer, BOOKED, f"{units} units of a resource that has room for them", bench, name)
    bench.expected[resource][booking] = units
    bench.check_bookings()


def _repeated(bench: _Bench) -> None:
    resource = _small(bench)
    ((booking, units),) = bench.expected[resource].items()
    answer = bench.attempt("alice", booking, resource, units)
    _must_be(answer, BOOKED, "a repetition of what is booked", bench, "alice")
    bench.check_bookings()


def _rejected(bench: _Bench) -> None:
    answer = bench.attempt("alice", bench.fresh.id("b"), _small(bench), 2)
    _must_be(answer, REJECTED, "2 units of a resource that has room for 1", bench, "alice")
    bench.check_bookings()


def _small(bench: _Bench) -> str:
    return next(iter(bench.expected))


def _large(bench: _Bench) -> str:
    return list(bench.expected)[1]


def _other_units(bench: _Bench) -> None:
    booking = next(iter(bench.expected[_small(bench)]))
    answer = bench.attempt("alice", booking, _small(bench), 1)
    _must_raise(answer, "a booked id, asked for with other units", bench)


def _other_resource(bench: _Bench) -> None:
    booking = next(iter(bench.expected[_small(bench)]))
    answer = bench.attempt("alice", booking, _large(bench), 2)
    _must_raise(answer, "a booked id, asked for on another resource", bench)


def _unknown_resource(bench: _Bench) -> None:
    answer = bench.attempt("alice", bench.fresh.id("b"), bench.fresh.id("r"), 1)
    _must_raise(answer, "a resource that was never declared", bench)


def _another_process(bench: _Bench) -> None:
    _another(bench, "bob")
    _book(bench, "bob", bench.fresh.id("b"), _large(bench), 1)
    answer = bench.attempt("bob", bench.fresh.id("b"), _small(bench), 2)
    _must_be(answer, REJECTED, "2 units of a resource that has room for 1", bench, "bob")


def _ways(bench: _Bench) -> None:
    bench.ways.check()


def _broken_connection(bench: _Bench) -> None:
    for connection in bench.gate.of("alice"):
        bench.backends.terminate(connection.backend_pid)
    booking = bench.fresh.id("b")
    answer = bench.attempt("alice", booking, _large(bench), 1)
    if isinstance(answer, Raised) or answer.outcome is Outcome.REJECTED:
        raise AdapterError(
            f"an attempt that met a closed connection was answered {_told(answer)}",
            'answer {"outcome":"FAILED","cause":"INFRASTRUCTURE"}, or make a new connection first',
        )
    bench.attempt("alice", booking, _large(bench), 1)  # one failure for each broken connection
    answer = bench.attempt("alice", booking, _large(bench), 1)
    _must_be(answer, BOOKED, "an attempt after a connection was lost and replaced", bench, "alice")
    bench.expected[_large(bench)][booking] = 1
    bench.check_bookings()


def _connect_again(bench: _Bench) -> None:
    before = {connection.number for connection in bench.gate.of("alice")}
    _connect_to(bench, "alice")
    end = time.monotonic() + _ENDING
    while left := before & {connection.number for connection in bench.gate.of("alice")}:
        if time.monotonic() > end:
            raise AdapterError(
                f"connect came again, and {len(left)} earlier connections are still open",
                "close what you have when connect comes",
            )
        bench.loop.poll(0.05)
    _book(bench, "alice", bench.fresh.id("b"), _large(bench), 1)


def _stop(bench: _Bench) -> None:
    bench.ask("alice", "stop")
    _must_end(bench, "alice", "after it has answered stop, the process ends")


def _end_of_input(bench: _Bench) -> None:
    bench.processes["bob"].end_input()
    _must_end(bench, "bob", "at the end of its standard input, the process ends")


def _must_end(bench: _Bench, name: str, advice: str) -> None:
    if bench.processes[name].last_words(_ENDING) is None:
        raise AdapterError(f"{name}: the process still runs {_ENDING:g} s later", advice)


def _must_be(answer: Answer | Raised, right: Answer, what: str, bench: _Bench, name: str) -> None:
    if answer != right:
        raise AdapterError(
            f"{what}, nobody else around: the answer must be {right}, and is {_told(answer)}\n"
            f"  received: {bench.received(name)}",
            "if the implementation is right by itself, look at how the adapter words its results",
        )


def _must_raise(answer: Answer | Raised, what: str, bench: _Bench) -> None:
    if not isinstance(answer, Raised):
        raise AdapterError(
            f"{what}: a programming error, which is no outcome; it was answered {answer}\n"
            f"  received: {bench.received('alice')}",
            'answer {"seq":N,"raised":{"message":"what is wrong"}}',
        )
    bench.check_bookings()


def _told(answer: Answer | Raised) -> str:
    return f"by the exception «{answer.message}»" if isinstance(answer, Raised) else str(answer)


def _shown(reading: Reading) -> str:
    rows = ", ".join(f"{booking} ({units})" for booking, units in reading.rows) or "no booking"
    return rows if reading.booked is None else f"{rows}, counter {reading.booked}"


_PARTS: tuple[tuple[str, bool, Callable[[_Bench], None]], ...] = (
    ("start: what it says of the implementation", True, _start),
    ("prepare creates the schema", True, _prepare),
    ("prepare again does no harm", False, _prepare_again),
    ("declare creates resources", True, _declare),
    ("the audit's queries work", True, _audit),
    ("connect, in a process of its own", True, _connect),
    ("an attempt is BOOKED", True, _booked),
    ("repeated, it is BOOKED and changes nothing", False, _repeated),
    ("without room, it is REJECTED", False, _rejected),
    ("a booked id with other units is raised", False, _other_units),
    ("a booked id on another resource is raised", False, _other_resource),
    ("an unknown resource is raised", False, _unknown_resource),
    ("a second process books, too, and sees the first one's", False, _another_process),
    ("all connections come through the gate", False, _ways),
    ("a lost connection is an outcome, and is replaced", False, _broken_connection),
    ("connect again drops what was there", False, _connect_again),
    ("stop ends the process", False, _stop),
    ("so does the end of its input", False, _end_of_input),
)
