"""Where free-running clients stand: a server, a database on it, and their processes.

Nothing is between them and the server, so that nothing slows them down; what reached an attempt
is therefore not seen, and the history does not say that it was.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from attrs import define, evolve, field
from psycopg.conninfo import conninfo_to_dict

from lastseat.harness.gate.upstream import Upstream, entering_as
from lastseat.harness.implementations import client as clients
from lastseat.harness.implementations.client import Client, Implementation
from lastseat.harness.implementations.protocol import PROTOCOL, Start, read_start
from lastseat.harness.loop import Loop
from lastseat.harness.names import Fresh
from lastseat.harness.outages import Site, Way
from lastseat.harness.postgres import Server
from lastseat.harness.postgres.target import Target

GRACE_MS = 2_000
"""How much later than its deadline an attempt may end before it counts as hung."""

_STEWARD = "steward"


@define(eq=False)
class Stand:
    """Clients of one implementation, connected to one database."""

    implementation: Implementation
    declared: Start
    site: Site
    url: str
    deadline_ms: int
    loop: Loop
    fresh: Fresh
    log_dir: Path
    clients: dict[str, Client] = field(factory=dict)

    def hire(self, name: str) -> Client:
        """A client of that name, connected."""
        theirs = self.implementation.of(len(self.clients))
        client = self.clients[name] = _start(theirs, name, self.loop, self.log_dir)
        self.connect(name)
        return client

    def connect(self, name: str) -> None:
        """Have the client drop its connections and make new ones when it needs them."""
        self.clients[name].call("connect", dsn=self.url, deadline_ms=self.deadline_ms)

    def declare(self, capacities: Mapping[str, int]) -> None:
        """Create these resources, by a client that is then gone."""
        steward = _start(self.implementation, _STEWARD, self.loop, self.log_dir)
        try:
            steward.call("prepare", dsn=self.url)
            for resource, capacity in capacities.items():
                steward.call("declare", dsn=self.url, resource_id=resource, capacity=capacity)
        finally:
            steward.close()

    def auditor_dsn(self) -> str:
        """The database as it is now, to look at it as the implementation's own user."""
        server = self.site.server
        dsn = self.site.admin_dsn if server is None else server.dsn(self.site.dbname)
        return entering_as(dsn, self.url)


@contextlib.contextmanager
def stand(
    implementation: Implementation,
    target: Target,
    log_dir: Path,
    names: Sequence[str],
    deadline_ms: int,
    *,
    way: Way = Way.TCP,
    standby: Server | None = None,
    rng: random.Random,
) -> Iterator[Stand]:
    """Clients in a database of their own on that server; raises AdapterError.

    The standby, if there is one, is that of the target's server, and is the stand's to close.
    """
    log_dir.mkdir(parents=True, exist_ok=True)
    dsn = target.new_database()
    dbname = str(conninfo_to_dict(dsn)["dbname"])
    if way is Way.NETWORK:
        assert target.server is not None
        enter = ("nsenter", f"--net=/proc/{target.server.pid}/ns/net")
        implementation = _entering(implementation, enter)
    url = Upstream.parse(target.for_clients(dsn, tcp=way is not Way.SOCKET)).url
    held: dict[str, Client] = {}
    site = Site(target.server, dbname, dsn, lambda: _processes(held), rng, standby)
    with contextlib.ExitStack() as stack:
        stack.callback(_close, site, target)
        loop = stack.enter_context(Loop())
        stack.callback(_dismiss, held)
        first = _start(implementation, names[0], loop, log_dir)
        held[names[0]] = first
        declared = read_start(first.call("start", protocol=PROTOCOL))
        first.call("prepare", dsn=url)
        made = Stand(
            implementation,
            declared,
            site,
            url,
            deadline_ms,
            loop,
            Fresh(declared.ids),
            log_dir,
            held,
        )
        made.connect(names[0])
        for name in names[1:]:
            made.hire(name)
        yield made


def _entering(implementation: Implementation, enter: tuple[str, ...]) -> Implementation:
    beside = implementation.beside and _entering(implementation.beside, enter)
    return evolve(implementation, command=(*enter, *implementation.command), beside=beside)


def _start(implementation: Implementation, name: str, loop: Loop, log_dir: Path) -> Client:
    return clients.start(implementation, name, loop, log_dir / f"{name}.log")


def _processes(held: Mapping[str, Client]) -> list[int]:
    return [client.pid for client in held.values()]


def _dismiss(held: dict[str, Client]) -> None:
    while held:
        held.popitem()[1].close()


def _close(site: Site, target: Target) -> None:
    """End the servers that are not the target's to end."""
    for server in (site.standby, site.server):
        if server is not None and server is not target.server:
            server.close()
