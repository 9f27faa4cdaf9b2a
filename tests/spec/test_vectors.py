"""The vectors: valid, stable, complete, and of use to a consumer in another language."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from lastseat.spec import vectors
from lastseat.spec.cases import cases
from lastseat.spec.history import read
from lastseat.spec.legality import judge
from lastseat.spec.life import ABSTRACT
from lastseat.spec.modelcheck import Scope
from lastseat.spec.resource import Verdict, decide
from lastseat.spec.rules import Rule
from lastseat.spec.scripts import Result, broken, by_transition, follow, transitions_in
from lastseat.spec.statements import STATEMENTS
from lastseat.spec.stories import SEQUENCES, STORIES
from lastseat.spec.traces import Automaton
from lastseat.spec.world import Claim, Move

CONSUMER = Path(__file__).parent / "consumer.mjs"

Vectors = dict[str, list[dict[str, Any]]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("vectors") / "new"
    assert vectors.write(folder) == sum(map(len, load(folder).values()))
    return folder


def load(folder: Path) -> Vectors:
    kinds = ("sequential", "scripts", "histories")
    return {kind: json.loads((folder / f"{kind}.json").read_text())["vectors"] for kind in kinds}


@pytest.fixture(scope="module")
def written(folder: Path) -> Vectors:
    return load(folder)


def test_they_are_valid(folder: Path) -> None:
    schema = json.loads((folder / "vectors-1.schema.json").read_text())
    Draft202012Validator.check_schema(schema)
    for kind in ("sequential", "scripts", "histories"):
        Draft202012Validator(schema).validate(json.loads((folder / f"{kind}.json").read_text()))


def test_their_histories_are_histories(written: Vectors) -> None:
    for vector in written["histories"]:
        history = read(json.dumps(line) for line in vector["lines"])
        assert judge(history).legal == vector["legal"], vector["id"]
        assert vector["legal"] == (not vector["breaks"])


def test_their_ids_are_their_own(written: Vectors) -> None:
    ids = [vector["id"] for kind in written.values() for vector in kind]
    assert (
        len(ids)
        == len(set(ids))
        == len(SEQUENCES) + len(STORIES) + len(by_transition()) + len(tuple(cases()))
    )


def test_the_same_is_written_again(folder: Path, tmp_path: Path) -> None:
    vectors.write(tmp_path)
    for path in folder.iterdir():
        assert path.read_bytes() == (tmp_path / path.name).read_bytes(), path.name


def test_every_rule_is_exercised(written: Vectors) -> None:
    """By a vector that is named after it, by one that breaks it, and by a legal near miss."""
    every = {rule.value for rule in Rule}
    assert {vector["rule"] for vector in written["histories"]} == every
    assert {v["rule"] for v in written["histories"] if v["legal"]} == every
    assert {rule for v in written["histories"] for rule in v["breaks"]} == every


def test_every_statement_has_a_vector(written: Vectors) -> None:
    used = {
        (source["section"], source["words"])
        for kind in written.values()
        for vector in kind
        for source in vector["source"]
    }
    assert used == {(statement.section, statement.words) for statement in STATEMENTS}


def test_every_case_of_the_sequential_step_is_exercised() -> None:
    met = set()
    for sequence in SEQUENCES:
        state = sequence.start
        for request in sequence.requests:
            resource = state.resources.get(request.resource_id)
            held = state.booking(request.booking_id)
            if resource is None or request.requested_units < 1:
                continue
            elsewhere = held is not None and held.resource_id != request.resource_id
            own = resource.bookings.get(request.booking_id)
            asked = (own, elsewhere, request.requested_units)
            verdict = decide(resource.capacity, resource.booked, *asked)
            met.add(verdict)
            if verdict is Verdict.FITS:
                state, _ = vectors.step(state, request)
    assert met == set(Verdict)


def test_every_transition_of_the_life_is_exercised(written: Vectors) -> None:
    """Counted in scopes of their own too, which are larger than those that scripts come from."""
    runs = [*by_transition().values(), *(follow(s.scope, s.told) for s in STORIES)]
    exercised = {kind for run in runs for kind in run.transitions}
    larger = (
        Scope.of(2, 1, faults=2, crashes=1, repeats=1),
        Scope((Claim(0, 1, callers=2), Claim(0, 1)), (1,), faults=1),
    )
    possible = set()
    for scope in larger:
        possible |= transitions_in(Automaton(ABSTRACT, scope.world))
    assert possible == exercised
    moves = {Move[kind[0]] for kind in exercised}
    assert moves == set(Move) - {Move.LOCK, Move.WRITE}  # those are of refinements only
    assert {step["step"] for v in written["scripts"] for step in v["schedule"]} == {
        *(move.name.lower().replace("_", "-") for move in moves - {Move.LAND, Move.REFUSE}),
        "arbitrate",
    } - {"repeat"}


def test_what_is_refused_breaks_a_rule_and_what_is_legal_none(written: Vectors) -> None:
    rules = set()
    for vector in written["scripts"]:
        plain = [{k: v for k, v in each.items() if k != "breaks"} for each in vector["refused"]]
        assert vector["model"] in vector["legal"], vector["id"]
        assert not any(result in vector["legal"] for result in plain), vector["id"]
        rules |= {rule for each in vector["refused"] for rule in each["breaks"]}
    assert {"BOOKED", "REJECTED", "CONFLICT", "INFRASTRUCTURE", "in doubt", "one id"} <= rules
    assert any(len(vector["legal"]) > 1 for vector in written["scripts"])


def test_a_script_leaves_open_who_gets_the_seat() -> None:
    run = follow("two-for-one", STORIES[0].told)
    first, second = run.result.answers
    assert not broken(run, Result((second, first), (0, 1)))
    assert broken(run, Result((first, first), (1, 1))) == {Rule.CAPACITY}


def test_what_is_no_run_is_no_script() -> None:
    with pytest.raises(ValueError, match="LAND cannot happen here"):
        follow("alone", "b1.1 INVOKE; b1.1 LAND")
    with pytest.raises(ValueError, match="is not complete"):
        follow("alone", "b1.1 INVOKE")


def consume(folder: Path, fault: str = "") -> dict[str, Any]:
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed here: the consumer in JavaScript was not run")
    done = subprocess.run(
        [node, str(CONSUMER), str(folder), fault], capture_output=True, text=True, check=False
    )
    assert done.stdout, done.stderr
    summary: dict[str, Any] = json.loads(done.stdout)
    assert done.returncode == (1 if summary["refused"] else 0)
    return summary


def test_another_language_passes(folder: Path, written: Vectors) -> None:
    summary = consume(folder)
    assert summary["refused"] == summary["skipped"] == []
    assert summary["checked"] == sum(map(len, written.values()))
    assert summary["convicted"] > 0


@pytest.mark.parametrize(
    "fault",
    ["oversells", "unguarded", "hopes", "denies doubt", "swallows", "rebinds", "strict"],
)
def test_a_broken_implementation_is_refused(folder: Path, fault: str) -> None:
    assert consume(folder, fault)["refused"]
