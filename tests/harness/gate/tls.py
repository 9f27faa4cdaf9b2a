"""A server that speaks TLS, made of one that does not: the embedded one is built without it.

``localhost.pem`` is a certificate for 127.0.0.1 with its key, for these tests and nothing else.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from pathlib import Path
from typing import Self

from lastseat.harness.gate.messages import SSL_REQUEST, untyped

PEM = Path(__file__).with_name("localhost.pem")


class TlsServer:
    """Ends TLS where a client asks for it, and passes everything on to the server at ``port``."""

    def __init__(self, port: int) -> None:
        self.encrypted = 0
        """How many connections were."""
        self._to = port
        self._port = socket.create_server(("127.0.0.1", 0))
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(PEM)
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    @property
    def port(self) -> int:
        return self._port.getsockname()[1]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._port.shutdown(socket.SHUT_RDWR)
        self._port.close()
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # the port was closed
            while True:
                client, _ = self._port.accept()
                thread = threading.Thread(target=self._serve, args=(client,))
                self._threads.append(thread)
                thread.start()

    def _serve(self, client: socket.socket) -> None:
        server = socket.create_connection(("127.0.0.1", self._to))
        with contextlib.suppress(OSError), client, server:
            first = client.recv(4096)
            if first == untyped(SSL_REQUEST):
                client.sendall(b"S")
                with self._context.wrap_socket(client, server_side=True) as encrypted:
                    self.encrypted += 1
                    self._relay(encrypted, server)
            else:
                server.sendall(first)
                self._relay(client, server)

    def _relay(self, client: socket.socket, server: socket.socket) -> None:
        back = threading.Thread(target=_pump, args=(server, client))
        back.start()
        _pump(client, server)
        back.join()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    for end in (source, sink):  # the end of either is the end of both
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
