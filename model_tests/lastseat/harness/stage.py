"""The stage: one implementation's clients behind a gate, on a database of their own.

It is set once and serves many runs: connections and processes stay, ids are fresh.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from attrs import Factory, define, evolve, field

from lastseat.harness import constraints
from lastseat.harness.asking import Asking
from lastseat.harness.faults import Constraint, Database
from lastseat.harness.gate.backends import Backends
from lastseat.harness.gate.gate import Gate
from lastseat.harness.gate.upstream import Upstream, entering_as
from lastseat.harness.implementations import client as clients
from lastseat.harness.implementations.client import Client, Implementation
from lastseat.harness.implementations.protocol import PROTOCOL, Start, read_start
from lastseat.harness.judge.audit import Auditor
from lastseat.harness.judge.sight import Sight
from lastseat.harness.loop import Loop
from lastseat.harness.names import Fresh
from lastseat.harness.scenario import CLIENTS
from lastseat.harness.schedule.sessions import Sessions
from lastseat.harness.stillness import Pace
from lastseat.harness.ways import Ways

DEADLINE_MS = 5_000
"""What an attempt is given while schedules are explored: long, so that no time-out decides."""

GRACE_MS = 2_000
"""How much later than its deadline an attempt may end before it counts as hung."""

DAY_MS = 86_400_000
"""A day: what everybody is given where somebody looks on with a debugger."""

_LATELY = 32
_GLANCE = 0.005
"""Seconds between two looks at whether a commit waits to be finished, outside of any run."""

STEWARD = "steward"
"""The client that creates the schema, the resources and the prior bookings, past the gate."""


@define
class Stage:
    """Everything that runs of one implementation need."""

    implementation: Implementation
    dsn: str
    url: str
    """The database as the implementation is told of it, past the gate."""
    declared: Start
    loop: Loop
    gate: Gate
    backends: Backends
    auditor: Auditor
    fresh: Fresh
    known: frozenset[str]
    readers: frozenset[str]
    sessions: Sessions
    constraints: Mapping[str, Constraint]
    database: Database
    """What decides which errors can come from it."""
    commits_wait: bool
    """Does a commit wait for somebody to finish it, in sessions that want it confirmed?"""
    _log_dir: Path
    _in_process: bool
    _clients: dict[str, Client] = Factory(dict)
    _deadlines: dict[str, int] = Factory(dict)
    """In milliseconds, as each client was told last."""
    unhurried: bool = False
    """Is nothing timed, for somebody looks on with a debugger?"""
    unsaved: str = field(default="", init=False)
    """Why runs could not be saved, if they could not."""
    pace: Pace = field(factory=Pace, init=False)
    lately: deque[float] = field(factory=lambda: deque(maxlen=_LATELY), init=False)
    """Seconds that the longest attempt of each of the last runs took, where none was silenced."""
    observer: Sight | None = field(default=None, init=False)
    """That of the last run: the connections that it knows of outlive the run."""
    _holding: bool = field(default=False, init=False)
    """Do commits wait to be finished?"""

    def client(self, name: str) -> Client:
        """The client of that name, connected through the gate; started when first asked for."""
        if name not in self._clients:
            self._clients[name] = self._start(name)
            self._clients[name].call("start", protocol=PROTOCOL)
            self.connect(name)
        return self._clients[name]

    def ready(self, names: Sequence[str]) -> None:
        """Start these clients all at once, which is faster than one after the other."""
        missing = [name for name in names if name not in self._clients]
        for name in missing:
            self._clients[name] = self._start(name)
        for name in missing:
            self.client(name).call("start", protocol=PROTOCOL)
            self.connect(name)

    def connect(self, name: str, deadline_ms: int = DEADLINE_MS) -> None:
        """Have the client drop its connections and make new ones when it needs them."""
        if self.unhurried:
            deadline_ms = DAY_MS
            self._clients[name].patience = DAY_MS / 1000
        dsn = self.gate.admit(name)
        self._clients[name].call("connect", dsn=dsn, deadline_ms=deadline_ms)
        self._deadlines[name] = deadline_ms

    def give_time(self, deadlines: Mapping[str, int], *, in_a_run: bool = False) -> None:
        """From now on attempts have so many milliseconds; those of others as many as usual.

        In the middle of a run whoever is told so connects when it needs to, and is observed.
        """
        if self.unhurried:
            return
        for name in self._deadlines.keys() | deadlines.keys():
            self.client(name)
            wanted = deadlines.get(name, DEADLINE_MS)
            if self._deadlines[name] != wanted:
                self.connect(name, wanted)
                if not in_a_run:
                    self._say_first_words(name)

    def renew(self, names: Iterable[str]) -> None:
        """Have these clients make new connections, outside of any run."""
        for name in names:
            self.client(name)  # it may have been ended
            self.connect(name, self._deadlines[name])
            self._say_first_words(name)

    def _say_first_words(self, name: str) -> None:
        """Let a client connect, outside of any run: drivers ask a new server this and that."""
        resource, client = self.fresh.id("first-words"), self._clients[name]
        self.declare(resource, 1)
        client.send("attempt", booking_id=resource, resource_id=resource, requested_units=1)
        end = self.loop.now() + client.patience
        while self._holding and client.reply is None and self.loop.now() < end:
            self.loop.poll(_GLANCE)
            for pid in self.backends.committing(self.backends.here()):
                self.backends.cancel(pid)
        client.wait()

    def hold_commits(self) -> None:
        """From now on the clients' commits, when they are done, wait to be finished."""
        self._holding = True
        self.gate.options("-c synchronous_commit=on")
        for name in self._deadlines:
            self.connect(name, self._deadlines[name])

    def restart(self, name: str) -> None:
        """End a client that hangs; the next run gets a new one."""
        if name in self._clients:
            self._clients.pop(name).kill()
        self._deadlines.pop(name, None)

    def declare(self, resource_id: str, capacity: int) -> None:
        """Create a resource, past the gate."""
        steward = self._clients[STEWARD]
        steward.call("declare", dsn=self.url, resource_id=resource_id, capacity=capacity)

    def steward(self) -> Client:
        """The client whose attempts do not pass the gate."""
        return self._clients[STEWARD]

    def _start(self, name: str) -> Client:
        theirs = self.implementation.of(CLIENTS.index(name) if name in CLIENTS else 0)
        if self._in_process:
            return clients.start_in_process(theirs, name, self.loop)
        return clients.start(theirs, name, self.loop, self._log_dir / f"{name}.log")


@contextlib.contextmanager
def stage(
    implementation: Implementation,
    dsn: str,
    log_dir: Path,
    *,
    names: Sequence[str] = (),
    in_process: bool = False,
    beside: str | None = None,
    commits_wait: bool = False,
    unhurried: bool = False,
) -> Iterator[Stage]:
    """Set the stage on the database ``dsn`` and clear it in the end.

    ``beside`` is how the implementation reaches the database past the gate, and as whom, by default
    like us; it is told so by a URL, which is what all drivers read. What is the implementation's
    (its tables, and the functions in them) is read as its own user, never as ours.

    Raises AdapterError if the implementation's adapter does not do its part.
    """
    log_dir.mkdir(parents=True, exist_ok=True)
    url = Upstream.parse(beside or dsn).url
    theirs = entering_as(dsn, url)
    with contextlib.ExitStack() as stack:
        loop = stack.enter_context(Loop())
        gate = stack.enter_context(Gate(loop, Upstream.parse(theirs)))
        steward = _steward(implementation, loop, log_dir, in_process=in_process)
        held: dict[str, Client] = {STEWARD: steward}
        stack.callback(_close, held)
        declared = read_start(steward.call("start", protocol=PROTOCOL))
        if implementation.beside is not None:
            declared = evolve(declared, promises=frozenset())
        steward.call("prepare", dsn=url)
        steward.call("connect", dsn=url, deadline_ms=DEADLINE_MS)
        asking = stack.enter_context(Asking(dsn, catalog_only=True))
        as_client = stack.enter_context(Asking(theirs))
        backends = Backends(asking)
        known = backends.known_names()
        made = Stage(
            implementation,
            dsn,
            url,
            declared,
            loop,
            gate,
            backends,
            Auditor(as_client, declared),
            Fresh(declared.ids),
            known,
            backends.reading_functions(),
            Sessions(
                Backends(as_client).starts_above_read_committed(),
                backends.triggered_tables(),
                known,
                backends.commits_check(),
                Backends(as_client).default_level(),
            ),
            constraints.find(theirs, declared),
            Database(
                backends.commits_can_fail(),
                backends.partitioned(),
                backends.triggered_tables(),
                known,
            ),
            commits_wait,
            log_dir,
            in_process,
            held,
            unhurried=unhurried,
        )
        ways = Ways(gate, backends, loop)
        made.ready(names)
        ways.check()
        yield made


def _close(held: dict[str, Client]) -> None:
    while held:
        held.popitem()[1].close()


def _steward(
    implementation: Implementation, loop: Loop, log_dir: Path, *, in_process: bool
) -> Client:
    if in_process:
        return clients.start_in_process(implementation, STEWARD, loop)
    return clients.start(implementation, STEWARD, loop, log_dir / f"{STEWARD}.log")
