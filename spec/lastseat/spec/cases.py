"""Histories that break a rule, beside near misses that break none: ``judged.txt``, read.

The judge's tests hold it to this list, and ``vectors`` gives it to those who write a judge of their
own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from attrs import frozen

from lastseat.spec.events import (
    Audit,
    CommitSent,
    Emit,
    End,
    Event,
    Evidence,
    Fault,
    Fence,
    Final,
    Header,
    History,
    Invoke,
    Phase,
    Raise,
    Rows,
    Seen,
    What,
    assemble,
)
from lastseat.spec.resource import Resource
from lastseat.spec.rules import Rule
from lastseat.spec.vocabulary import (
    BOOKED,
    CONFLICT,
    IN_DOUBT,
    INFRASTRUCTURE,
    REJECTED,
    Request,
)

JUDGED = Path(__file__).parent / "judged.txt"

_OBSERVED = {
    "": frozenset[Evidence](),
    "faults": frozenset({Evidence.FAULTS}),
    "server": frozenset({Evidence.FAULTS, Evidence.SERVER}),
    "commits": frozenset(Evidence),
}
_ANSWERS = {
    "BOOKED": BOOKED,
    "REJECTED": REJECTED,
    "CONFLICT": CONFLICT,
    "INFRASTRUCTURE": INFRASTRUCTURE,
    "DOUBT": IN_DOUBT,
}


@frozen
class Case:
    """One history of the list, under the rule that it breaks or nearly breaks."""

    rule: Rule
    wrong: bool
    name: str
    options: dict[str, str]
    history: History

    def __str__(self) -> str:
        return f"{self.rule.value}: {self.name}"

    @property
    def broken(self) -> set[Rule]:
        """The rules that it breaks."""
        also = self.options.get("also")
        return {self.rule} | ({Rule(also)} if also else set()) if self.wrong else set()


def cases() -> Iterator[Case]:
    """All of the list, in its order."""
    lines = iter(JUDGED.read_text().splitlines())
    rule = None
    for line in lines:
        if line.startswith("["):
            rule = Rule(line.strip("[]"))
        elif match := re.fullmatch(r"(WRONG|RIGHT) ([^|]*?)(?: \| (.*))?", line):
            verdict, name, more = match.groups()
            options = dict(option.split("=") for option in more.split(", ")) if more else {}
            if rule is None:
                raise ValueError(f"{name} stands under no rule")
            yield Case(rule, verdict == "WRONG", name, options, history(next(lines), options))


def history(text: str, options: dict[str, str]) -> History:
    """A history told as in the list; ``options`` say what differs from the usual header.

    Raises:
        MalformedHistory: the events cannot stand in this order.
        ValueError: the text is not told as it should be.
    """
    prior = {options["prior"]: 1} if "prior" in options else {}
    deadline = float(options["deadline"]) if "deadline" in options else None
    header = Header(
        {"r": Resource(int(options.get("capacity", 3)), prior), "s": Resource(3)},
        observed=_OBSERVED[options.get("observed", "server")],
        promises=frozenset(options.get("promises", "").split()),
        deadline_ms=deadline,
        grace_ms=None if deadline is None else 20,
    )
    return assemble([header, *(_event(line.split()) for line in text.split(";"))])


def _event(words: list[str]) -> Event:
    match words:
        case ["final", name, *read]:
            return Final(name, *_reading(read))
        case ["fault", span, *client]:
            start, end = span.split("-")
            return Fault(
                "cut", int(start), int(end) if end else None, client[0] if client else None
            )
        case [at, "audit", name, *read]:
            return Audit(int(at), name, *_reading(read))
        case [at, "end", *ms]:
            return End(int(at), float(ms[0]) if ms else None)
        case [at, attempt, *rest]:
            return _of_attempt(int(at), attempt, rest)
    raise ValueError(" ".join(words))


def _of_attempt(at: int, attempt: str, words: list[str]) -> Event:
    ms = float(words.pop()) if words[-1].endswith(".") else None
    match words:
        case ["asks", booking_id, units, *more]:
            said = dict(zip(more[::2], more[1::2], strict=True))
            request = Request(booking_id, said.get("of", "r"), int(units))
            return Invoke(at, attempt, said.get("by", attempt), request, ms)
        case ["raises", *doubt]:
            return Raise(at, attempt, "no", in_doubt=doubt == ["in", "doubt"])
        case ["sees", what, *more]:
            fields: dict[str, Any] = {}
            for word in more:
                fields |= {"phase": Phase(word)} if word.islower() else {"sqlstate": word}
            return Seen(at, attempt, What(what), **fields)
        case ["commits"]:
            return CommitSent(at, attempt)
        case ["fenced"]:
            return Fence(at, attempt)
        case [answer]:
            return Emit(at, attempt, _ANSWERS[answer], ms)
    raise ValueError(" ".join(words))


def _reading(words: list[str]) -> tuple[Rows, int | None]:
    pairs = [word.split("=") for word in words]
    read = tuple((name, int(units)) for name, units in pairs if name != "counter")
    counters = [int(units) for name, units in pairs if name == "counter"]
    return read, counters[0] if counters else None
