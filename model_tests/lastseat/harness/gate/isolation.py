"""The isolation level of a connection's transactions, as far as its statements tell.

A level that comes from elsewhere (a function that sets it, the options of a start-up packet) is not
seen; the session's default is then taken to hold.
"""

from __future__ import annotations

import enum
import re

from attrs import define, field

_LEVEL = r"(SERIALIZABLE|REPEATABLE\s+READ|READ\s+(?:UN)?COMMITTED)"
_NAMED = re.compile(rf"ISOLATION\s+LEVEL\s+{_LEVEL}", re.IGNORECASE)
_SET = re.compile(rf"(DEFAULT_)?TRANSACTION_ISOLATION\b\W.*?{_LEVEL}", re.IGNORECASE | re.DOTALL)
_DEFAULT = re.compile(r"\bSESSION\s+CHARACTERISTICS\b", re.IGNORECASE)
_FORGOTTEN = re.compile(
    r"\s*(?:DISCARD\s+ALL|RESET\s+(?:ALL|DEFAULT_TRANSACTION_ISOLATION))", re.IGNORECASE
)


class Level(enum.IntEnum):
    """An isolation level; READ UNCOMMITTED is READ COMMITTED in PostgreSQL."""

    READ_COMMITTED = 1
    REPEATABLE_READ = 2
    SERIALIZABLE = 3

    @classmethod
    def parse(cls, words: str) -> Level:
        """The level of this name, as SQL and the settings write it."""
        first = words.split(maxsplit=1)[0].upper()
        return {"SERIALIZABLE": cls.SERIALIZABLE, "REPEATABLE": cls.REPEATABLE_READ}.get(
            first, cls.READ_COMMITTED
        )


@define
class Isolation:
    """The levels of one session; ``start`` is that which its server gave it."""

    start: Level = Level.READ_COMMITTED
    _default: Level = field(init=False)
    _current: Level | None = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self._default = self.start

    @property
    def level(self) -> Level:
        """That of the transaction that is open, or of the next one."""
        return self._default if self._current is None else self._current

    def heard(self, statement: str) -> None:
        """Take what a statement, shown with its parameters, says of the level."""
        if _FORGOTTEN.match(statement):
            self._default = self.start
        elif (named := _NAMED.search(statement)) is not None:
            self._take(Level.parse(named[1]), default=bool(_DEFAULT.search(statement)))
        elif (given := _SET.search(statement)) is not None:
            self._take(Level.parse(given[2]), default=given[1] is not None)

    def ended(self) -> None:
        """No transaction is open any more."""
        self._current = None

    def _take(self, level: Level, *, default: bool) -> None:
        if default:
            self._default = level
        else:
            self._current = level
