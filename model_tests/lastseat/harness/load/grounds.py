"""Which outages a machine can have, and the servers on which they strike."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import Self

from attrs import define, field, frozen

from lastseat.harness.outages import Need, Outage
from lastseat.harness.outages.elsewhere import programs_for_networks
from lastseat.harness.postgres import Server, ServerError, open_target, start
from lastseat.harness.postgres import binaries as places
from lastseat.harness.postgres import standby as standbys
from lastseat.harness.postgres.target import Target

_SMALL_DISK = 3_000_000  # bytes


@frozen
class Ground:
    """A server with a database to strike, and its standby where there is one."""

    target: Target
    standby: Server | None = None


@define
class Grounds:
    """Servers of our own, each started when first needed, or the user's. A context manager."""

    dsn: str | None = None
    settings: Mapping[str, str] = field(factory=dict)
    _stack: ExitStack = field(factory=ExitStack, init=False)
    _plain: Target | None = field(default=None, init=False)
    _missing: dict[Need, str] = field(factory=dict, init=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def unavailable(self, outage: Outage) -> str | None:
        """What is missing for it here; None if it can be had."""
        if self.dsn is not None and outage.needs:
            return Need.SERVER.value
        if Need.STANDBY in outage.needs and not (places.find().bin / "pg_basebackup").exists():
            return Need.STANDBY.value
        if Need.NETWORK in outage.needs and not programs_for_networks():
            return Need.NETWORK.value
        version = self.plain().version[0]
        if version < outage.oldest:
            return f"PostgreSQL {outage.oldest} or later; this is {version}"
        return next((self._missing[need] for need in outage.needs if need in self._missing), None)

    @contextmanager
    def ground(self, outage: Outage | None) -> Iterator[Ground]:
        """The server for this outage; one that ends with it where it is lost by it."""
        if outage is None or not outage.needs & {Need.STANDBY, Need.NETWORK}:
            yield Ground(self.plain())
            return
        network = Need.NETWORK in outage.needs
        with start(settings=self.settings, own_network=network) as server:
            standby = None
            if outage.synchronous is not None:
                standby = standbys.add_standby(server)
                standbys.wait_for_standby(server, wait=outage.synchronous)
            with open_target(server=server) as target:
                yield Ground(target, standby)

    def plain(self) -> Target:
        """The one on which most outages strike."""
        if self._plain is None:
            self._plain = self._stack.enter_context(self._open())
        return self._plain

    def _open(self) -> Target:
        if self.dsn is not None:
            return open_target(self.dsn)
        try:
            server = self._stack.enter_context(
                start(settings=self.settings, small_disk=_SMALL_DISK)
            )
        except ServerError as error:
            self._missing[Need.SMALL_DISK] = f"{Need.SMALL_DISK.value} ({_reason(error)})"
            server = self._stack.enter_context(start(settings=self.settings))
        return open_target(server=server)

    def lose(self) -> None:
        """The plain server is not to be used again: something about it is broken."""
        self._stack.close()
        self._plain = None


def _reason(error: Exception) -> str:
    """What the kernel said, if the log has it."""
    lines = str(error).splitlines()
    return next((line for line in lines if "unshare" in line or "mount" in line), lines[0])
