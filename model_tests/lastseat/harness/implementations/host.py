"""Hosts a Python factory behind adapter protocol 1.

``python -m lastseat.harness.implementations.host package.module:name`` reads requests from its
standard input and writes replies to its standard output. It imports nothing of the harness but
this, so that a client starts fast.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import json
import os
import platform
import sys
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import IO, Any

_RESULT_KEYS = ("outcome", "cause", "in_doubt", "detail")


class Host:
    """One client: a factory, and the object it made once it was told where to connect."""

    def __init__(self, factory: str) -> None:
        self._name = factory
        module, _, name = factory.partition(":")
        if not name:
            raise SystemExit(f"{factory!r} is not of the form package.module:name")
        self._module: ModuleType = importlib.import_module(module)
        self._factory = getattr(self._module, name)
        self._made: Any = None
        self._runner: asyncio.Runner | None = None

    def reply(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """The reply to one request, without its seq."""
        handlers: dict[Any, Callable[[Mapping[str, Any]], dict[str, Any] | None]] = {
            "start": self._start,
            "prepare": self._prepare,
            "declare": self._declare,
            "connect": self._connect,
            "stop": self._stop,
        }
        command = request.get("cmd")
        try:
            if command == "attempt":
                return self._attempt(request)
            if command not in handlers:
                raise LookupError(f"unknown command {command!r}")
            return {"result": handlers[command](request) or {}}
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told
            return {"errored": {"message": f"{type(error).__name__}: {error}"}}

    def _start(self, request: Mapping[str, Any]) -> dict[str, Any]:
        if request.get("protocol") != 1:
            raise ValueError(f"protocol {request.get('protocol')!r} is not spoken here, 1 is")
        return {
            "implementation": {
                "name": self._name,
                "language": "Python",
                "version": platform.python_version(),
            },
            "mechanism": inspect.getdoc(self._factory) or self._name,
            "promises": list(self._offered("PROMISES", ())),
            "ids": self._offered("IDS", "text"),
            "audit": dict(self._offered("AUDIT")),
        }

    def _prepare(self, request: Mapping[str, Any]) -> None:
        self._finished(self._offered("prepare")(request["dsn"]))

    def _declare(self, request: Mapping[str, Any]) -> None:
        args = request["dsn"], request["resource_id"], request["capacity"]
        self._finished(self._offered("declare")(*args))

    def _offered(self, name: str, *default: Any) -> Any:
        """What goes with the factory: its module offers it, or else the factory itself."""
        if hasattr(self._module, name):
            return getattr(self._module, name)
        return getattr(self._factory, name, *default)

    def _connect(self, request: Mapping[str, Any]) -> None:
        self._close()
        made = self._factory(request["dsn"], request["deadline_ms"] / 1000)
        self._made = self._finished(made)

    def _attempt(self, request: Mapping[str, Any]) -> dict[str, Any]:
        if self._made is None:
            raise RuntimeError("attempt before connect")
        asked = (request["booking_id"], request["resource_id"], request["requested_units"])
        try:
            result = self._finished(self._made.attempt_booking(*asked))
        except BaseException as error:  # noqa: BLE001 - what escapes an attempt is judged
            doubt = bool(getattr(error, "in_doubt", False))
            return {"raised": {"message": f"{type(error).__name__}: {error}", "in_doubt": doubt}}
        return {"result": _as_mapping(result)}

    def _stop(self, _: Mapping[str, Any]) -> None:
        self.end()

    def end(self) -> None:
        """Close what was made, and the event loop. May be called again."""
        try:
            self._close()
        finally:
            if self._runner is not None:
                self._runner.close()
                self._runner = None

    def _close(self) -> None:
        made, self._made = self._made, None
        if made is not None:
            self._finished(made.close())

    def _finished(self, value: Any) -> Any:
        """The value, or what the coroutine returns: one event loop serves a client's whole life."""
        if not inspect.isawaitable(value):
            return value
        if self._runner is None:
            self._runner = asyncio.Runner()

        async def finish() -> Any:
            return await value

        return self._runner.run(finish())


def _as_mapping(result: Any) -> dict[str, Any]:
    if isinstance(result, Mapping):
        found = {key: result[key] for key in _RESULT_KEYS if key in result}
    else:
        found = {key: getattr(result, key) for key in _RESULT_KEYS if hasattr(result, key)}
    plain = {key: getattr(value, "value", value) for key, value in found.items()}
    return {key: value for key, value in plain.items() if value is not None}


def serve(factory: str, incoming: IO[bytes], outgoing: IO[bytes]) -> None:
    """Answer requests until ``stop`` or the end of the stream."""
    host = Host(factory)
    try:
        for line in incoming:
            request = json.loads(line)
            reply = {"seq": request.get("seq"), **host.reply(request)}
            outgoing.write(json.dumps(reply).encode() + b"\n")
            outgoing.flush()
            if request.get("cmd") == "stop":
                return
    finally:
        host.end()


def main() -> None:
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    # What the implementation prints must not fall between the replies.
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    if not sys.flags.safe_path:
        sys.path.insert(0, "")
    serve(sys.argv[1], sys.stdin.buffer, replies)


if __name__ == "__main__":
    main()
