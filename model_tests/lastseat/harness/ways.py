"""Do the clients come to the server through the gate, and only through it?"""

from __future__ import annotations

from attrs import Factory, define

from lastseat.harness.gate.backends import Backends
from lastseat.harness.gate.gate import Gate
from lastseat.harness.implementations.protocol import AdapterError
from lastseat.harness.loop import Loop

_LINGER = 1.0  # seconds in which the process of a connection that has ended must be gone
_GLANCE = 0.05


@define
class Ways:
    """Knows who was in the database when it was made; whoever comes later must pass the gate. What
    goes around it is not seen.

    To be used while the steward has nothing to do, whose way leads past the gate.
    """

    gate: Gate
    backends: Backends
    loop: Loop
    _before: frozenset[int] = Factory(lambda self: self.backends.here(), takes_self=True)

    def check(self) -> None:
        """Raises AdapterError if somebody is in the database who did not come through the gate."""
        end = self.loop.now() + _LINGER
        while around := self.backends.here() - self._before - self._through_the_gate():
            if self.loop.now() > end:
                count = "a connection" if len(around) == 1 else f"{len(around)} connections"
                raise AdapterError(
                    f"{count} to the database did not come through the gate",
                    "all of a client's SQL goes to the dsn that connect gave it, and nowhere else",
                )
            self.loop.poll(_GLANCE)

    def check_passwords(self) -> None:
        """Raises AdapterError if a client never got in, although it should have connected by now,
        and somebody came to its port without the password."""
        for client in self.gate.locked_out():
            raise AdapterError(
                f"{client} did not get in: its port was asked for a session, without the password",
                "give the driver the whole dsn that connect gave, or its password, too, and not "
                "only user, host, port and database",
            )

    def _through_the_gate(self) -> frozenset[int]:
        return frozenset(c.backend_pid for c in self.gate.open_connections())
