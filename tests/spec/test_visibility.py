"""Every rule of visibility: what it convicts, and what comes near and is right.

A history is written as lines of ``transaction: statement → answer``; each line is sent at one
instant and answered at the next. Answers: ``ok``, ``0 rows``, ``lost`` (nothing came back), an
SQLSTATE, ``rolled back`` (COMMIT answered by the tag ROLLBACK), ``taken back`` (by ROLLBACK TO
SAVEPOINT). ``answer: X`` is what the attempt tells its caller, ``connection lost`` what reached it;
transaction ``-`` is an autocommit statement.
"""

from __future__ import annotations

import re

import pytest
from attrs import evolve

from lastseat.spec.visibility import Attempt, Does, Exchange, Rule, Snapshot, judge
from lastseat.spec.vocabulary import BOOKED, CONFLICT, IN_DOUBT, INFRASTRUCTURE, REJECTED, Answer

ANSWERS: dict[str, Answer] = {
    "BOOKED": BOOKED,
    "REJECTED": REJECTED,
    "CONFLICT": CONFLICT,
    "INFRASTRUCTURE": INFRASTRUCTURE,
    "IN DOUBT": IN_DOUBT,
}
DOES = {
    "SELECT": Does.READ,
    "UPDATE": Does.WRITE,
    "INSERT": Does.WRITE,
    "UPSERT": Does.WRITE,
    "COMMIT": Does.COMMIT,
    "ROLLBACK": Does.ROLLBACK,
    "BEGIN": Does.OTHER,
    "RESET": Does.OTHER,
}
_LINE = re.compile(r"(?P<transaction>\d+|-): (?P<text>[\w ]+?) → (?P<said>.+)")


def history(text: str) -> tuple[Attempt, list[Exchange]]:
    """The attempt and its exchanges."""
    attempt = Attempt("a", None, None, in_doubt=False)
    exchanges = []
    own = 100
    for number, line in enumerate(filter(None, map(str.strip, text.splitlines()))):
        at = 10 * (number + 1)
        if line == "connection lost":
            attempt = evolve(attempt, lost_at=(*attempt.lost_at, at))
        elif line == "another booked it":
            attempt = evolve(attempt, repeats=True)
        elif line.startswith("left behind"):
            attempt = evolve(attempt, left_behind="its transaction is open")
        elif line.startswith("answer: "):
            answer = ANSWERS[line.removeprefix("answer: ")]
            attempt = evolve(attempt, emitted_at=at, answer=answer, in_doubt=answer.in_doubt)
        elif line.startswith("raises"):
            attempt = evolve(attempt, emitted_at=at, in_doubt="in doubt" in line)
        else:
            own += 1
            exchanges.append(_exchange(line, at, own))
    return attempt, exchanges


def _exchange(line: str, at: int, own: int) -> Exchange:
    found = _LINE.fullmatch(line)
    assert found is not None, line
    text, said = found["text"], found["said"]
    alone = found["transaction"] == "-"
    does = DOES[text.split()[0]]
    commits = does is Does.COMMIT or (alone and does is Does.WRITE)
    error = said if re.fullmatch(r"[0-9A-Z]{5}", said) else None
    swallowed = said == "rolled back"
    definite = said != "lost" and commits
    return Exchange(
        "a",
        own if alone else int(found["transaction"]),
        does,
        text,
        at,
        commits=commits,
        answered_at=None if said == "lost" else at + 1,
        sqlstate=error,
        changed=None if does is not Does.WRITE or said != "0 rows" else 0,
        guarded=does is Does.WRITE and not text.startswith("UPSERT"),
        applied=(error is None and not swallowed) if definite else None,
        swallowed=swallowed,
        reverted=said == "taken back",
    )


def convicted(text: str) -> set[Rule]:
    attempt, exchanges = history(text)
    return {violation.rule for violation in judge([attempt], exchanges)}


RIGHT = {
    "a booking": """
        1: BEGIN → ok
        1: SELECT → ok
        1: UPDATE → ok
        1: INSERT → ok
        1: COMMIT → ok
        answer: BOOKED""",
    "a booking in one statement": """
        -: INSERT → ok
        answer: BOOKED""",
    "a repetition is found by reading": """
        -: SELECT → ok
        answer: BOOKED""",
    "a repetition is found by its key": """
        1: INSERT → 23505
        1: ROLLBACK → ok
        -: SELECT → ok
        answer: BOOKED""",
    "a repetition is found by an upsert that inserts nothing": """
        1: UPSERT → 0 rows
        1: COMMIT → ok
        answer: BOOKED""",
    "a repetition is found in a transaction that is lost before its end": """
        1: UPDATE → ok
        1: UPSERT → 0 rows
        1: SELECT → ok
        another booked it
        connection lost
        answer: BOOKED""",
    "a repetition is found in a transaction that is still open": """
        1: UPDATE → ok
        1: UPSERT → 0 rows
        another booked it
        answer: BOOKED
        1: ROLLBACK → ok""",
    "a repetition is found by a statement whose tag does not tell, and the end is lost": """
        1: INSERT → ok
        another booked it
        1: COMMIT → lost
        answer: BOOKED""",
    "a repetition is found by its key, and the failed transaction is committed": """
        1: INSERT → 23505
        1: COMMIT → rolled back
        -: SELECT → ok
        another booked it
        answer: BOOKED""",
    "a repetition that gives up at the end of what did nothing": """
        1: INSERT → ok
        another booked it
        1: COMMIT → lost
        answer: INFRASTRUCTURE""",
    "a write is taken back, and the end of its transaction is lost": """
        1: UPDATE → taken back
        1: COMMIT → lost
        answer: REJECTED""",
    "a repetition is found by its key alone": """
        -: INSERT → 23505
        answer: BOOKED""",
    "a rejection by reading": """
        -: SELECT → ok
        answer: REJECTED""",
    "a guard that fails": """
        1: UPDATE → 0 rows
        1: ROLLBACK → ok
        answer: CONFLICT""",
    "a guard that fails, its transaction committed": """
        1: UPDATE → 0 rows
        1: COMMIT → ok
        answer: CONFLICT""",
    "a conflict at COMMIT": """
        1: UPDATE → ok
        1: INSERT → ok
        1: COMMIT → 40001
        answer: CONFLICT""",
    "a lost answer to COMMIT": """
        1: INSERT → ok
        1: COMMIT → lost
        connection lost
        answer: IN DOUBT""",
    "a lost answer in autocommit": """
        -: INSERT → lost
        connection lost
        answer: IN DOUBT""",
    "a lost answer before COMMIT": """
        1: INSERT → lost
        connection lost
        answer: INFRASTRUCTURE""",
    "a lost answer to the COMMIT of a transaction that only read": """
        1: SELECT → ok
        1: COMMIT → lost
        connection lost
        answer: INFRASTRUCTURE""",
    "after a lost connection it looks, and writes nothing": """
        1: INSERT → lost
        connection lost
        -: SELECT → ok
        answer: INFRASTRUCTURE""",
    "a driver heals a read before the first write": """
        -: SELECT → 26000
        -: SELECT → ok
        1: INSERT → ok
        1: COMMIT → ok
        answer: BOOKED""",
    "a COMMIT answered by ROLLBACK": """
        1: INSERT → ok
        1: COMMIT → rolled back
        answer: CONFLICT""",
    "a COMMIT of nothing answered by ROLLBACK": """
        1: SELECT → 22012
        1: COMMIT → rolled back
        -: SELECT → ok
        answer: BOOKED""",
    "the pool resets and reads after the answer": """
        -: INSERT → ok
        answer: BOOKED
        2: ROLLBACK → ok
        -: RESET → ok
        -: SELECT → ok
        3: COMMIT → ok""",
    "an exception in doubt": """
        1: INSERT → ok
        1: COMMIT → lost
        raises, in doubt""",
    "pending": """
        1: INSERT → ok
        1: COMMIT → lost""",
}

WRONG = {
    "the same again after an error": (
        Rule.NO_HIDDEN_RETRY,
        """
        1: UPDATE → 40001
        1: ROLLBACK → ok
        2: UPDATE → ok
        2: COMMIT → ok
        answer: BOOKED""",
    ),
    "the same again behind a savepoint": (
        Rule.NO_HIDDEN_RETRY,
        """
        1: UPDATE → 55P03
        1: RESET to savepoint → ok
        1: UPDATE → ok
        1: COMMIT → ok
        answer: BOOKED""",
    ),
    "an error of a read, and then a write": (
        Rule.NO_HIDDEN_RETRY,
        """
        1: SELECT → 40001
        1: ROLLBACK → ok
        2: INSERT → ok
        2: COMMIT → ok
        answer: BOOKED""",
    ),
    "a loop on the guard, in one transaction": (
        Rule.NO_HIDDEN_RETRY,
        """
        1: UPDATE → 0 rows
        1: SELECT → ok
        1: UPDATE → ok
        1: COMMIT → ok
        answer: BOOKED""",
    ),
    "a second transaction without any sign": (
        Rule.NO_HIDDEN_RETRY,
        """
        1: UPDATE → ok
        1: COMMIT → ok
        2: INSERT → ok
        2: COMMIT → ok
        answer: BOOKED""",
    ),
    "two autocommit writes": (
        Rule.NO_HIDDEN_RETRY,
        """
        -: UPDATE → ok
        -: INSERT → ok
        answer: BOOKED""",
    ),
    "again on a new connection": (
        Rule.NO_HIDDEN_RETRY,
        """
        1: BEGIN → ok
        1: SELECT → lost
        connection lost
        2: INSERT → ok
        2: COMMIT → ok
        answer: BOOKED""",
    ),
    "a driver heals a write": (
        Rule.NO_HIDDEN_RETRY,
        """
        -: INSERT → 0A000
        -: INSERT → ok
        answer: BOOKED""",
    ),
    "BOOKED, and the server had rolled back": (
        Rule.NO_SWALLOWED_ERROR,
        """
        1: UPDATE → ok
        1: INSERT → 22012
        1: COMMIT → rolled back
        answer: BOOKED""",
    ),
    "written after the answer": (
        Rule.NOTHING_AFTER_THE_OUTCOME,
        """
        -: SELECT → ok
        answer: BOOKED
        -: INSERT → ok""",
    ),
    "committed after the answer": (
        Rule.NOTHING_AFTER_THE_OUTCOME,
        """
        1: INSERT → ok
        answer: REJECTED
        1: COMMIT → ok""",
    ),
    "left open after the answer": (
        Rule.NOTHING_AFTER_THE_OUTCOME,
        """
        1: SELECT → ok
        answer: REJECTED
        left behind""",
    ),
    "BOOKED before its COMMIT": (
        Rule.NOTHING_BEFORE_THE_COMMIT,
        """
        1: INSERT → ok
        answer: BOOKED""",
    ),
    "BOOKED without waiting for the COMMIT's answer": (
        Rule.NOTHING_BEFORE_THE_COMMIT,
        """
        1: INSERT → ok
        1: COMMIT → lost
        answer: BOOKED""",
    ),
    "BOOKED without waiting in autocommit": (
        Rule.NOTHING_BEFORE_THE_COMMIT,
        """
        -: INSERT → lost
        answer: BOOKED""",
    ),
    "BOOKED out of its own memory": (
        Rule.NOTHING_BEFORE_THE_COMMIT,
        """
        answer: BOOKED""",
    ),
    "BOOKED out of its own memory, though another booked it": (
        Rule.NOTHING_BEFORE_THE_COMMIT,
        """
        another booked it
        answer: BOOKED""",
    ),
    "written and taken back, and again after an error": (
        Rule.NO_HIDDEN_RETRY,
        """
        1: UPDATE → taken back
        1: INSERT → 23505
        1: UPDATE → ok
        1: COMMIT → ok
        answer: BOOKED""",
    ),
    "doubt about a COMMIT of what was taken back": (
        Rule.DOUBT_WHERE_DUE,
        """
        1: UPDATE → taken back
        1: COMMIT → lost
        answer: IN DOUBT""",
    ),
    "BOOKED without having heard of a row": (
        Rule.NOTHING_BEFORE_THE_COMMIT,
        """
        1: BEGIN → ok
        1: SELECT → lost
        answer: BOOKED""",
    ),
    "sure of a COMMIT without an answer": (
        Rule.DOUBT_WHERE_DUE,
        """
        1: INSERT → ok
        1: COMMIT → lost
        connection lost
        answer: INFRASTRUCTURE""",
    ),
    "a conflict while the COMMIT is on its way": (
        Rule.DOUBT_WHERE_DUE,
        """
        1: INSERT → ok
        1: COMMIT → lost
        answer: CONFLICT""",
    ),
    "an exception, sure of a COMMIT without an answer": (
        Rule.DOUBT_WHERE_DUE,
        """
        1: INSERT → ok
        1: COMMIT → lost
        raises""",
    ),
    "doubt before any COMMIT": (
        Rule.DOUBT_WHERE_DUE,
        """
        1: INSERT → lost
        connection lost
        answer: IN DOUBT""",
    ),
    "doubt about a COMMIT that was refused": (
        Rule.DOUBT_WHERE_DUE,
        """
        1: INSERT → ok
        1: COMMIT → 40001
        answer: IN DOUBT""",
    ),
    "doubt about a COMMIT of nothing": (
        Rule.DOUBT_WHERE_DUE,
        """
        1: UPDATE → 0 rows
        1: COMMIT → lost
        answer: IN DOUBT""",
    ),
}


@pytest.mark.parametrize("name", RIGHT)
def test_what_is_right_is_not_convicted(name: str) -> None:
    assert convicted(RIGHT[name]) == set()


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_convicted_by_its_rule_alone(name: str) -> None:
    rule, text = WRONG[name]
    assert convicted(text) == {rule}


TWO = (("b1", 2), ("b2", 1))
TAKEN_BACK = {
    "a row is deleted": (Snapshot(5, "r", TWO, 3), Snapshot(50, "r", (("b1", 2),), 1)),
    "a row holds fewer units": (Snapshot(5, "r", TWO), Snapshot(50, "r", (("b1", 1), ("b2", 1)))),
    "only the count is lower": (Snapshot(5, "r", TWO, 3), Snapshot(50, "r", TWO, 2)),
}
LEFT_ALONE = {
    "a row is added": (Snapshot(5, "r", TWO, 3), Snapshot(50, "r", (*TWO, ("b3", 1)), 4)),
    "another resource holds less": (Snapshot(5, "r", TWO, 3), Snapshot(50, "s", (), 0)),
    "it was gone at the instant of the commit": (Snapshot(5, "r", TWO), Snapshot(30, "r", ())),
    "it was there at the instant of the commit's answer": (
        Snapshot(31, "r", TWO),
        Snapshot(50, "r", ()),
    ),
    "it was gone before anything was committed": (Snapshot(5, "r", TWO), Snapshot(15, "r", ())),
    "it was gone after all was committed": (Snapshot(45, "r", TWO), Snapshot(50, "r", ())),
}
DELETING = history("1: BEGIN → ok\n1: UPDATE → ok\n1: COMMIT → ok\nanswer: REJECTED")


@pytest.mark.parametrize("snapshots", TAKEN_BACK.values(), ids=TAKEN_BACK.keys())
def test_what_a_commit_takes_back_is_a_compensation(snapshots: tuple[Snapshot, ...]) -> None:
    attempt, exchanges = DELETING
    (violation,) = judge([attempt], exchanges, snapshots)
    assert violation.rule is Rule.NO_IMPLICIT_COMPENSATION
    assert violation.attempt == "a"
    assert "«COMMIT»" in violation.explanation


@pytest.mark.parametrize("snapshots", LEFT_ALONE.values(), ids=LEFT_ALONE.keys())
def test_what_no_commit_takes_back_is_none(snapshots: tuple[Snapshot, ...]) -> None:
    attempt, exchanges = DELETING
    assert list(judge([attempt], exchanges, snapshots)) == []


def test_a_commit_that_wrote_nothing_takes_nothing_back() -> None:
    attempt, exchanges = history("1: BEGIN → ok\n1: SELECT → ok\n1: COMMIT → ok\nanswer: REJECTED")
    snapshots = TAKEN_BACK["a row is deleted"]
    assert list(judge([attempt], exchanges, snapshots)) == []


def test_every_rule_convicts_something() -> None:
    of_snapshots = {Rule.NO_IMPLICIT_COMPENSATION}
    assert {rule for rule, _ in WRONG.values()} | of_snapshots == set(Rule)


def test_each_is_judged_by_its_own_statements() -> None:
    attempt, exchanges = history(WRONG["two autocommit writes"][1])
    other = evolve(attempt, name="b")
    shared = [exchanges[0], evolve(exchanges[1], attempt="b")]
    assert list(judge([attempt, other], shared)) == []
    (violation,) = judge([attempt, evolve(other, answer=REJECTED)], exchanges)
    assert violation.attempt == "a"
    assert "«INSERT»" in violation.explanation


TOGETHER = """
    1: BEGIN → ok
    1: INSERT → ok
    1: INSERT → ok
    1: COMMIT → {}
    answer: {}
"""
"""Two attempts of which the second one's write comes last, and the first one ends it for both."""


def together(commit: str, answer: str) -> list[tuple[str, Rule]]:
    attempt, exchanges = history(TOGETHER.format(commit, answer))
    exchanges[2] = evolve(exchanges[2], attempt="b")
    found = judge([attempt, evolve(attempt, name="b")], exchanges)
    return sorted((each.attempt, each.rule) for each in found)


@pytest.mark.parametrize(
    ("commit", "answer"),
    [("ok", "BOOKED"), ("lost", "IN DOUBT"), ("rolled back", "INFRASTRUCTURE")],
)
def test_the_end_of_a_transaction_is_that_of_all_who_wrote_in_it(commit: str, answer: str) -> None:
    assert together(commit, answer) == []


@pytest.mark.parametrize(
    ("commit", "answer", "rule"),
    [
        ("lost", "BOOKED", Rule.NOTHING_BEFORE_THE_COMMIT),
        ("lost", "INFRASTRUCTURE", Rule.DOUBT_WHERE_DUE),
        ("rolled back", "BOOKED", Rule.NO_SWALLOWED_ERROR),
    ],
)
def test_and_what_is_wrong_of_one_is_wrong_of_all(commit: str, answer: str, rule: Rule) -> None:
    assert together(commit, answer) == [("a", rule), ("b", rule)]


def test_a_rule_has_a_title_and_a_sentence() -> None:
    assert {rule.title for rule in Rule} == {
        "no hidden retry",
        "no swallowed error",
        "no implicit compensation",
        "nothing after the outcome",
        "nothing before the commit",
        "in doubt exactly where it is due",
    }
    assert all(rule.sentence and ": " not in rule.sentence for rule in Rule)


@pytest.mark.parametrize(
    ("server", "in_doubt", "right"),
    [
        # The answer to an autocommit write was lost: nobody told the attempt what became of it.
        ({"applied": True, "changed": 1}, True, True),
        ({"applied": True, "changed": 1}, False, False),
        ({"applied": None}, True, True),
        ({"applied": None}, False, False),
        # The server refused it. Who doubts cannot know; who does not is right all the same.
        ({"applied": False, "sqlstate": "23514"}, True, True),
        ({"applied": False, "sqlstate": "23514"}, False, True),
        # It was told: then there is nothing to doubt.
        ({"applied": False, "sqlstate": "23514", "answered_at": 15}, True, False),
        ({"applied": False, "sqlstate": "23514", "answered_at": 15}, False, True),
        # It was told at the instant of its answer: it may have known, or not.
        ({"applied": True, "changed": 1, "answered_at": 20}, True, True),
        ({"applied": True, "changed": 1, "answered_at": 20}, False, True),
        # It was told after its answer: too late.
        ({"applied": True, "changed": 1, "answered_at": 25}, True, True),
        ({"applied": True, "changed": 1, "answered_at": 25}, False, False),
    ],
)
def test_doubt_is_refuted_by_what_the_attempt_was_told_only(
    server: dict[str, object], *, in_doubt: bool, right: bool
) -> None:
    answer = IN_DOUBT if in_doubt else INFRASTRUCTURE
    attempt = Attempt("a", 20, answer, in_doubt)
    write = Exchange("a", 1, Does.WRITE, "INSERT", 10, commits=True)
    rules = {v.rule for v in judge([attempt], [evolve(write, **server)])}
    assert (Rule.DOUBT_WHERE_DUE not in rules) == right
