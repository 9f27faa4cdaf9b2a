"""The truth table: what it says of the reference implementation, and whom it contradicts."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from attrs import evolve

from lastseat.harness.faults import FAULTS
from lastseat.harness.judge.verdict import Repeated
from lastseat.harness.stage import Stage
from lastseat.harness.truth import catalogue, layout
from lastseat.harness.truth.implied import NoAnswer, Row, Where, implied
from lastseat.harness.truth.table import Cell, Table, tabulate
from lastseat.spec.vocabulary import ANSWERS, BOOKED, CONFLICT, IN_DOUBT, INFRASTRUCTURE, REJECTED

DOCS = Path(__file__).parents[1] / "docs" / "faults.md"

FAILED = Row(INFRASTRUCTURE, exists=False)
DOUBT = Row(IN_DOUBT, exists=False)
DOUBT_BOOKED = Row(IN_DOUBT, exists=True)
DONE = Row(BOOKED, exists=True)
RAISED = Row(NoAnswer.EXCEPTION, exists=False)
ALL = {Row(a, exists=e) for a in (*ANSWERS, *NoAnswer) for e in (False, True)}


@pytest.mark.parametrize(
    ("fault", "where", "rows"),
    [
        # Doubt is never missing: the commit was handed over, and nothing definite came back.
        ("lose-request", Where.COMMIT, {DOUBT}),
        ("terminate", Where.COMMIT, {DOUBT}),
        ("garble-request", Where.COMMIT, {DOUBT}),
        ("lose-answer", Where.COMMIT, {DOUBT_BOOKED}),
        ("cut-before-ready", Where.COMMIT, {DOUBT_BOOKED}),
        ("panic-58030", Where.COMMIT, {DOUBT_BOOKED}),
        ("fatal-08P01", Where.COMMIT, {DOUBT_BOOKED}),
        ("fatal-57P01", Where.COMMIT, {DOUBT}),
        ("stall-answer", Where.COMMIT, {DOUBT_BOOKED}),
        ("arrive-late", Where.COMMIT, {DOUBT_BOOKED}),
        ("vanish", Where.COMMIT, {DOUBT}),
        # It is never too wide: no commit was handed over, or its answer was definite.
        ("lose-answer", Where.STATEMENT, {FAILED}),
        ("panic-58030", Where.STATEMENT, {FAILED}),
        ("arrive-late", Where.STATEMENT, {FAILED}),
        ("raise-57014", Where.COMMIT, {FAILED}),
        ("raise-40001", Where.COMMIT, {Row(CONFLICT, exists=False)}),
        ("rolled-back", Where.COMMIT, {FAILED, RAISED}),
        ("close-behind-answer", Where.COMMIT, {DONE}),
        # What the contract leaves to the implementation.
        ("raise-55P03", Where.STATEMENT, {Row(CONFLICT, exists=False), FAILED}),
        ("raise-P0001", Where.STATEMENT, {FAILED, RAISED}),
        ("lose-request", Where.PRELUDE, {FAILED, DONE}),
        ("refuse-53300", Where.CONNECTING, {FAILED, DONE}),
    ],
)
def test_what_the_contract_implies(fault: str, where: Where, rows: set[Row]) -> None:
    assert implied(FAULTS[fault], where, committing=where is Where.COMMIT) == rows


def test_who_goes_on_to_his_commit_behind_the_last_answer_doubts_and_who_notices_does_not() -> None:
    fault = FAULTS["close-behind-answer"]
    assert implied(fault, Where.STATEMENT, committing=True) == {DOUBT}
    assert implied(fault, Where.STATEMENT, committing=False) == {FAILED}


def test_no_fault_permits_everything_and_none_permits_a_false_answer() -> None:
    for fault in FAULTS.values():
        if fault.name in {"raise-23505", "raise-23514"}:  # nobody is alone who meets these
            continue
        for where in Where:
            rows = implied(fault, where, committing=where is Where.COMMIT)
            assert rows < ALL
            assert Row(BOOKED, exists=False) not in rows
            assert not rows & {Row(REJECTED, exists=e) for e in (False, True)}
            assert not rows & {Row(a, exists=True) for a in (CONFLICT, INFRASTRUCTURE)}


def test_the_documentation_has_the_reference_implementations_table(
    staged: Callable[[str], Stage],
) -> None:
    table = tabulate(staged("optimistic"))
    assert [str(cell) for cell in table.wrong] == []
    assert [str(cell) for cell in table.unseen] == []
    text = DOCS.read_text()
    assert written(text, "truth") == layout.markdown(table)
    assert written(text, "faults") == catalogue.markdown()
    assert written(text, "answers") == catalogue.answers()
    assert written(text, "exclusions") == catalogue.exclusions()
    for name in table.nowhere():
        assert f"`{name}`" in text.rpartition("Not in the table")[2]


@pytest.mark.parametrize(
    ("fault", "turns"),
    [
        ("raise-40001", ["SELECT", "SELECT 2", "SELECT 3", "INSERT", "COMMIT"]),
        ("raise-40P01", ["SELECT", "SELECT 2", "SELECT 3", "INSERT"]),
        ("raise-25006", ["INSERT"]),
        ("raise-57014", ["BEGIN", "SELECT", "SELECT 2", "SELECT 3", "INSERT", "COMMIT"]),
        ("panic-58030", ["SELECT", "SELECT 2", "SELECT 3", "INSERT", "COMMIT"]),
    ],
)
def test_an_error_is_raised_where_the_server_can_answer_so(
    staged: Callable[[str], Stage], fault: str, turns: list[str]
) -> None:
    """Here in a transaction that is SERIALIZABLE."""
    assert [cell.turn for cell in tabulate(staged("serializable"), fault).cells] == turns


def test_who_notices_the_loss_only_at_its_first_statement_meets_the_refusal_all_the_same(
    staged: Callable[[str], Stage],
) -> None:
    """It fails without connecting; its next attempt is the one that is refused."""
    staged("guarded-update").renew(["alice"])
    for fault in ("refuse-53300", "stall-connecting"):
        (cell,) = tabulate(staged("guarded-update"), fault).cells
        assert (cell.seen, cell.row) == (True, FAILED), fault


def written(text: str, name: str) -> str:
    found = re.search(f"<!-- lastseat: {name} -->\n(.*?)<!-- lastseat: end -->", text, re.DOTALL)
    assert found is not None
    return found[1]


@pytest.mark.parametrize(
    ("name", "fault", "turn", "row", "repeated"),
    [
        # A BOOKED that is not there is a fact; that one was answered at all had to be seen again.
        ("X39", "raise-57014", "INSERT", Row(BOOKED, exists=False), None),
        ("X44", "lose-answer", "COMMIT", DONE, Repeated(3, 3)),
    ],
)
def test_a_wrong_implementation_contradicts_the_contract(
    staged: Callable[[str], Stage],
    name: str,
    fault: str,
    turn: str,
    row: Row,
    repeated: Repeated | None,
) -> None:
    table = tabulate(staged(name), fault)
    assert (turn, row, repeated) in {(cell.turn, cell.row, cell.repeated) for cell in table.wrong}
    assert table.seen_once == ()


def test_what_contradicted_the_contract_once_is_no_contradiction() -> None:
    wrong = Cell("lose-answer", "COMMIT", Where.COMMIT, DONE, frozenset({DOUBT_BOOKED}), seen=True)
    once, twice = (evolve(wrong, repeated=Repeated(n, 9)) for n in (1, 2))
    fact = evolve(wrong, row=Row(BOOKED, exists=False))
    right = evolve(wrong, row=DOUBT_BOOKED)
    table = Table((), (once, twice, fact, right))
    assert table.wrong == (twice, fact)
    assert table.seen_once == (once,)
