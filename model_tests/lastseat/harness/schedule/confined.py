"""Does a statement look only at rows that it names? Read from its text, and in doubt it does not.

Every part of it that reads a relation must compare something with a value, once for each relation:
``WHERE id = $1``. What is compared with another column only (a correlated subquery, a join that
leads on to rows which nobody named) or with nothing may be any row.
"""

from __future__ import annotations

import functools

from attrs import define

from lastseat.harness.gate.sql import tokens

_RELATION_FOLLOWS = frozenset({"FROM", "JOIN"})
_LIST_ENDS = frozenset({"WHERE", "ON", "GROUP", "ORDER", "SET", "FOR", "RETURNING", "LIMIT"})
_LOCKS = frozenset({"FOR", "KEY", "DO"})
"""Before UPDATE: it is no statement of its own then."""


@define
class _Part:
    """A statement or a subquery: what stands between its parentheses, without those inside."""

    relations: int = 0
    named: int = 0
    listing: bool = False
    setting: bool = False


@functools.lru_cache(maxsize=4096)
def confined(sql: str) -> bool:
    """Is each relation in each part of it restricted by a value of its own?"""
    found = [*tokens(sql), ("", "")]
    parts, done = [_Part()], []
    for number, (kind, text) in enumerate(found[:-1]):
        word = text.upper() if kind == "word" else ""
        before = found[number - 1][1].upper() if number else ""
        part = parts[-1]
        if text == "(":
            parts.append(_Part())
        elif text == ")" and len(parts) > 1:
            done.append(parts.pop())
        elif word in _RELATION_FOLLOWS:
            part.relations += found[number + 1][1] != "("
            part.listing, part.setting = word == "FROM", False
        elif word == "UPDATE" and before not in _LOCKS:
            part.relations += 1
        elif word in _LIST_ENDS:
            part.listing, part.setting = False, word == "SET"
        elif text == "," and part.listing:
            part.relations += found[number + 1][1] != "("
        elif kind in {"number", "string"}:
            part.named += before == "=" and not part.setting
    return all(part.relations <= part.named for part in (*done, *parts))
