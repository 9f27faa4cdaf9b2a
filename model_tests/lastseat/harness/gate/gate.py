"""The gate itself: a port for every client, and the list of what happened on them."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from types import TracebackType
from typing import Self
from urllib.parse import quote

from attrs import evolve

from lastseat.harness.gate.connection import Connection
from lastseat.harness.gate.events import GateEvent
from lastseat.harness.gate.treatment import Reception
from lastseat.harness.gate.upstream import Upstream
from lastseat.harness.loop import Loop

_LOOPBACK = "127.0.0.1"


class Gate:
    """Clients connect to ports of the gate; ``drain`` gives what has happened since it was called.

    Turns of the clients in ``holding`` wait for a decision, all others pass at once.
    """

    def __init__(self, loop: Loop, upstream: Upstream) -> None:
        self.holding: set[str] = set()
        self._loop = loop
        self._upstream = upstream
        self._ports: dict[str, socket.socket] = {}
        self._connections: list[Connection] = []
        self._receptions: dict[str, Reception] = {}
        self._opened = 0
        self._events: list[GateEvent] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def admit(self, client: str) -> str:
        """Open a port for this client's connections; the URL to connect to."""
        if client not in self._ports:
            port = socket.create_server((_LOOPBACK, 0), backlog=64)
            port.setblocking(False)
            self._ports[client] = port
            self._loop.watch(port, lambda: self._accept(client))
        _, number = self._ports[client].getsockname()
        up = self._upstream
        user, dbname = quote(up.user, safe=""), quote(up.dbname, safe="")
        return f"postgresql://{user}@{_LOOPBACK}:{number}/{dbname}?sslmode=disable"

    def options(self, options: str) -> None:
        """Settings of the server for every session that a client begins from now on."""
        upstream = self._upstream
        self._upstream = evolve(upstream, options=f"{upstream.options} {options}".strip())

    def drain(self) -> list[GateEvent]:
        """What has happened since the last call, in order."""
        events = list(self._events)
        self._events.clear()  # connections report to this very list
        return events

    def open_connections(self) -> Iterator[Connection]:
        """Every connection that still has an end at the server."""
        return (connection for connection in self._connections if connection.alive)

    def of(self, client: str) -> list[Connection]:
        """This client's connections that still have an end at the server."""
        return [c for c in self._connections if c.client == client and c.alive]

    def receive(self, client: str, reception: Reception) -> None:
        """The client's next connection is received so; those that it has are lost."""
        self._receptions[client] = reception
        for connection in self.of(client):
            connection.cut()

    def receive_as_usual(self) -> None:
        """Whoever connects from now on is let in."""
        self._receptions.clear()

    def left(self, number: int) -> bool:
        """Has the client let go of this connection?"""
        return all(c.closed for c in self._connections if c.number == number)

    def hold(self, client: str) -> None:
        """From now on this client's turns wait."""
        self.holding.add(client)

    def let_pass(self, client: str) -> None:
        """From now on this client's turns pass, those that wait included."""
        self.holding.discard(client)
        for connection in self.of(client):
            connection.advance()

    def close(self) -> None:
        """End every connection and port."""
        for connection in self._connections:
            connection.close()
        for port in self._ports.values():
            self._loop.forget(port)
            port.close()
        self._connections.clear()
        self._ports.clear()

    def _accept(self, client: str) -> None:
        try:
            sock, _ = self._ports[client].accept()
        except (BlockingIOError, ConnectionAbortedError):  # it was there, and has gone again
            return
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._opened += 1
        self._connections = [c for c in self._connections if c.alive or not c.closed]
        self._connections.append(
            Connection(
                self._opened,
                client,
                sock,
                loop=self._loop,
                server=self._upstream,
                report=self._events.append,
                passes=lambda who: who not in self.holding,
                reception=lambda who: self._receptions.pop(who, None),
            )
        )
