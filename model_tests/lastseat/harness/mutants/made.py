"""Wrong implementations made from right ones, mechanically: one small change each.

An operator is a pattern and what it is replaced by, applied to the text of a right implementation
at each place where it fits. A mutant is named after its origin, the operator, and the place; it is
made anew, from that name, in the process that hosts it.
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
from collections.abc import Iterator
from functools import cache
from types import ModuleType
from typing import Any

from attrs import frozen

from lastseat.harness.mistakes import Mistake
from lastseat.harness.mutants import caller, conforming
from lastseat.harness.mutants.catalogue import ALL_RULES, CONFORMING, Mutant


class UnknownMutant(Mistake):
    """None has that name."""


@frozen
class Operator:
    """Replaces ``pattern``, a regular expression, at every place where it fits, one at a time."""

    name: str
    pattern: str
    replacement: str


_STATEMENT = r"(?!if |else|try|except|return |raise |with |for |def |class |@)[^\s].*"

OPERATORS = (
    # Locks and isolation.
    Operator("drop-lock", r" FOR NO KEY UPDATE", ""),
    Operator("weaken-lock", r"SHARE ROW EXCLUSIVE", "ROW EXCLUSIVE"),
    Operator("lower-isolation", r"BEGIN ISOLATION LEVEL \w+(?: READ)?", "BEGIN"),
    Operator("session-lock", r"pg_advisory_xact_lock\(", "pg_try_advisory_xact_lock("),
    # Predicates.
    Operator("drop-room", r" AND booked \+ %s <= capacity", " AND %s::bigint IS NOT NULL"),
    Operator("drop-version", r" AND version = %s", " AND %s::bigint IS NOT NULL"),
    Operator("keep-version", r", version = version \+ 1", ""),
    Operator(
        "drop-absence",
        r"AND NOT EXISTS \(SELECT FROM booking WHERE booking_id = %s\)",
        "AND %s::text IS NOT NULL",
    ),
    Operator("full-too-early", r"<= capacity", "< capacity"),
    Operator("full-too-early", r"(db\.value\(TAKEN, resource\)) \+ units >", r"\1 + units >="),
    Operator("full-too-early", r"room < units_", "room <= units_"),
    Operator("any-units", r"\+ units > capacity", "+ 1 > capacity"),
    Operator("any-units", r"room < units_", "room < 1"),
    Operator("never-full", r"\+ units > capacity", "> capacity"),
    Operator("must-be-new", r" \+ ' ON CONFLICT DO NOTHING'", ""),
    # Checks of what came back.
    Operator("drop-count", r"rowcount == 0", "rowcount < 0"),
    Operator("drop-count", r"rowcount == 1", "rowcount >= 0"),
    Operator("drop-tag", r" if tag == 'COMMIT' else INFRASTRUCTURE", ""),
    Operator("drop-comparison", r"own is not None and own != \(resource_id, units\)", "False"),
    # Statements: left out, swapped, moved out of the transaction.
    Operator("drop-check", r"(?m)^( +)if .*:\n\1    (?:return|raise) .*\n", ""),
    Operator("drop-statement", r"(?m)^( +)(?:db|self|database)\.[\w.]+\(.*\)$", r"\1pass"),
    Operator("drop-assignment", r"(?m)^( +)(?:db|self|database)\.committing = \w+$", r"\1pass"),
    Operator(
        "swap",
        rf"(?m)^( +)({_STATEMENT})\n\1({_STATEMENT})$",
        r"\1\3\n\1\2",
    ),
    Operator(
        "check-first",
        rf"(?m)^( +)({_STATEMENT})\n(\1if .*:\n\1    return .*)$",
        r"\3\n\1\2",
    ),
    Operator(
        "write-behind-commit",
        r"(?m)^( +)(db\.execute\(INSERT.*\))\n\1return db\.commit\(\)$",
        r"\1answer = db.commit()\n\1\2\n\1return answer",
    ),
    Operator(
        "commit-before-count",
        r"(?m)^( +)if db\.execute\((IF_ROOM.*)\)\.rowcount == 0:",
        r"\1db.execute('COMMIT')\n\1if db.execute(\2).rowcount == 0:",
    ),
    # Doubt: wider or narrower than is due.
    Operator("deny-doubt", r"IN_DOUBT if doubt else INFRASTRUCTURE", "INFRASTRUCTURE"),
    Operator("widen-doubt", r"self\.committing and \(?not definite\)?", "not definite"),
    Operator("widen-doubt", r"self\.committing and \(?not definite\)?", "self.committing"),
    Operator("believe-anything", r"refused and state is not TransactionStatus\.UNKNOWN", "refused"),
    # One outcome for another.
    Operator("rejected-for-booked", r"\b(rollback\(|return )BOOKED\b", r"\1REJECTED"),
    Operator("booked-for-rejected", r"\b(rollback\(|return )REJECTED\b", r"\1BOOKED"),
    Operator("conflict-for-rejected", r"\b(rollback\(|return )REJECTED\b", r"\1CONFLICT"),
    Operator("rejected-for-conflict", r"\b(return |else )CONFLICT\b", r"\1REJECTED"),
    Operator("booked-for-conflict", r"\b(return |else )CONFLICT\b", r"\1BOOKED"),
    Operator("failed-for-conflict", r"\breturn CONFLICT\b", "return INFRASTRUCTURE"),
    Operator("conflict-for-failed", r"\belse INFRASTRUCTURE\b", "else CONFLICT"),
    Operator("rejected-for-failed", r"\belse INFRASTRUCTURE\b", "else REJECTED"),
    Operator("unknown-code", r"'(?:40001|40P01|55P03)', ", ""),
)

_SHARED_BY = "lock-then-sum"
"""What all stand on is changed below this one only: below the others the change would be the same.
"""

_CHANGED_IN_LOCKS_ONLY = frozenset({"serializable", "lock-table", "advisory-lock"})
"""But for what they lock, these are like another one."""

_LOCKS = frozenset({"drop-lock", "weaken-lock", "lower-isolation", "session-lock", "swap"})

_ORIGINS = {
    mutant.name: mutant.factory.partition(":")[2]
    for mutant in CONFORMING
    if mutant.factory.startswith("conforming:") and mutant.name != "X54"
}


@cache
def everything() -> dict[str, str]:
    """All texts by the mutant's name, without those that say the same as another."""
    texts: dict[str, str] = {}
    for origin in _ORIGINS:
        known = {_text(origin, {})}
        counts: dict[str, int] = {}
        for operator, part, changed in _changes(origin):
            text = _text(origin, {part: changed})
            if text in known:
                continue
            known.add(text)
            counts[operator] = counts.get(operator, 0) + 1
            texts[f"made:{origin}/{operator}-{counts[operator]}"] = text
    return texts


def stillborn(text: str) -> bool:
    """Is it no program at all?"""
    try:
        ast.parse(text)
    except SyntaxError:
        return True
    return False


def named(name: str) -> Mutant:
    """A made one as if it were in the catalogue; raises UnknownMutant."""
    if name not in everything():
        raise UnknownMutant(
            f"no mutant is called {name}; lastseat mutants --made --list lists them"
        )
    origin = name.partition(":")[2].partition("/")[0]
    place = f"made:{name.partition(':')[2]}"
    return Mutant(name, place, f"{origin}, changed", "", ALL_RULES)


def __getattr__(name: str) -> Any:
    """The factory of that name, made when a host asks for it."""
    text = everything().get(f"made:{name}")
    if text is None:
        raise AttributeError(name)
    module = ModuleType(f"{__name__}.{name}")
    sys.modules[module.__name__] = module
    exec(compile(text, module.__name__, "exec"), vars(module))
    return vars(module)[_ORIGINS[name.partition("/")[0]]]


def _changes(origin: str) -> Iterator[tuple[str, str, str]]:
    """Operator, changed part, and its new text."""
    for operator in OPERATORS:
        if origin in _CHANGED_IN_LOCKS_ONLY and operator.name not in _LOCKS:
            continue
        for part in _parts_of(origin):
            if part in _SHARED and operator.name == "swap":  # nonsense, mostly
                continue
            yield from ((operator.name, part, new) for new in _replaced(operator, _parts()[part]))


def _replaced(operator: Operator, text: str) -> Iterator[str]:
    pattern, start = re.compile(operator.pattern), 0
    while (match := pattern.search(text, start)) is not None:
        yield text[: match.start()] + match.expand(operator.replacement) + text[match.end() :]
        start = match.start() + 1


def _parts_of(origin: str) -> Iterator[str]:
    """The function, what it is made of, and for one of them what all stand on."""
    function = _ORIGINS[origin]
    yield function
    words = set(re.findall(r"\w+", _parts()[function]))
    yield from (name for name in _parts() if name.isupper() and name in words - _ANSWERS)
    if origin == _SHARED_BY:
        yield from _SHARED


_SHARED = ("Database", "Caller", "CONFLICTS")
_ANSWERS = frozenset({"BOOKED", "REJECTED", "CONFLICT", "INFRASTRUCTURE", "IN_DOUBT"})


def _text(origin: str, changed: dict[str, str]) -> str:
    """A whole module: what all stand on, and one implementation."""
    others = {function for name, function in _ORIGINS.items() if name != origin}
    parts = {name: text for name, text in _parts().items() if name not in others}
    return "\n".join({**parts, **changed}.values())


@cache
def _parts() -> dict[str, str]:
    """Each class, function and constant in a plain form, by its name; imports by their place."""
    parts: dict[str, str] = {}
    for module in (caller, conforming):
        for node in ast.parse(inspect.getsource(module)).body:
            if isinstance(node, ast.ImportFrom) and node.module == caller.__name__:
                continue
            parts[_name(node) or f"line {len(parts)}"] = _plain(node) + "\n"
    # ``from __future__`` may be said once, and must be said first.
    again = "from __future__ import annotations\n"
    return {n: t for i, (n, t) in enumerate(parts.items()) if t != again or i <= 1}


def _name(node: ast.stmt) -> str | None:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return node.name
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    return targets[0].id if isinstance(targets[0], ast.Name) else None


def _plain(node: ast.stmt) -> str:
    """Without docstrings: what is said there is no longer true."""
    for inner in ast.walk(node):
        if isinstance(inner, ast.FunctionDef | ast.ClassDef) and ast.get_docstring(inner):
            inner.body = inner.body[1:] or [ast.Pass()]
    return ast.unparse(node)
