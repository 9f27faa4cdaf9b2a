"""What the failure-modes text says, statement by statement, and where each is met and shown.

That text is where this model comes from. It stands in sections; a statement is one sentence or one
point of a list. ``statements.txt`` has them all. Beside each stand the rules that make it precise,
the functions of the model that decide them, and what shows that they do: tests, vectors, and what
is wrong in just that way and is convicted for it. ``lastseat model --trace`` prints it as a table,
which is ``docs/trace.md``; that everything named there exists is a test of its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from attrs import frozen

from lastseat.spec import visibility
from lastseat.spec.rules import Rule

SOURCE = Path(__file__).parent / "statements.txt"

AnyRule = Rule | visibility.Rule

RULES: dict[str, AnyRule] = {
    **{rule.value: rule for rule in Rule},
    **{rule.title: rule for rule in visibility.Rule},
}
"""Every rule by its short name."""


@frozen
class Statement:
    """Words of that text, and what became of them."""

    section: str
    words: str
    rules: tuple[AnyRule, ...]
    functions: tuple[str, ...]
    """Of the model, by their names below ``lastseat.spec``."""
    tests: tuple[str, ...]
    """By file and name, below ``tests``."""
    vectors: tuple[str, ...]
    """By their ids."""
    wrong: tuple[str, ...]
    """What is convicted: broken lives of the model by their names (see ``broken``), and wrong
    implementations by theirs (see ``lastseat mutants``)."""


def _read(text: str) -> Iterator[Statement]:
    section = ""
    for block in re.split(r"\n\n+", text.strip()):
        if block.startswith("["):
            section = block.strip("[]")
            continue
        words, *rest = re.split(r"\n  (?=\w)", block)
        fields = dict(line.split(": ", 1) for line in rest)
        yield Statement(
            section,
            words,
            tuple(RULES[name] for name in fields["rules"].split(", ")),
            tuple(fields["model"].split()),
            tuple(fields["tests"].split()),
            tuple(fields["vectors"].split()),
            tuple(fields["wrong"].split(", ")),
        )


STATEMENTS = tuple(_read(SOURCE.read_text()))


def table() -> str:
    """All of it as a table in Markdown."""
    head = ("Section", "Statement", "Rules", "Model", "Tests", "Vectors", "Convicted")
    lines = [_row(head), _row(("---",) * len(head))]
    above = ""
    for each in STATEMENTS:
        lines.append(
            _row(
                (
                    each.section if each.section != above else "",
                    each.words,
                    "<br>".join(map(short, each.rules)),
                    *map(_code, (each.functions, each.tests, each.vectors)),
                    "<br>".join(each.wrong),
                )
            )
        )
        above = each.section
    return "\n".join(lines)


def _row(cells: tuple[str, ...]) -> str:
    return f"| {' | '.join(cells)} |"


def _code(names: tuple[str, ...]) -> str:
    return "<br>".join(f"`{name}`" for name in names)


def short(rule: AnyRule) -> str:
    """A rule's short name."""
    return rule.title if isinstance(rule, visibility.Rule) else rule.value
