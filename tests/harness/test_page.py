"""The page of a violation: what crossed is found, and nothing from outside gets into the markup."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html.parser import HTMLParser

import pytest

from lastseat.harness.documents.page import page
from lastseat.harness.judge.verdict import Finding
from lastseat.harness.record import Schedule
from lastseat.harness.scenario import Scenario
from lastseat.harness.schedule.decision import Decision, Step
from lastseat.harness.story import Story, tell
from lastseat.spec.events import Audit, History
from lastseat.spec.events import Header as Recorded
from lastseat.spec.resource import Resource
from lastseat.spec.vocabulary import Request

SCENARIO = Scenario(
    "last-seat",
    "two callers, one seat",
    {"r1": 1},
    {"alice": (Request("b1", "r1", 1),), "bob": (Request("b2", "r1", 1),)},
)
BOTH = Finding("capacity", "It fits.", ("alice-1", "bob-1"), "2 of 1")

Moves = Sequence[tuple[str, str, str, tuple[str, ...]]]
"""Who does what with which statement, and what follows."""

SUM_BEFORE_LOCK: Moves = (
    ("alice", "start", "", ()),
    ("alice", "release", "BEGIN", ("the server answers alice: BEGIN",)),
    ("alice", "release", "SELECT sum FOR UPDATE", ("the server answers alice: SELECT 1",)),
    ("bob", "start", "", ()),
    ("bob", "release", "BEGIN", ("the server answers bob: BEGIN",)),
    ("bob", "release", "SELECT sum FOR UPDATE", ("bob waits for a lock",)),
    (
        "alice",
        "release",
        "COMMIT",
        (
            "the server answers alice: COMMIT",
            "the server answers bob: SELECT 1",
            "alice is answered BOOKED",
        ),
    ),
    ("bob", "release", "INSERT", ("the server answers bob: INSERT 0 1",)),
    ("bob", "release", "COMMIT", ("the server answers bob: COMMIT", "bob is answered BOOKED")),
)


def story(moves: Moves, *findings: Finding, audits: Sequence[Audit] = ()) -> Story:
    """Each step is over at ten times its number."""
    steps = tuple(
        Step(n, Decision(move, who), (), statement, observed, 10 * n)
        for n, (who, move, statement, observed) in enumerate(moves, 1)
    )
    history = History(Recorded({"r1": Resource(1)}), tuple(audits))
    return tell(Schedule(SCENARIO, "X<03>", steps), history, findings or (BOTH,))


def test_what_crossed_are_two_statements_and_the_commit_between_them() -> None:
    crossing = story(SUM_BEFORE_LOCK).crossing
    assert crossing is not None
    assert (crossing.victim, crossing.winner) == ("bob", "alice")
    numbers = (crossing.before.number, crossing.between.number, crossing.after.number)
    assert numbers == (6, 7, 8)


def test_attempts_one_after_the_other_have_crossed_nowhere() -> None:
    alice = [move for move in SUM_BEFORE_LOCK if move[0] == "alice"]
    bob = [move for move in SUM_BEFORE_LOCK if move[0] == "bob"]
    assert story((*alice, *bob)).crossing is None


def test_to_have_begun_a_transaction_is_to_have_seen_nothing() -> None:
    moves = [*SUM_BEFORE_LOCK[:3], *SUM_BEFORE_LOCK[3:5], SUM_BEFORE_LOCK[6], *SUM_BEFORE_LOCK[7:]]
    assert story(moves).crossing is None


def test_one_attempt_alone_crosses_nobody() -> None:
    alone = Finding("no hidden retry", "At most one.", ("bob-1",), "two")
    assert story(SUM_BEFORE_LOCK, alone).crossing is None


def test_who_waits_and_who_runs_and_what_is_booked_stands_in_its_row() -> None:
    one, two = (("b1", 1),), (("b1", 1), ("b2", 1))
    told = story(SUM_BEFORE_LOCK, audits=[Audit(68, "r1", one), Audit(85, "r1", two)])
    cells = {(row.number, name): cell for row in told.rows for name, cell in row.cells.items()}
    assert cells[1, "alice"].begins == "1 of r1 as b1"
    assert [cells[n, "bob"].running for n in (3, 4, 9)] == [False, True, True]
    assert [cells[n, "bob"].waiting for n in (6, 7, 8)] == [False, True, False]
    assert [said.kind for said in cells[6, "bob"].said] == ["wait"]
    assert [said.words for said in cells[7, "alice"].said] == ["COMMIT", "BOOKED"]
    levels = {row.number: row.levels for row in told.rows if row.levels}
    assert [(n, each.booked, each.too_much) for n, (each,) in levels.items()] == [
        (7, 1, False),
        (9, 2, True),
    ]


def test_a_fault_is_told_in_words() -> None:
    moves = (*SUM_BEFORE_LOCK[:2], ("alice", "lose-answer", "COMMIT", ("alice hangs",)))
    cell = story(moves).rows[-1].cells["alice"]
    assert cell.fault == "lose-answer"
    assert cell.fault_words
    assert [(said.kind, said.words) for said in cell.said] == [("outcome", "hangs")]


class Markup(HTMLParser):
    """What elements and attributes there are."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        self.attributes += attrs


EVIL = "</td><script>alert('x')</script><img src=http://evil.example/x onerror=alert(1)>"


@pytest.mark.parametrize("where", ["statement", "observed", "outcome", "finding", "file"])
def test_whatever_comes_from_outside_is_escaped(where: str) -> None:
    statement, observed, finding, file = "SELECT 1", ("the server answers alice: x",), BOTH, "x"
    match where:
        case "statement":
            statement = EVIL
        case "observed":
            observed = (f"the server answers alice: {EVIL}",)
        case "outcome":
            observed = (f"alice gets an exception: {EVIL}",)
        case "finding":
            finding = Finding(EVIL, EVIL, (EVIL,), EVIL)
        case "file":
            file = EVIL
    moves = (SUM_BEFORE_LOCK[0], ("alice", "release", statement, observed))
    made = Markup(page(story(moves, finding), f"lastseat replay {file}"))
    assert "script" not in made.elements
    assert "img" not in made.elements
    assert not [name for name, _ in made.attributes if name.startswith("on")]


def test_it_needs_nothing_but_itself() -> None:
    text = page(story(SUM_BEFORE_LOCK), "lastseat replay out/violation-1.schedule.json")
    made = Markup(text)
    assert not {"link", "script", "img", "iframe", "object"} & set(made.elements)
    assert not {"src", "href"} & {name for name, _ in made.attributes}
    assert not re.search(r"url\(|@import|https?:", text)
    assert "default-src &#39;none&#39;" in text or "default-src 'none'" in text
    assert "lastseat replay out/violation-1.schedule.json" in text
    assert "What crossed" in text
    assert "still waits" not in text, "bob is let go by the very step that alice takes"
    assert "has waited until here" in text
