"""The two ends of a connection, by which nothing leaves that is not recorded before."""

from __future__ import annotations

from collections.abc import Callable

from attrs import define

from lastseat.harness.gate.events import GateEvent, HungUp, Passed
from lastseat.harness.gate.pipe import Pipe


@define
class Ends:
    """The client's end and the server's, each None when it is closed.

    A client may react to what it reads within microseconds. What it says then must not come before
    its reason, so that bytes leave only together with the event that records them, and after it.
    """

    name: str
    """The client's."""
    number: int
    """The connection's."""
    report: Callable[[GateEvent], None]
    _client: Pipe | None = None
    _server: Pipe | None = None

    @property
    def with_server(self) -> bool:
        """Whether the server's end is open."""
        return self._server is not None

    @property
    def with_client(self) -> bool:
        """Whether the client's end is open."""
        return self._client is not None

    def open(self, *, client: Pipe | None = None, server: Pipe | None = None) -> None:
        """Here is one of them."""
        self._client = client or self._client
        self._server = server or self._server

    def tell(self, event: GateEvent, data: bytes, *, last: bool = False) -> None:
        """Record this, and send it to the client; the ``last`` goes with the end of the stream."""
        self.report(event)
        if self._client is not None:
            self._client.send(data, last=last)

    def pass_on(self, event: GateEvent, data: bytes) -> None:
        """Record this, and send it to the server."""
        self.report(event)
        if self._server is not None:
            self._server.send(data)

    def passed(self, to: str, what: str) -> Passed:
        """The event for what is neither a turn nor an answer."""
        return Passed(self.name, self.number, to, what)

    def leave_server(self, event: GateEvent, says: bytes, *, last: bool = False) -> None:
        """Record that the connection is broken; tell the client, and let go of the server."""
        server, self._server = self._server, None
        self.tell(event, says, last=last)
        if server is not None:
            server.close()

    def hang_up(self) -> None:
        """Say nothing more to the client, but listen on: its last words tell what it had sent."""
        if self._client is not None:
            self._client.finish()

    def reset_client(self) -> None:
        """The same at once, by a reset; what the client has sent by now is heard before."""
        if self._client is not None:
            self._client.reset()
            self.leave_client()

    def leave_client(self) -> None:
        """Let go of the client, which knows then that this connection is no more."""
        if self._client is not None:
            client, self._client = self._client, None
            self.report(HungUp(self.name, self.number))
            client.close()
