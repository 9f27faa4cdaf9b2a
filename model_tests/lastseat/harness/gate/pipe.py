"""One end of a connection as the loop serves it: nothing here ever waits for a peer."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
from collections.abc import Callable

from lastseat.harness.loop import Loop

_AT_ONCE = struct.pack("ii", 1, 0)
_NOT_NOW = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class Pipe:
    """Hands on what comes, and keeps what is to be sent until the peer takes it.

    ``came`` is called with what the peer sent, ``ended`` once, at the end of its stream, however it
    ended. A peer that takes nothing any more is no end: its own last words may still be on the way.
    """

    def __init__(
        self,
        sock: socket.socket,
        loop: Loop,
        *,
        came: Callable[[bytes], None],
        ended: Callable[[], None],
    ) -> None:
        self._sock = sock
        self._loop = loop
        self._came = came
        self._ended = ended
        self._unsent = bytearray()
        self._waits_for_room = False
        self._takes = True
        self._finishing = False
        self._flags = 0
        sock.setblocking(False)
        loop.watch(sock, self._readable)

    def send(self, data: bytes, *, last: bool = False) -> None:
        """Send this after what is still unsent; dropped if the peer takes nothing any more.

        The ``last`` data leave together with the end of the stream, which ``finish`` is to send:
        whoever reads them sees both.
        """
        if not self._takes or self._finishing or not data:
            return
        self._flags = socket.MSG_MORE if last else 0
        self._unsent += data
        if not self._waits_for_room:
            self._writable()

    def finish(self) -> None:
        """End our side of the stream behind what is unsent; the peer may go on talking."""
        if not self._finishing:
            self._finishing = True
            self._writable()

    def reset(self) -> None:
        """Have ``close`` end it with a reset; what the peer has sent by now is heard before."""
        self._readable()
        with contextlib.suppress(OSError):  # where it was the peer that ended it
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)

    def close(self) -> None:
        """Drop the connection, and what is unsent; the peer is heard no more."""
        self._loop.forget(self._sock)
        self._sock.close()

    def _readable(self) -> None:
        data = self._receive()
        if data is None:
            return
        if data:
            self._came(data)
        else:
            self._ended()

    def _receive(self) -> bytes | None:
        """What has come; empty at the end of the stream; None if there is nothing yet."""
        received = b""
        while True:
            try:
                data = self._sock.recv(65536)
            except _NOT_NOW:
                return received or None
            except OSError:
                return received
            received += data
            # Below TLS one record may be read and decrypted with nothing left for the loop to see.
            if not data or not isinstance(self._sock, ssl.SSLSocket):
                return received

    def _writable(self) -> None:
        while self._unsent:
            try:
                sent = self._sock.send(self._unsent, self._flags)
            except _NOT_NOW:
                self._waits_for_room = True
                self._loop.watch_room(self._sock, self._writable)
                return
            except OSError:
                self._takes = False
                self._unsent.clear()
                break
            del self._unsent[:sent]
        if self._waits_for_room:
            self._waits_for_room = False
            self._loop.watch_room(self._sock, None)
        if self._finishing:
            with contextlib.suppress(OSError):  # where it is gone, its end will show
                self._sock.shutdown(socket.SHUT_WR)
