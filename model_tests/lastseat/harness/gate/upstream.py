"""The gate's own way to the server: it authenticates there, so that its clients need not."""

from __future__ import annotations

import hashlib
import socket
import ssl
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import quote, urlencode

from attrs import field, frozen
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.pq import Conninfo
from scramp import ScramClient, ScramException

from lastseat.harness.gate import messages
from lastseat.harness.gate.messages import BadFraming, Message, ServerError

_CANCEL_PATIENCE = 1.0  # seconds to reach the server with a CancelRequest
_OK, _CLEARTEXT, _MD5, _SASL, _SASL_CONTINUE, _SASL_FINAL = 0, 3, 5, 10, 11, 12


class CannotConnect(Exception):
    """The server did not take the connection; ``raw`` is its ErrorResponse, if it sent one."""

    def __init__(self, words: str, raw: bytes = b"") -> None:
        super().__init__(words)
        self.raw = raw

    @property
    def error(self) -> ServerError | None:
        """What the server answered, if it did."""
        return messages.read_error(self.raw[5:]) if self.raw else None


@frozen
class Upstream:
    """Where the server is and who we are there, as the dsn says."""

    places: tuple[tuple[str, int], ...]
    """Hosts, or folders of a socket, and ports; tried in this order."""
    user: str
    dbname: str
    password: str | None = field(default=None, repr=False)
    sslmode: str = "prefer"
    sslrootcert: str | None = None
    options: str = ""
    """Settings for every session, as the dsn's ``options`` gives them."""
    timeout: float = 10.0
    """Seconds to wait for the server at each step while connecting; nothing else goes on then."""

    @classmethod
    def parse(cls, dsn: str) -> Upstream:
        """Read a libpq connection string or URL, completed from PGHOST, PGUSER and so on.

        Raises psycopg.ProgrammingError if it is neither, ValueError for what is no port.
        """
        defaults = {o.keyword.decode(): o.val for o in Conninfo.get_defaults()}
        found = {name: value.decode() for name, value in defaults.items() if value}
        given = conninfo_to_dict(dsn)
        found |= {name: str(value) for name, value in given.items() if value not in {None, ""}}
        hosts = (found.get("host") or found.get("hostaddr") or "localhost").split(",")
        ports = found.get("port", "5432").split(",")
        if len(ports) == 1:
            ports *= len(hosts)
        return cls(
            places=tuple((host, int(port)) for host, port in zip(hosts, ports, strict=True)),
            user=found["user"],
            dbname=found.get("dbname", found["user"]),
            password=found.get("password"),
            sslmode=found.get("sslmode", "prefer"),
            sslrootcert=found.get("sslrootcert"),
            options=found.get("options", ""),
        )

    @property
    def where(self) -> str:
        """The places for people."""
        return ", ".join(f"{host}:{port}" for host, port in self.places)

    @property
    def url(self) -> str:
        """The same for a client of any driver, which knows less than libpq.

        A socket's folder stands percent-encoded in the host's place.
        """
        who = quote(self.user, safe="")
        if self.password is not None:
            who += ":" + quote(self.password, safe="")
        where = ",".join(f"{_in_url(host)}:{port}" for host, port in self.places)
        more = {"sslmode": self.sslmode, "sslrootcert": self.sslrootcert, "options": self.options}
        given = urlencode({name: value for name, value in more.items() if value}, quote_via=quote)
        return f"postgresql://{who}@{where}/{quote(self.dbname, safe='')}?{given}"

    def dial(self, patience: float | None = None) -> tuple[socket.socket, str]:
        """A plain connection to the server's port or socket, and the host; raises OSError."""
        failed: OSError | None = None
        for host, port in self.places:
            try:
                return _dial(host, port, patience or self.timeout), host
            except OSError as error:
                failed = error
        assert failed is not None
        raise failed


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else quote(host, safe="")


def _dial(host: str, port: int, timeout: float) -> socket.socket:
    if not host.startswith("/"):
        sock = socket.create_connection((host, port), timeout)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock
    sock = socket.socket(socket.AF_UNIX)
    try:
        sock.settimeout(timeout)
        sock.connect(str(Path(host, f".s.PGSQL.{port}")))
    except OSError:
        sock.close()
        raise
    return sock


def entering_as(dsn: str, other: str) -> str:
    """The way that ``dsn`` says, for the user and with the password and options of ``other``."""
    they = Upstream.parse(other)
    return make_conninfo(dsn, user=they.user, password=they.password, options=they.options)


@frozen
class Session:
    """An authenticated connection: its socket, and the greeting to pass on to the client."""

    sock: socket.socket
    greeting: bytes
    backend_pid: int
    """0 where the server sent no BackendKeyData."""
    more: bytes = b""
    """What the server had said behind the greeting by then."""
    key: bytes = b""
    """What a CancelRequest for it must show; empty where the server sent no BackendKeyData."""


def connect(
    upstream: Upstream, wanted: Mapping[str, str], version: int = messages.PROTOCOL_3_0
) -> Session:
    """Open a session with the client's start-up parameters, under our user and database.

    The protocol's version is the client's, and it is the server that negotiates it.
    Raises CannotConnect.
    """
    parameters = {**wanted, "user": upstream.user, "database": upstream.dbname}
    if upstream.options:
        # The later setting wins, and the client's is the more specific one.
        parameters["options"] = f"{upstream.options} {wanted.get('options', '')}".strip()
    try:
        sock, host = upstream.dial()
        try:
            sock = _encrypt(sock, host, upstream)
            sock.sendall(messages.startup(parameters, version))
            return _greet(sock, upstream)
        except BaseException:
            sock.close()
            raise
    except (OSError, ScramException, BadFraming, ValueError) as error:
        raise CannotConnect(f"no connection to {upstream.where}: {error}") from error


def cancel(upstream: Upstream, payload: bytes) -> socket.socket:
    """Pass a CancelRequest on; the server closes without an answer. Raises OSError."""
    sock, _ = upstream.dial(_CANCEL_PATIENCE)
    try:
        sock.sendall(messages.untyped(messages.CANCEL_REQUEST, payload))
    except OSError:
        sock.close()
        raise
    return sock


def _encrypt(sock: socket.socket, host: str, upstream: Upstream) -> socket.socket:
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
    return context.wrap_socket(sock, server_hostname=host)


def _greet(sock: socket.socket, upstream: Upstream) -> Session:
    """Authenticate and read on until the server is ready for a query."""
    buffer = bytearray()
    incoming = _messages(sock, buffer)
    greeting = bytearray()
    authenticate = _Authentication(upstream)
    key = b""
    for message in incoming:
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
            key = message.payload
        greeting += message.raw
        if message.kind == "Z":
            pid = int.from_bytes(key[:4], "big")
            return Session(sock, bytes(greeting), pid, bytes(buffer), key)
    raise CannotConnect("the server closed the connection during start-up")


def _messages(sock: socket.socket, buffer: bytearray) -> Iterator[Message]:
    """The server's messages to the end of its stream; ``buffer`` holds what was not taken yet."""
    while data := sock.recv(65536):
        buffer += data
        while (message := messages.cut_first(buffer)) is not None:
            yield message


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
        if code == _SASL and b"SCRAM-SHA-256" in rest.split(b"\0"):
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
