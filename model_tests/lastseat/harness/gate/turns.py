"""Client turns: what a client sends before it waits for an answer.

A turn ends at Query, Sync or Flush, or FunctionCall. In the extended protocol the text of a
statement (Parse), its parameters (Bind) and its execution (Execute) are separate messages, often in
separate turns: names are remembered per connection, and a statement counts where it is executed.
"""

from __future__ import annotations

import struct
import uuid
from collections.abc import Iterator

from attrs import Factory, define, evolve, frozen

from lastseat.harness.gate import messages
from lastseat.harness.gate.messages import BadFraming, Message
from lastseat.harness.gate.sql import executed_statement, kept_statement, one_line, split

_ENDS_A_TURN = frozenset("QSHF")
_SHORT = struct.Struct("!h")
_INT = struct.Struct("!i")


@frozen
class Statement:
    """One execution: the text as the client sent it, and its parameters (bytes if binary)."""

    sql: str
    parameters: tuple[str | bytes | None, ...] = ()
    kept: str | None = None
    """Of an EXECUTE in SQL, the text that PREPARE kept under that name."""

    @property
    def meant(self) -> str:
        """The text of what is executed."""
        return self.kept or self.sql

    def __str__(self) -> str:
        words = one_line(self.sql)
        values = ", ".join(map(shown, self.parameters))
        return f"{words} [{values}]" if values else words


def shown(parameter: str | bytes | None) -> str:
    """A parameter for people; the type of a binary one is guessed from what it looks like."""
    if not isinstance(parameter, bytes):
        return "NULL" if parameter is None else parameter
    text = parameter.decode("utf-8", "replace")
    if text.isprintable() and "\N{REPLACEMENT CHARACTER}" not in text:
        return text
    if len(parameter) in {2, 4, 8}:
        return str(int.from_bytes(parameter, "big", signed=True))
    return str(uuid.UUID(bytes=parameter)) if len(parameter) == 16 else parameter.hex()


@frozen
class Turn:
    """One client turn: its number on the connection, its messages, what it executes."""

    number: int
    messages: tuple[Message, ...]
    statements: tuple[Statement, ...]

    @property
    def raw(self) -> bytes:
        return b"".join(message.raw for message in self.messages)

    @property
    def ends_with(self) -> str:
        """Q, S, H (Flush) or F (FunctionCall); of an unfinished turn, whatever came last."""
        return self.messages[-1].kind

    @property
    def replies(self) -> int:
        """Of how many messages its answer consists, unless there are rows, or an error."""
        asked = sum(message.kind in "PBDECS" for message in self.messages)
        return asked + (len(self.statements) + 1 if self.ends_with == "Q" else 0)

    def __str__(self) -> str:
        return "; ".join(map(str, self.statements)) or "nothing to execute"


@define
class Cutter:
    """Cuts one connection's stream of client messages into turns."""

    _texts: dict[str, str] = Factory(dict)
    _portals: dict[str, Statement] = Factory(dict)
    _pending: list[Message] = Factory(list)
    _statements: list[Statement] = Factory(list)
    _number: int = 0

    def feed(self, message: Message) -> Turn | None:
        """Take one client message; the turn, if it ends one. Raises BadFraming."""
        try:
            self._read(message)
        except (ValueError, struct.error) as error:
            raise BadFraming(f"a message {message.kind!r} that ends too early") from error
        self._pending.append(message)
        return self._take() if message.kind in _ENDS_A_TURN else None

    def rest(self) -> Turn | None:
        """What came after the last turn, if it would execute anything: a turn without its end."""
        return self._take() if self._statements else None

    def _take(self) -> Turn:
        self._number += 1
        turn = Turn(self._number, tuple(self._pending), tuple(self._statements))
        self._pending.clear()
        self._statements.clear()
        return turn

    def _read(self, message: Message) -> None:
        payload = message.payload
        if message.kind == "Q":
            sql, _ = messages.text(payload)
            for part in split(sql):
                self._execute(Statement(part))
        elif message.kind == "P":
            name, after = messages.text(payload)
            self._texts[name], _ = messages.text(payload, after)
        elif message.kind == "B":
            portal, after = messages.text(payload)
            name, after = messages.text(payload, after)
            sql = self._texts.get(name, _unheard_of(name))
            self._portals[portal] = Statement(sql, tuple(_parameters(payload, after)))
        elif message.kind == "E":
            portal, _ = messages.text(payload)
            self._execute(self._portals.get(portal, Statement(_unheard_of(portal))))

    def _execute(self, statement: Statement) -> None:
        """PREPARE in SQL and Parse in the protocol name their statements in one space."""
        keeps = kept_statement(statement.sql)
        if keeps is not None:
            self._texts[keeps[0]] = keeps[1]
        name = executed_statement(statement.sql)
        kept = self._texts.get(name) if name is not None else None
        self._statements.append(evolve(statement, kept=kept) if kept else statement)


def _unheard_of(name: str) -> str:
    """Prepared or declared in SQL, where the protocol does not tell its text."""
    return f'EXECUTE "{name}"'


def _parameters(payload: bytes, at: int) -> Iterator[str | bytes | None]:
    """The values in a Bind message, whose format codes begin at ``at``."""
    codes, at = _shorts(payload, at)
    (count,) = _SHORT.unpack_from(payload, at)
    at += 2
    for index in range(count):
        (length,) = _INT.unpack_from(payload, at)
        at += 4
        if length < 0:
            yield None
            continue
        value = payload[at : at + length]
        at += length
        # No code: all text. One code: it holds for all.
        code = codes[index] if len(codes) > 1 else (codes or [0])[0]
        yield value if code else value.decode("utf-8", "replace")


def _shorts(payload: bytes, at: int) -> tuple[list[int], int]:
    (count,) = _SHORT.unpack_from(payload, at)
    at += 2
    return [_SHORT.unpack_from(payload, at + 2 * i)[0] for i in range(count)], at + 2 * count


@frozen
class Answer:
    """What the server said to one turn.

    ``tags``: one for each statement that was executed, in their order; "suspended" where a row
    limit stopped it, "empty" for an empty one. What stands behind them was not executed.
    ``status`` is the transaction status of the closing ReadyForQuery (I idle, T in a transaction,
    E in a failed one); None if it did not come, since the turn ended in Flush.
    """

    tags: tuple[str, ...]
    error: messages.ServerError | None
    status: str | None
    rows: int = 0

    def __str__(self) -> str:
        """For people: the tags and the error."""
        said = [*self.tags, *([str(self.error)] if self.error else [])]
        return ", ".join(said) or "done"
