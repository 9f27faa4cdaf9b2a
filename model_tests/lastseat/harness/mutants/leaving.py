"""How callers leave a connection, other than by Terminate."""

from __future__ import annotations

import contextlib
import os
import socket
import struct

import psycopg
from attrs import define
from psycopg.pq import ConnStatus, TransactionStatus

from lastseat.harness.mutants.caller import Database

_RESET = struct.pack("ii", 1, 0)
_PATIENCE = 0.5
"""Seconds that a request to cancel may take; a network that is silent answers none."""


@define
class CancelsFirst(Database):
    """Asks the server to cancel what it is still at, and closes the connection then, as pgx does.

    Without that, the server process would wait for its lock on.
    """

    def close(self) -> None:
        if self.connection is not None and self.connection.state() is TransactionStatus.ACTIVE:
            with contextlib.suppress(psycopg.Error):
                self.connection.cancel_safe(timeout=_PATIENCE)
        super().close()


@define
class HangsUp(Database):
    """Resets the connection at once, without a word to the server."""

    def close(self) -> None:
        if self.connection is not None and self.connection.pgconn.status == ConnStatus.OK:
            descriptor = self.connection.pgconn.socket
            with socket.socket(fileno=os.dup(descriptor)) as wire:
                wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            # Closes the socket; libpq is left with a descriptor that leads nowhere.
            nowhere = os.open(os.devnull, os.O_RDWR)
            os.dup2(nowhere, descriptor)
            os.close(nowhere)
        super().close()
