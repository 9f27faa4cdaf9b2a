"""The gate's own way to the server: it authenticates upstream, so that its clients need not."""

from __future__ import annotations

import hashlib
import socket
import ssl
from collections.abc import Callable, Mapping
from pathlib import Path

from attrs import field, frozen
from psycopg.conninfo import conninfo_to_dict
from scramp import ScramClient

from lastseat.harness.gate import messages
from lastseat.harness.gate.messages import Message

_OK, _CLEARTEXT, _MD5, _SASL, _SASL_CONTINUE, _SASL_FINAL = 0, 3, 5, 10, 11, 12


class CannotConnect(Exception):
    """The server did not take the connection; ``raw`` is its ErrorResponse, if it sent one."""

    def __init__(self, words: str, raw: bytes = b"") -> None:
        super().__init__(words)
        self.raw = raw


@frozen
class Upstream:
    """Where the server is and who we are there, as the dsn says."""

    host: str
    port: int
    user: str
    dbname: str
    password: str | None = field(default=None, repr=False)
    sslmode: str = "prefer"
    sslrootcert: str | None = None
    timeout: float = 10.0
    """Seconds to wait for the server while connecting."""

    @classmethod
    def parse(cls, dsn: str) -> Upstream:
        """Read a libpq connection string or URL."""
        found = {k: str(v) for k, v in conninfo_to_dict(dsn).items() if v is not None}
        user = found.get("user", "postgres")
        return cls(
            host=found.get("host") or found.get("hostaddr") or "localhost",
            port=int(found.get("port", 5432)),
            user=user,
            dbname=found.get("dbname", user),
            password=found.get("password"),
            sslmode=found.get("sslmode", "prefer"),
            sslrootcert=found.get("sslrootcert"),
        )

    def dial(self) -> socket.socket:
        """A plain connection to the server's port or socket; raises OSError."""
        if self.host.startswith("/"):
            sock = socket.socket(socket.AF_UNIX)
            sock.settimeout(self.timeout)
            try:
                sock.connect(str(Path(self.host, f".s.PGSQL.{self.port}")))
            except OSError:
                sock.close()
                raise
            return sock
        sock = socket.create_connection((self.host, self.port), self.timeout)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock


@frozen
class Session:
    """An authenticated connection: its socket, and the greeting to pass on to the client."""

    sock: socket.socket
    greeting: bytes
    backend_pid: int


def connect(upstream: Upstream, wanted: Mapping[str, str]) -> Session:
    """Open a session with the client's start-up parameters, under our user and database.

    Raises CannotConnect.
    """
    parameters = {**wanted, "user": upstream.user, "database": upstream.dbname}
    try:
        sock = upstream.dial()
        try:
            sock = _encrypt(sock, upstream)
            sock.sendall(messages.startup(parameters))
            return _greet(sock, upstream)
        except BaseException:
            sock.close()
            raise
    except OSError as error:
        raise CannotConnect(f"no connection to {upstream.host}:{upstream.port}: {error}") from error


def cancel(upstream: Upstream, payload: bytes) -> None:
    """Pass a CancelRequest on; the server closes without an answer."""
    with upstream.dial() as sock:
        sock.sendall(messages.untyped(messages.CANCEL_REQUEST, payload))
        sock.recv(1)


def _encrypt(sock: socket.socket, upstream: Upstream) -> socket.socket:
    if upstream.sslmode in {"disable", "allow"} or sock.family == socket.AF_UNIX:
        return sock
    sock.sendall(messages.untyped(messages.SSL_REQUEST))
    if sock.recv(1) != b"S":
        if upstream.sslmode == "prefer":
            return sock
        raise CannotConnect("the server does not speak TLS, and sslmode asks for it")
    context = ssl.create_default_context(cafile=upstream.sslrootcert)
    context.check_hostname = upstream.sslmode == "verify-full"
    if not upstream.sslmode.startswith("verify"):
        context.verify_mode = ssl.CERT_NONE
    return context.wrap_socket(sock, server_hostname=upstream.host)


def _greet(sock: socket.socket, upstream: Upstream) -> Session:
    """Authenticate and read on until the server is ready for a query."""
    incoming = _reader(sock)
    greeting = bytearray()
    authenticate = _Authentication(upstream)
    backend_pid = 0
    while True:
        message = incoming()
        if message.kind == "E":
            raise CannotConnect(str(messages.read_error(message.payload)), message.raw)
        if message.kind == "R":
            reply = authenticate(message.payload)
            if reply is None:
                greeting += message.raw
            elif reply:
                sock.sendall(reply)
            continue
        if message.kind == "K":
            backend_pid = int.from_bytes(message.payload[:4], "big")
        greeting += message.raw
        if message.kind == "Z":
            return Session(sock, bytes(greeting), backend_pid)


def _reader(sock: socket.socket) -> Callable[[], Message]:
    buffer = bytearray()
    ready: list[Message] = []

    def following() -> Message:
        while not ready:
            data = sock.recv(65536)
            if not data:
                raise CannotConnect("the server closed the connection during start-up")
            buffer.extend(data)
            ready.extend(messages.cut(buffer))
        return ready.pop(0)

    return following


class _Authentication:
    """Answers one authentication request after another."""

    def __init__(self, upstream: Upstream) -> None:
        self._user = upstream.user
        self._password = upstream.password
        self._scram: ScramClient | None = None

    def __call__(self, payload: bytes) -> bytes | None:
        """The reply; empty where none is due; None when authentication is over."""
        code, rest = int.from_bytes(payload[:4], "big"), payload[4:]
        if code == _OK:
            return None
        if self._password is None:
            raise CannotConnect("the server asks for a password: put one into the dsn")
        if code == _CLEARTEXT:
            return messages.message("p", self._password.encode() + b"\0")
        if code == _MD5:
            return messages.message("p", self._md5(self._password, rest))
        return self._sasl(code, rest, self._password)

    def _md5(self, password: str, salt: bytes) -> bytes:
        inner = hashlib.md5(f"{password}{self._user}".encode(), usedforsecurity=False).hexdigest()
        outer = hashlib.md5(inner.encode() + salt, usedforsecurity=False).hexdigest()
        return f"md5{outer}".encode() + b"\0"

    def _sasl(self, code: int, rest: bytes, password: str) -> bytes:
        if code == _SASL:
            self._scram = ScramClient(["SCRAM-SHA-256"], self._user, password)
            first = self._scram.get_client_first().encode()
            opening = b"SCRAM-SHA-256\0" + len(first).to_bytes(4, "big") + first
            return messages.message("p", opening)
        if self._scram is not None and code == _SASL_CONTINUE:
            self._scram.set_server_first(rest.decode())
            return messages.message("p", self._scram.get_client_final().encode())
        if self._scram is not None and code == _SASL_FINAL:
            self._scram.set_server_final(rest.decode())
            return b""
        raise CannotConnect(f"the server asks for an authentication we do not know (code {code})")
