"""A booking's id in all forms in which a statement may name it."""

from __future__ import annotations

import re
import uuid
from typing import Self

from attrs import frozen

from lastseat.harness.gate.turns import Statement

_WORD = re.compile(r"[A-Za-z0-9_-]+")
_LONGEST_NUMBER = 8  # bytes; what is longer and binary may be an array, or text


@frozen
class Ids:
    """One id: as a word, and as the bytes that stand for it in a binary parameter."""

    word: str
    binary: tuple[bytes, ...] = ()

    @classmethod
    def of(cls, word: str) -> Self:
        """The forms of an id, which is a text, a uuid or an integer."""
        return cls(word, (word.encode(), *_as_uuid(word), *_as_integer(word)) if word else ())

    def named_in(self, statement: Statement) -> bool:
        """Whether a statement names it, in its text or in a parameter, also in an array."""
        if self.word in _WORD.findall(str(statement)):
            return True
        long = (
            value
            for value in statement.parameters
            if isinstance(value, bytes) and len(value) > _LONGEST_NUMBER
        )
        return any(form in value for value in long for form in self.binary)


def _as_uuid(word: str) -> tuple[bytes, ...]:
    try:
        return (uuid.UUID(word).bytes,)
    except ValueError:
        return ()


def _as_integer(word: str) -> tuple[bytes, ...]:
    if not word.isdecimal() or int(word) >= 1 << 63:
        return ()
    sizes = (4, 8) if int(word) < 1 << 31 else (8,)
    return tuple(int(word).to_bytes(size, "big") for size in sizes)
