"""What other programs read: it fits its schema, says all there is, and is whole at every moment."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import jsonschema
import pytest
from attrs import evolve

from lastseat.harness.campaign import Convicted
from lastseat.harness.cases import Case
from lastseat.harness.confirmation import SeenOnce
from lastseat.harness.documents import keep
from lastseat.harness.documents.junit import WHOLE, junit
from lastseat.harness.documents.summary import SCHEMA, summary
from lastseat.harness.judge.verdict import Finding, Repeated
from lastseat.harness.selection import Known
from lastseat.harness.story import Story
from lastseat.harness.venue import Found
from lastseat.harness.verify import Result, Verification, Watcher

CONVICTED = Convicted(
    (
        Finding("capacity", "It fits.", ("alice-1", "bob-1"), "on r1, 2 of 1 <&>\x00", fact=True),
        Finding("REJECTED", "No room.", ("bob-1",), "room", repeated=Repeated(3, 4)),
    ),
    ("  1. alice: COMMIT",),
    Path("out", "violation-1.schedule.json"),
    "last-seat",
)
SEEN_ONCE = SeenOnce(
    ("CONFLICT",), "last-seat", Path("out", "seen-once-1.schedule.json"), "not in 3 repetitions"
)
SCHEMATA = json.loads(SCHEMA.read_text())


def case(name: str) -> Case:
    return Case(name, "why", lambda *_: None)


def verification(out: Path = Path("out")) -> Verification:
    """One in which everything has happened that can."""
    known = Known({"known": "[to be mended]"})
    made = Verification("it", "PostgreSQL", "quick", 7, out, known=known)
    made.results = [
        Result(case("good"), Found("34 schedules"), 1.0),
        Result(case("bad"), Found("2 schedules", convicted=[CONVICTED]), 1.5),
        Result(case("known"), Found(convicted=[CONVICTED]), 1.0, "[to be mended]"),
        Result(
            case("doubtful"), Found(reasons=["it was not seen to fire"], seen_once=[SEEN_ONCE]), 1.0
        ),
        Result(case("idle"), Found("there is no turn that it can meet", applies=False), 1.0),
        Result(case("broken"), Found(), 1.0, None, "alice: it said nothing", whole=False),
        Result(case("interrupted"), Found(), 1.0, whole=False),
    ]
    made.deselected = [case("unwanted")]
    made.not_run = [case("later")]
    return made


def listed(result: Verification) -> dict[str, ElementTree.Element]:
    top = ElementTree.fromstring(junit(result))
    return {str(test.get("name")): test for test in top.iter("testcase")}


def test_the_summary_fits_its_schema_and_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMATA)
    jsonschema.validate(json.loads(json.dumps(summary(verification()))), SCHEMATA)
    jsonschema.validate(summary(Verification("x", "", "full", 0, Path())), SCHEMATA)


def test_the_schema_refuses_what_is_none() -> None:
    def refused(change: dict[str, Any]) -> bool:
        made = {**summary(verification()), **change}
        return bool(list(jsonschema.Draft202012Validator(SCHEMATA).iter_errors(made)))

    assert not refused({})
    assert refused({"format": "lastseat-verification/2"})
    assert refused({"verdict": "good"})
    assert refused({"more": 1})
    assert refused({"cases": [{"id": "x"}]})


def test_the_summary_says_what_was_found_by_whom_and_how_to_run_it_again() -> None:
    told = summary(verification())
    verdicts = {each["id"]: each["verdict"] for each in told["cases"]}
    assert verdicts == {
        "good": "pass",
        "bad": "violation",
        "known": "violation",
        "doubtful": "inconclusive",
        "idle": "pass",
        "broken": "error",
        "interrupted": "inconclusive",
    }
    (violation,) = told["cases"][1]["violations"]
    assert violation["replay"] == "lastseat replay out/violation-1.schedule.json"
    capacity, rejected = violation["findings"]
    assert (capacity["rule"], capacity["fact"]) == ("capacity", True)
    told_of = (rejected["rule"], rejected["fact"], rejected["illegal"], rejected["runs"])
    assert told_of == ("REJECTED", False, 3, 4)
    assert told["cases"][3]["seen_once"] == [
        {
            "scenario": "last-seat",
            "rules": ["CONFLICT"],
            "how": "not in 3 repetitions",
            "schedule": "out/seen-once-1.schedule.json",
            "replay": "lastseat replay out/seen-once-1.schedule.json",
        }
    ]
    once = (
        "seen once, not in 3 repetitions: CONFLICT in last-seat;"
        " lastseat replay out/seen-once-1.schedule.json"
    )
    assert once in told["reasons"]
    assert (told["verdict"], told["finished"]) == ("violation", False)
    assert (told["deselected"], told["not_run"]) == (["unwanted"], ["later"])
    assert told["errors"] == ["alice: it said nothing"]


@pytest.mark.parametrize(
    ("name", "kind", "words"),
    [
        ("bad", "failure", "capacity (alice-1, bob-1): on r1, 2 of 1 <&>"),
        ("known", "skipped", "known to fail: [to be mended]"),
        ("doubtful", "error", "seen once, not in 3 repetitions: CONFLICT in last-seat"),
        ("idle", "skipped", "there is no turn that it can meet"),
        ("broken", "error", "alice: it said nothing"),
        ("interrupted", "error", "interrupted"),
        ("unwanted", "skipped", "deselected"),
        ("later", "error", "it was not come to"),
        (WHOLE, "error", "it was interrupted before it had looked at everything"),
    ],
)
def test_junit_tells_each_kind_of_end_apart(name: str, kind: str, words: str) -> None:
    result = verification()
    if name == WHOLE:
        del result.results[5]  # an adapter's error is reason enough
    (told,) = listed(result)[name]
    assert told.tag == kind
    assert words in str(told.get("message"))


def test_junit_counts_and_explains() -> None:
    made = listed(verification())
    suite = ElementTree.fromstring(junit(verification()))[0]
    assert list(made["good"]) == []
    told = str(made["bad"][0].text)
    assert "1. alice: COMMIT" in told
    assert "a fact: committed states and answers prove it" in told
    assert "illegal in 3 of 4" in told
    assert "run it again: lastseat replay out/violation-1.schedule.json" in told
    assert "\x00" not in told
    assert int(suite.attrib["tests"]) == len(made)
    for attribute, kind in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        count = sum(test.find(kind) is not None for test in made.values())
        assert int(suite.attrib[attribute]) == count > 0


def test_the_documents_are_kept_case_by_case(tmp_path: Path) -> None:
    result = verification(tmp_path / "out")
    last = result.results.pop()
    keep.keep(result)
    before = json.loads((tmp_path / "out" / keep.JSON).read_text())
    result.results.append(last)
    keep.Keeping(result, Watcher()).ends(last)
    after = json.loads((tmp_path / "out" / keep.JSON).read_text())
    assert len(after["cases"]) == len(before["cases"]) + 1
    assert {file.name for file in (tmp_path / "out").iterdir()} == {keep.JSON, keep.JUNIT}


def test_a_page_is_kept_for_each_violation_whichever_case_comes_last(tmp_path: Path) -> None:
    result = verification(tmp_path)
    story = Story(CONVICTED.findings, "s", "why", "it", (), (), (), None)
    first, second = (
        evolve(CONVICTED, schedule=tmp_path / f"violation-{n}.schedule.json", story=story)
        for n in (1, 2)
    )
    result.results[1].found.convicted[:] = [first]
    result.results[2].found.convicted[:] = [second]
    keeping = keep.Keeping(result)
    keeping.ends(result.results[2])
    assert [file.name for file in tmp_path.glob("*.html")] == ["violation-2.html"]
    keeping.finish()
    assert {file.name for file in tmp_path.glob("*.html")} == {
        "violation-1.html",
        "violation-2.html",
    }
    told = summary(result)["cases"][1]["violations"][0]
    assert told["page"] == str(tmp_path / "violation-1.html")


def test_a_document_is_never_half_of_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "junit.xml"
    keep.write(file, b"the whole")

    def fails(*_: object) -> int:
        raise OSError("no space left")

    monkeypatch.setattr(Path, "write_bytes", fails)
    with pytest.raises(OSError, match="no space"):
        keep.write(file, b"the next")
    assert file.read_text() == "the whole"
