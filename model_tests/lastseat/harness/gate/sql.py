"""What a statement is, read from its text alone: enough for turns and visibility, no parser.

Over-reading is safe and under-reading is not: what cannot be told apart is UNSURE, and the server
is asked whether it wrote.
"""

from __future__ import annotations

import enum
import functools
import re
from collections.abc import Iterator

_TOKEN = re.compile(
    r"""
      (?P<blank>\s+ | --[^\n]* | /\*.*?\*/)
    | (?P<string>[eE]'(?:[^'\\]|''|\\.)*' | (?:[bBxXnN]|[uU]&)?'(?:[^']|'')*'
        | \$(?P<tag>\w*)\$.*?\$(?P=tag)\$)
    | (?P<quoted>"(?:[^"]|"")*")
    | (?P<word>[^\W\d][\w$]*)
    | (?P<number>\$?\d[\w.]*)
    | (?P<sign>.)
    """,
    re.VERBOSE | re.DOTALL,
)


class Kind(enum.Enum):
    """What a statement does, as far as a watcher between client and server must know."""

    BEGIN = "begins a transaction"
    COMMIT = "commits"
    ROLLBACK = "rolls back"
    SAVEPOINT = "sets, releases or rolls back to a savepoint"
    PREPARE_TRANSACTION = "prepares a transaction for two-phase commit"
    NEUTRAL = "touches no relation: a ping, a setting, a look into the system catalog"
    READ = "reads or locks, also in a function of the user's that may not write"
    WRITE = "writes"
    UNSURE = "may write: calls a function of the user's that may, or cannot be classified"


_WRITES = frozenset({"INSERT", "UPDATE", "DELETE", "MERGE", "TRUNCATE"})
_CALLS = frozenset({"CALL", "DO", "EXECUTE"})
_SETTINGS = frozenset(
    {"SET", "RESET", "SHOW", "DISCARD", "LISTEN", "UNLISTEN", "NOTIFY", "DEALLOCATE", "PREPARE"}
    | {"CLOSE"}
)
_READS = frozenset({"LOCK", "FETCH", "MOVE"})
_GIVES_BACK = frozenset({"RELEASE", "CLOSE", "DEALLOCATE", "DISCARD", "RESET", "UNLISTEN"})
_BEFORE_A_RELATION = frozenset({"FROM", "JOIN", "ONLY", "LATERAL"})
_AFTER_THE_RELATIONS = frozenset({"WHERE", "ON", "USING", "GROUP", "ORDER", "LIMIT", "UNION"})
_TRANSACTION = {
    "BEGIN": Kind.BEGIN,
    "START": Kind.BEGIN,
    "COMMIT": Kind.COMMIT,
    "END": Kind.COMMIT,
    "ROLLBACK": Kind.ROLLBACK,
    "ABORT": Kind.ROLLBACK,
    "SAVEPOINT": Kind.SAVEPOINT,
    "RELEASE": Kind.SAVEPOINT,
}


def tokens(sql: str) -> Iterator[tuple[str, str]]:
    """The words, strings and signs of a text, without blanks and comments."""
    for match in _TOKEN.finditer(sql):
        kind = match.lastgroup or "sign"
        if kind == "tag":
            kind = "string"
        if kind != "blank":
            yield kind, match.group()


@functools.lru_cache(maxsize=4096)
def one_line(sql: str) -> str:
    """A statement for people."""
    return " ".join(sql.split())


@functools.lru_cache(maxsize=4096)
def split(sql: str) -> tuple[str, ...]:
    """The statements of a text that a simple Query may hold, without the semicolons between."""
    parts, start = [], 0
    for match in _TOKEN.finditer(sql):
        if match.lastgroup == "sign" and match.group() == ";":
            parts.append(sql[start : match.start()])
            start = match.end()
    parts.append(sql[start:])
    return tuple(part.strip() for part in parts if next(tokens(part), None))


@functools.lru_cache(maxsize=4096)
def classify(
    sql: str, known: frozenset[str] = frozenset(), readers: frozenset[str] = frozenset()
) -> Kind:
    """What one statement does.

    ``known``: the names that before a parenthesis are the server's own, its functions and keywords.
    ``readers``: the functions of the user's that may not write. Any other name there makes a SELECT
    unsure.
    """
    found = list(tokens(sql))
    words = [text.upper() for kind, text in found if kind == "word"]
    if not words:
        return Kind.NEUTRAL
    first = words[0]
    if first in _TRANSACTION:
        return _transaction(first, words)
    if first in {"SELECT", "WITH", "TABLE", "VALUES", "DECLARE", "EXPLAIN"} or found[0][1] == "(":
        return _query(found, words, known, readers)
    return _command(first, words, found)


def with_parameter(sql: str, number: int) -> str:
    """The statement with parameter ``number`` in the place of its first."""
    return _TOKEN.sub(lambda token: f"${number}" if token[0] == "$1" else token[0], sql)


def _transaction(first: str, words: list[str]) -> Kind:
    if first == "ROLLBACK" and "TO" in words:
        return Kind.SAVEPOINT
    return _TRANSACTION[first]


def prepared_transaction(sql: str) -> str | None:
    """The name of the transaction that a statement prepares for two-phase commit, or ends."""
    if "PREPARE" not in sql.upper():
        return None
    found = list(tokens(sql))
    words = {text.upper() for kind, text in found[:2] if kind == "word"}
    if words != {"PREPARE", "TRANSACTION"} and words - {"COMMIT", "ROLLBACK"} != {"PREPARED"}:
        return None
    return next((text.strip("'") for kind, text in found if kind == "string"), None)


@functools.lru_cache(maxsize=4096)
def savepoint(sql: str) -> tuple[str, str] | None:
    """What a statement does with a savepoint (SAVEPOINT, RELEASE or ROLLBACK), and its name."""
    if classify(sql) is not Kind.SAVEPOINT:
        return None
    found = list(tokens(sql))
    names = [text for kind, text in found if kind in {"word", "quoted"}]
    return found[0][1].upper(), _identifier(names[-1])


def gives_back(sql: str) -> bool:
    """Whether a statement only gives back what its session holds: a savepoint and what stands
    behind it, a cursor, a prepared statement, a setting, an advisory lock."""
    about = savepoint(sql)
    if about is not None:
        return about[0] != "SAVEPOINT"
    first = next((text.upper() for _, text in tokens(sql)), "")
    return first in _GIVES_BACK or "pg_advisory_unlock" in sql.lower()


@functools.lru_cache(maxsize=4096)
def kept_statement(sql: str) -> tuple[str, str] | None:
    """The name and the text of the statement that PREPARE keeps in its session."""
    if "PREPARE" not in sql.upper():
        return None
    found = [match for match in _TOKEN.finditer(sql) if match.lastgroup != "blank"]
    words = [match.group() for match in found]
    if len(words) < 2 or words[0].upper() != "PREPARE" or words[1].upper() == "TRANSACTION":
        return None
    body = next((match.end() for match in found[2:] if match.group().upper() == "AS"), None)
    return (_identifier(words[1]), sql[body:].strip()) if body is not None else None


@functools.lru_cache(maxsize=4096)
def executed_statement(sql: str) -> str | None:
    """The name of the kept statement that EXECUTE executes."""
    if "EXECUTE" not in sql.upper():
        return None
    words = [text for _, text in tokens(sql)][:2]
    return _identifier(words[1]) if len(words) > 1 and words[0].upper() == "EXECUTE" else None


def _identifier(text: str) -> str:
    return text[1:-1].replace('""', '"') if text.startswith('"') else text.lower()


def _command(first: str, words: list[str], found: list[tuple[str, str]]) -> Kind:
    if first == "COPY":
        return _copy(found, words)
    if first in _WRITES:
        return Kind.WRITE
    if first in _CALLS:
        return Kind.UNSURE
    if first == "PREPARE" and words[1:2] == ["TRANSACTION"]:
        return Kind.PREPARE_TRANSACTION
    if first in _SETTINGS:
        return Kind.NEUTRAL
    return Kind.READ if first in _READS else Kind.UNSURE


def _copy(found: list[tuple[str, str]], words: list[str]) -> Kind:
    """COPY of a table or of a query, which stands in parentheses; FROM may belong to either."""
    depth = 0
    for _, text in found:
        depth += {"(": 1, ")": -1}.get(text, 0)
        if depth == 0 and text.upper() == "FROM":
            return Kind.WRITE
    return Kind.WRITE if _WRITES.intersection(words) else Kind.READ


def _query(
    found: list[tuple[str, str]],
    words: list[str],
    known: frozenset[str],
    readers: frozenset[str],
) -> Kind:
    # FOR UPDATE and FOR NO KEY UPDATE lock; any other UPDATE in a query is a data-modifying WITH.
    modifying = [
        word
        for before, word in zip(["", *words], words, strict=False)
        if word in _WRITES and not (word == "UPDATE" and before in {"FOR", "KEY"})
    ]
    if modifying or "INTO" in words:
        return Kind.WRITE
    users = set(_called(found)) - known
    if users:
        return Kind.READ if users <= readers else Kind.UNSURE
    relations = list(_relations(found))
    if all(name.lower().startswith(("pg_", "information_schema")) for name in relations):
        return Kind.NEUTRAL if words[0] != "TABLE" else Kind.READ
    return Kind.READ


def _called(found: list[tuple[str, str]]) -> Iterator[str]:
    """The functions that are called; a name of the user's schema keeps it, so that none is known.

    What stands behind AS or WITH is a name that is given, with its columns.
    """
    padded = [("", ""), ("", ""), *found]
    for (_, schema), (_, before), (kind, text), (_, after) in zip(
        padded, padded[1:], padded[2:], padded[3:], strict=False
    ):
        if after != "(" or kind not in {"word", "quoted"}:
            continue
        name = text.strip('"').lower()
        if before == "." and schema.lower() != "pg_catalog":
            yield f"{schema}.{name}"
        elif before.upper() not in {"AS", "WITH", "RECURSIVE"}:
            yield name


def _relations(found: list[tuple[str, str]]) -> Iterator[str]:
    """The relations that are named, as far as words tell; what is called there is none."""
    listing = False
    ends = [*found[2:], ("", "")]
    for (kind, text), (after, name), (_, then) in zip(found, found[1:], ends, strict=False):
        word = text.upper() if kind == "word" else ""
        comes = word in _BEFORE_A_RELATION or (listing and text == ",")
        listing = word == "FROM" or (listing and word not in _AFTER_THE_RELATIONS and text != ")")
        if comes and after in {"word", "quoted"} and then != "(":
            yield name.strip('"')
        elif comes and name == "(":
            yield "(a query)"
