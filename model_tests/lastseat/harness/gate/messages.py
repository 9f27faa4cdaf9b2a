"""Messages of PostgreSQL's frontend/backend protocol 3: framing, and the few fields we read.

A message is one type byte, a big-endian length that includes itself, and a payload. Only the first
packet of a connection has no type byte.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping

from attrs import frozen

PROTOCOL_3_0 = 196608
FRONTEND = frozenset("QPBEDSHCFXdcf")
"""What a client may send once it is in; the password that let it in is not among it."""

SSL_REQUEST = 80877103
GSSENC_REQUEST = 80877104
CANCEL_REQUEST = 80877102

_LENGTH = struct.Struct("!i")
_MAX_STARTUP = 10_000


class BadFraming(Exception):
    """The bytes are not PostgreSQL's protocol."""


@frozen
class Message:
    """One framed message; ``raw`` holds all its bytes, ready to be passed on."""

    kind: str
    raw: bytes

    @property
    def payload(self) -> bytes:
        return self.raw[5:]


@frozen
class ServerError:
    """An ErrorResponse: its severity decides whether the session survives it."""

    severity: str
    sqlstate: str
    message: str
    constraint: str | None = None

    def __str__(self) -> str:
        return f"{self.severity} {self.sqlstate}: {self.message}"


def cut(buffer: bytearray, kinds: frozenset[str] | None = None) -> Iterator[Message]:
    """Take the complete messages from the front of ``buffer``, one by one.

    Raises BadFraming, also for a message that is not of these ``kinds``: its length is no length.
    """
    while (message := cut_first(buffer, kinds)) is not None:
        yield message


def cut_first(buffer: bytearray, kinds: frozenset[str] | None = None) -> Message | None:
    """Take the first message from the front of ``buffer``; None while it is incomplete."""
    if len(buffer) < 5:
        return None
    kind = chr(buffer[0])
    if kinds is not None and kind not in kinds:
        raise BadFraming(f"message of the unknown type {kind!r}")
    (length,) = _LENGTH.unpack_from(buffer, 1)
    if length < 4:
        raise BadFraming(f"message of length {length}")
    if len(buffer) <= length:
        return None
    raw = bytes(buffer[: 1 + length])
    del buffer[: 1 + length]
    return Message(kind, raw)


def cut_startup(buffer: bytearray) -> tuple[int, bytes] | None:
    """Take the untyped first packet: its code and payload; None while it is incomplete."""
    if len(buffer) < 8:
        return None
    (length,) = _LENGTH.unpack_from(buffer)
    if not 8 <= length <= _MAX_STARTUP:
        raise BadFraming(f"first packet of length {length}")
    if len(buffer) < length:
        return None
    (code,) = _LENGTH.unpack_from(buffer, 4)
    payload = bytes(buffer[8:length])
    del buffer[:length]
    return code, payload


def message(kind: str, payload: bytes = b"") -> bytes:
    """The bytes of one typed message."""
    return kind.encode() + _LENGTH.pack(len(payload) + 4) + payload


def query(sql: str) -> bytes:
    """A simple Query."""
    return message("Q", sql.encode() + b"\0")


def untyped(code: int, payload: bytes = b"") -> bytes:
    """A first packet: StartupMessage, SSLRequest, CancelRequest."""
    return _LENGTH.pack(len(payload) + 8) + _LENGTH.pack(code) + payload


def startup(parameters: Mapping[str, str], version: int = PROTOCOL_3_0) -> bytes:
    """A StartupMessage."""
    pairs = b"".join(f"{name}\0{value}\0".encode() for name, value in parameters.items())
    return untyped(version, pairs + b"\0")


def read_parameters(payload: bytes) -> dict[str, str]:
    """The parameters of a StartupMessage."""
    words = payload.decode("utf-8", "replace").split("\0")
    pairs = zip(words[0::2], words[1::2], strict=False)
    return {name: value for name, value in pairs if name}


def read_error(payload: bytes) -> ServerError:
    """The fields of an ErrorResponse that classification needs."""
    fields = {part[:1]: part[1:].decode("utf-8", "replace") for part in payload.split(b"\0")}
    return ServerError(
        # V is the severity that no locale translates; servers before 9.6 send S only.
        severity=fields.get(b"V", fields.get(b"S", "ERROR")),
        sqlstate=fields.get(b"C", ""),
        message=fields.get(b"M", ""),
        constraint=fields.get(b"n"),
    )


def text(payload: bytes, start: int = 0) -> tuple[str, int]:
    """A zero-terminated string at ``start``, and where the next field begins."""
    end = payload.index(b"\0", start)
    return payload[start:end].decode("utf-8", "replace"), end + 1


def error(severity: str, sqlstate: str, words: str) -> bytes:
    """An ErrorResponse of our own, for errors that end the connection."""
    fields = {"S": severity, "V": severity, "C": sqlstate, "M": words}
    return message("E", b"".join(f"{k}{v}".encode() + b"\0" for k, v in fields.items()) + b"\0")
