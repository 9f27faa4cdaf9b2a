"""Judge a recorded history, whoever recorded it."""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from collections import Counter
from typing import Any

from attrs import frozen

from lastseat.harness import fastread
from lastseat.harness.fastread import DEFAULT, Limits
from lastseat.harness.plain import plain
from lastseat.harness.verdict import Verdict
from lastseat.spec import large, linearize
from lastseat.spec.columns import CODES, NONE, Columns
from lastseat.spec.events import History, MalformedHistory
from lastseat.spec.legality import UNKNOWN_BINDING
from lastseat.spec.linearize import Found
from lastseat.spec.record import NEVER
from lastseat.spec.rules import Judgement, Rule, Violation
from lastseat.spec.vocabulary import REJECTED

FORMAT = "lastseat-check/1"
"""Of what ``--json`` prints: one object on one line."""

SEARCHED = 200
BUDGET = 20_000
"""How many attempts a history may have for a search, and how many configurations that may take."""

SHOWN = 20
"""How many violations are printed in words; ``--json`` gives all."""


@frozen
class Checked:
    """A history that could be read, and what is to be said of it."""

    judgement: Judgement
    undecided: tuple[str, ...]
    """Why a history without a violation is still not known to be legal."""
    answers: dict[str, int]
    """How often each answer was given; ``raised`` and ``pending`` too."""
    clients: int
    resources: int
    reading: float
    """Seconds."""
    judging: float

    @property
    def attempts(self) -> int:
        return sum(self.answers.values())

    @property
    def verdict(self) -> Verdict:
        """A violation counts more than that something is undecided."""
        if self.judgement.violations:
            return Verdict.VIOLATION
        return Verdict.INCONCLUSIVE if self.undecided else Verdict.PASS


def check(path: str, limits: Limits = DEFAULT) -> Checked:
    """Read the file of that name, ``-`` for the standard input, and judge it.

    Raises:
        MalformedHistory: it holds no history in the format ``lastseat-history/1``.
        OSError: it cannot be read.
    """
    with fastread.without_collection():
        began = time.monotonic()
        columns = fastread.read_path(path, limits)
        read = time.monotonic()
        judgement = _searched(columns, large.judge(columns))
        judged = time.monotonic()
    return Checked(
        judgement,
        tuple(_undecided(columns, judgement)),
        _answers(columns),
        len(set(columns.clients)),
        len(columns.header.resources),
        read - began,
        judged - read,
    )


def _answers(columns: Columns) -> dict[str, int]:
    counts = Counter({str(answer): columns.answers.count(code) for answer, code in CODES.items()})
    pending = columns.ended.count(NEVER)
    counts.update({"raised": columns.answers.count(NONE) - pending, "pending": pending})
    return {answer: count for answer, count in sorted(counts.items()) if count}


def _searched(columns: Columns, judgement: Judgement) -> Judgement:
    """A search decides what the judge cannot, if the history is small enough for one.

    Without the final bookings it is not known which request of an id was the one booked, if
    attempts asked for it in different ways. The judge takes the better reading for each rejection.
    """
    if UNKNOWN_BINDING not in judgement.not_judged or len(columns) > SEARCHED:
        return judgement
    everything = columns.events_of(range(len(columns)), list(columns.numbers))
    events = (*everything, *columns.audits, *columns.finals.values())
    result = linearize.linearize(History(columns.header, events), BUDGET)
    if result.found is Found.BUDGET_SPENT:
        return judgement
    violations = judgement.violations
    if result.found is Found.NO_ORDER and not violations:
        text = "no choice of the requests that were booked, and no order of effects, explains it"
        where = ", ".join(result.resources)
        violations = (Violation(Rule.REJECTED, result.stuck, where, text),)
    gaps = tuple(gap for gap in judgement.not_judged if gap != UNKNOWN_BINDING)
    return Judgement(violations, gaps, judgement.undecided)


def _undecided(columns: Columns, judgement: Judgement) -> list[str]:
    found = list(judgement.undecided)
    if UNKNOWN_BINDING in judgement.not_judged and CODES[REJECTED] in columns.answers:
        found.append(UNKNOWN_BINDING)
    if not len(columns):
        found.append("no attempt was recorded")
    if columns.end is None and NEVER in columns.ended:
        found.append("attempts are pending and the recording has no end: it may be cut off")
    return found


def run(path: str, as_json: bool, limits: Limits = DEFAULT) -> Verdict:
    """Check the file of that name, ``-`` for the standard input, and print what came of it."""
    try:
        checked = check(path, limits)
    except MalformedHistory as malformed:
        _refuse(path, as_json, malformed.reason, malformed.line)
        return Verdict.ERROR
    except OSError as error:
        _refuse(path, as_json, error.strerror or str(error), None)
        return Verdict.ERROR
    if as_json:
        print(json.dumps(_record(path, checked), separators=(",", ":")))
    else:
        print("\n".join(map(plain, _lines(path, checked))))
    return checked.verdict


def _refuse(path: str, as_json: bool, reason: str, line: int | None) -> None:
    where = path if line is None else f"{path}, line {line}"
    print(plain(f"lastseat check: {where}: {reason}"), file=sys.stderr)
    if as_json:
        told = {"verdict": str(Verdict.ERROR), "line": line, "reason": reason}
        print(json.dumps({"format": FORMAT, "history": path, **told}, separators=(",", ":")))


def _lines(path: str, checked: Checked) -> list[str]:
    answers = ", ".join(f"{count:,} {answer}" for answer, count in checked.answers.items())
    by = f"{_count(checked.attempts, 'attempt')} by {_count(checked.clients, 'client')}"
    lines = [
        f"{path}: {by} on {_count(checked.resources, 'resource')}{answers and ': '}{answers}",
        f"read in {checked.reading:.2f} s, judged in {checked.judging:.2f} s",
    ]
    violations = checked.judgement.violations
    sentences = set()
    for violation in violations[:SHOWN]:
        lines.append(f"VIOLATION of {violation}")
        if violation.rule not in sentences:
            sentences.add(violation.rule)
            lines.append(f"  {violation.rule.value}: {violation.rule.sentence}")
    if len(violations) > SHOWN:
        rest = Counter(violation.rule.value for violation in violations[SHOWN:])
        more = ", ".join(f"{count:,} of {rule}" for rule, count in rest.items())
        lines.append(f"and {_count(len(violations) - SHOWN, 'more violation')}: {more}")
    lines += [f"not judged: {gap}" for gap in checked.judgement.not_judged]
    lines += [f"undecided: {reason}" for reason in checked.undecided]
    lines.append(f"verdict: {checked.verdict}")
    return lines


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _record(path: str, checked: Checked) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "history": path,
        "verdict": str(checked.verdict),
        "attempts": checked.attempts,
        "answers": checked.answers,
        "violations": [_violation(each) for each in checked.judgement.violations],
        "not_judged": checked.judgement.not_judged,
        "undecided": checked.undecided,
        "seconds": {"reading": round(checked.reading, 3), "judging": round(checked.judging, 3)},
    }


def _violation(violation: Violation) -> dict[str, Any]:
    return {
        "rule": violation.rule.value,
        "sentence": violation.rule.sentence,
        "attempts": violation.attempts,
        "resource": violation.resource,
        "explanation": violation.explanation,
        "inequality": violation.inequality,
    }


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What ``run_with`` reads."""
    parser.add_argument(
        "file", metavar="HISTORY", help="JSON Lines, also .gz or .zst; - reads standard input"
    )
    parser.add_argument("--json", action="store_true", help="the judgement for programs")
    for name, what, most in (
        ("--max-line", "of a line", DEFAULT.line),
        ("--max-size", "of the history, unpacked", DEFAULT.size),
    ):
        words = f"the most bytes {what}: a number, or one with K, M or G (default: {_told(most)})"
        parser.add_argument(name, type=_bytes, default=most, metavar="BYTES", help=words)


def run_with(args: argparse.Namespace) -> Verdict:
    """Check what the arguments name."""
    return run(args.file, args.json, Limits(args.max_line, args.max_size))


_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


def _bytes(text: str) -> int:
    match = re.fullmatch("([0-9]{1,15})([KMG]?)", text.upper(), re.ASCII)
    if match is None or not int(match[1]):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of bytes, such as 300M")
    return int(match[1]) * _UNITS[match[2]]


def _told(number: int) -> str:
    return next(
        f"{number // size}{unit}" for unit, size in reversed(_UNITS.items()) if number % size == 0
    )


def main() -> int:
    """``python -m lastseat.harness.check``: the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_arguments(parser)
    return run_with(parser.parse_args()).value


if __name__ == "__main__":
    sys.exit(main())
