"""What a turn is, whatever values stand in it: the same in two runs of one schedule.

An implementation may make values up: row ids, timestamps, the names of savepoints and of prepared
statements. They differ each time, and the statement is the same. So a turn is compared without its
literals and the values of its parameters, but for the ids of the scenario, which are kept where
they stand; and names that a client makes up are numbered in the order of their appearance.

This is for telling whether a schedule came about again. Which turns depend on each other is another
question, and is decided by the values: see ``footprint``.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence

from attrs import Factory, define

from lastseat.harness.gate.sql import tokens
from lastseat.harness.gate.turns import Statement, Turn, shown

_ANY = "?"
_NAMED_FIRST = frozenset({"PREPARE", "EXECUTE", "DEALLOCATE", "DECLARE", "CLOSE", "SAVEPOINT"})
_NAMED_LAST = frozenset({"FETCH", "MOVE", "RELEASE"})
_NO_NAMES = frozenset({"ALL", "TRANSACTION", "PREPARE", "SAVEPOINT", "WORK", "TO"})
_CONTEXT = 3
"""So many words are shown of what differs, from the first that does."""


@define
class Shapes:
    """The shapes of one run's turns. ``ids`` finds the scenario's ids in a text, in their order,
    by the names that the scenario gives them."""

    ids: Callable[[str], Sequence[str]]
    _names: dict[tuple[str, str], int] = Factory(dict)

    def of(self, client: str, turn: Turn) -> str:
        """The shape of a client's next turn. To be asked once for each turn, in their order."""
        return "; ".join(self._statement(client, statement) for statement in turn.statements)

    def _statement(self, client: str, statement: Statement) -> str:
        words = [self._word(client, kind, text) for kind, text in _pattern(statement.sql)]
        values = [self._value(shown(parameter)) for parameter in statement.parameters]
        return " ".join([*words, *([f"[{', '.join(values)}]"] if values else [])])

    def _word(self, client: str, kind: str, text: str) -> str:
        if kind == "value":
            return self._value(text)
        if kind == "name":
            number = self._names.setdefault((client, text), len(self._names) + 1)
            return f"name-{number}"
        return text

    def _value(self, text: str) -> str:
        return "NULL" if text == "NULL" else " ".join(self.ids(text)) or _ANY


@functools.lru_cache(maxsize=4096)
def _pattern(sql: str) -> tuple[tuple[str, str], ...]:
    """The words of a statement, each a ``value``, a ``name`` that is made up, or itself."""
    found = list(tokens(sql))
    named = _made_up(found)
    return tuple(
        ("name", text.strip('"')) if number == named else (_kind(kind, text), text)
        for number, (kind, text) in enumerate(found)
    )


def _kind(kind: str, text: str) -> str:
    if kind == "number":
        return "itself" if text.startswith("$") else "value"
    # What stands between dollars is mostly code.
    return "value" if kind == "string" and not text.startswith("$") else "itself"


def _made_up(found: Sequence[tuple[str, str]]) -> int | None:
    """Where the name of a savepoint, a prepared statement or a cursor stands."""
    words = [text.upper() if kind == "word" else "" for kind, text in found]
    first = words[0] if words else ""
    places = [
        number
        for number, (kind, _) in enumerate(found)
        if number and kind in {"word", "quoted"} and words[number] not in _NO_NAMES
    ]
    if first in _NAMED_FIRST:
        return next(iter(places), None)
    if first in _NAMED_LAST or (first in {"ROLLBACK", "ABORT"} and "TO" in words):
        return next(reversed(places), None)
    return None


def difference(recorded: str, met: str) -> str:
    """Where two shapes begin to differ, in words."""
    before, after = recorded.split(), met.split()
    at = next(_unlike(before, after), min(len(before), len(after)))
    return f"«{_from(after, at)}» in the place of «{_from(before, at)}»"


def _unlike(before: Sequence[str], after: Sequence[str]) -> Iterator[int]:
    return (n for n, (a, b) in enumerate(zip(before, after, strict=False)) if a != b)


def _from(words: Sequence[str], at: int) -> str:
    return " ".join(words[at : at + _CONTEXT]) or "nothing more"
