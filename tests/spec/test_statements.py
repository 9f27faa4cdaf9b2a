"""Every statement of the failure-modes text is met and shown, by things that there are."""

from __future__ import annotations

import importlib
import re
from collections import Counter
from functools import cache
from operator import attrgetter
from pathlib import Path

import pytest

from lastseat.harness.mutants.catalogue import MUTANTS
from lastseat.spec import statements, vectors, visibility
from lastseat.spec.broken import CANARIES
from lastseat.spec.rules import Rule
from lastseat.spec.statements import STATEMENTS, Statement

ROOT = Path(__file__).parents[2]
BREAKS = {mutant.name: mutant.breaks for mutant in MUTANTS}

every_statement = pytest.mark.parametrize(
    "statement", STATEMENTS, ids=lambda each: f"{each.section}: {each.words}"
)


@cache
def rules_of_vectors() -> dict[str, set[str]]:
    """The rules that each vector is about: the one that it is filed under, and those it breaks."""
    written = [*vectors.sequential(), *vectors.scripted(), *vectors.recorded()]
    return {v["id"]: {v["rule"], *v.get("breaks", ())} for v in written}


def test_no_statement_is_left_out() -> None:
    """Counted in the text itself, section by section."""
    assert Counter(statement.section for statement in STATEMENTS) == {
        "Purpose": 2,
        "Failure Classification": 1,
        "Rejection Due to Invariant Violation": 8,
        "Persistence Conflict": 8,
        "Infrastructure Failure": 9,
        "Invalid Input": 7,
        "Failure Visibility": 5,
        "Non-Goals": 5,
    }


@every_statement
def test_it_has_a_whole_row(statement: Statement) -> None:
    shown = (statement.rules, statement.functions, statement.tests, statement.vectors)
    assert all(shown)
    assert all(statement.wrong)


@every_statement
def test_its_functions_are_in_the_model(statement: Statement) -> None:
    for name in statement.functions:
        module, _, path = name.partition(".")
        attrgetter(path)(importlib.import_module(f"lastseat.spec.{module}"))


@every_statement
def test_its_tests_exist(statement: Statement) -> None:
    for test in statement.tests:
        path, _, name = test.partition("::")
        assert re.search(rf"^def {name}\(", (ROOT / "tests" / path).read_text(), re.MULTILINE), test


@every_statement
def test_its_vectors_are_about_its_rules(statement: Statement) -> None:
    rules = {statements.short(rule) for rule in statement.rules}
    for vector in statement.vectors:
        about = rules_of_vectors()[vector]
        assert about & rules or all(isinstance(r, visibility.Rule) for r in statement.rules), vector


@every_statement
def test_what_is_wrong_is_convicted_of_it(statement: Statement) -> None:
    """Broken lives are convicted in tests of their own, wrong implementations by the command."""
    rules = {statements.short(rule) for rule in statement.rules}
    lives = {canary.life.name for canary in CANARIES}
    for name in statement.wrong:
        assert name in lives or BREAKS[name] & rules, name


def test_every_rule_is_there_for_some_statement() -> None:
    named = {rule for statement in STATEMENTS for rule in statement.rules}
    assert named == {*Rule, *visibility.Rule}


def test_every_broken_life_shows_something() -> None:
    shown = {name for statement in STATEMENTS for name in statement.wrong}
    assert {canary.life.name for canary in CANARIES} <= shown


def test_the_table_is_part_of_the_documentation() -> None:
    assert statements.table() in (ROOT / "docs" / "trace.md").read_text()
