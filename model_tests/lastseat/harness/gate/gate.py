"""The gate itself: an entrance for every client, and the list of what happened behind them."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from types import TracebackType
from typing import Self

from attrs import evolve

from lastseat.harness.gate.cancelling import Cancelling
from lastseat.harness.gate.connection import Connection
from lastseat.harness.gate.entrance import Admitted, Entrance, Lobby
from lastseat.harness.gate.events import GateEvent
from lastseat.harness.gate.treatment import Reception
from lastseat.harness.gate.upstream import Upstream
from lastseat.harness.loop import Loop


class Gate:
    """Clients connect to ports of the gate; ``drain`` gives what has happened since it was called.

    A port admits its own client only, by a password: what anybody else does there is no event.
    Turns of the clients in ``holding`` wait for a decision, all others pass at once.
    """

    def __init__(self, loop: Loop, upstream: Upstream) -> None:
        self.holding: set[str] = set()
        self._loop = loop
        self._upstream = upstream
        self._lobby = Lobby()
        self._entrances: dict[str, Entrance] = {}
        self._connections: list[Connection] = []
        self._cancels: list[Cancelling] = []
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
        """Open an entrance for this client; the URL to connect to, which holds its password."""
        if client not in self._entrances:
            self._entrances[client] = Entrance(
                self._loop,
                self._lobby,
                admit=lambda admitted: self._begin(client, admitted),
                cancel=lambda sock, key: self._cancel(client, sock, key),
            )
        return self._entrances[client].url(self._upstream.user, self._upstream.dbname)

    def locked_out(self) -> list[str]:
        """The clients at whose entrance some were turned away, and none was ever let in."""
        entrances = self._entrances.items()
        return [client for client, at in entrances if at.turned_away and not at.let_in]

    def options(self, options: str) -> None:
        """Settings of the server for every session that a client begins from now on."""
        upstream = self._upstream
        self._upstream = evolve(upstream, options=f"{upstream.options} {options}".strip())

    def drain(self) -> list[GateEvent]:
        """What has happened since the last call, in order."""
        self._lobby.expire()
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

    def forsake(self, client: str) -> None:
        """This client has answered its caller and waits for nothing any more: see there."""
        for connection in self.of(client):
            connection.forsake()

    def let_pass(self, client: str) -> None:
        """From now on this client's turns pass, those that wait included."""
        self.holding.discard(client)
        for connection in self.of(client):
            connection.advance()

    def close(self) -> None:
        """End every connection and entrance."""
        for connection in self._connections:
            connection.close()
        for cancel in self._cancels:
            cancel.close()
        self._lobby.close()
        for entrance in self._entrances.values():
            entrance.close()
        self._connections.clear()
        self._entrances.clear()

    def _begin(self, client: str, admitted: Admitted) -> None:
        connection = self._connection(client, admitted.sock)
        reception = self._receptions.pop(client, None)
        if reception is not None:
            connection.receive(reception)
        else:
            connection.open(admitted.version, admitted.parameters, admitted.said)

    def _cancel(self, client: str, sock: socket.socket, key: bytes) -> None:
        pid = int.from_bytes(key[:4], "big")
        meant = next((c for c in self.of(client) if c.backend_pid == pid), None)
        self._opened += 1
        self._cancels = [cancel for cancel in self._cancels if not cancel.over]
        self._cancels.append(
            Cancelling(
                self._opened,
                client,
                sock,
                key,
                meant=None if meant is None else meant.number,
                here=lambda: meant is not None and meant.cancel_held(),
                loop=self._loop,
                server=self._upstream,
                report=self._events.append,
            )
        )

    def _connection(self, client: str, sock: socket.socket) -> Connection:
        self._opened += 1
        self._connections = [c for c in self._connections if c.alive or not c.closed]
        connection = Connection(
            self._opened,
            client,
            sock,
            loop=self._loop,
            server=self._upstream,
            report=self._events.append,
            passes=lambda who: who not in self.holding,
            handed_out=self._entrances[client].hand_out,
        )
        self._connections.append(connection)
        return connection
