"""A connection of our own, for the few questions that every schedule asks the server.

They are asked a hundred thousand times, so they are prepared, and libpq's own calls are used: a
cursor would take more time than the server does to answer.
"""

from __future__ import annotations

import select
from collections.abc import Iterable
from types import TracebackType
from typing import Self

import psycopg
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGresult

from lastseat.harness.mistakes import Mistake

_ANSWERED = frozenset({ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK})


SILENCE_SECONDS = 120
"""How long a server may be silent when it is asked something; its answers take milliseconds."""


class SilentServer(Mistake):
    """The server is connected, and says nothing."""


class Asking:
    """Questions in PostgreSQL's own notation ($1), parameters and answers as text.

    Each is a transaction by itself. Raises psycopg.Error. ``asked``: how many there have been.
    """

    def __init__(self, dsn: str, *, catalog_only: bool = False) -> None:
        """With ``catalog_only`` no name means anything but what is PostgreSQL's own: a superuser
        must not call by mistake what others have made."""
        self._connection = psycopg.connect(dsn, autocommit=True)
        if catalog_only:
            self._connection.execute("SET search_path = pg_catalog")
        self._libpq = self._connection.pgconn
        self._arrived = select.poll()
        self._arrived.register(self._libpq.socket, select.POLLIN)
        self._names: dict[str, bytes] = {}
        self.asked = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def ask(self, question: str, *parameters: str) -> list[tuple[str | None, ...]]:
        """The rows of the answer."""
        self.asked += 1
        name = self._names.get(question) or self._prepare(question)
        self._libpq.send_query_prepared(name, [parameter.encode() for parameter in parameters])
        found = self._answer()
        return [
            tuple(_text(found.get_value(row, column)) for column in range(found.nfields))
            for row in range(found.ntuples)
        ]

    def close(self) -> None:
        self._connection.close()

    def _prepare(self, question: str) -> bytes:
        name = str(len(self._names)).encode()
        self._libpq.send_prepare(name, question.encode())
        self._answer()
        self._names[question] = name
        return name

    def _answer(self) -> PGresult:
        while self._libpq.is_busy():
            self._await()  # and not in libpq, where Ctrl-C would not be heard
            self._libpq.consume_input()
        found = self._libpq.get_result()
        assert found is not None
        while self._libpq.get_result() is not None:
            pass
        if found.status not in _ANSWERED:
            raise psycopg.errors.error_from_result(found)
        return found

    def _await(self) -> None:
        """Wait for more of the answer. Seconds are counted one by one, so that the time in which
        this process was stopped is not the server's."""
        for _ in range(SILENCE_SECONDS):
            if self._arrived.poll(1000):
                return
        raise SilentServer(f"the server has not answered a question for {SILENCE_SECONDS} s")


def array(numbers: Iterable[int]) -> str:
    """An array of them, as text."""
    return "{" + ",".join(map(str, numbers)) + "}"


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode()
