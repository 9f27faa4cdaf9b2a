"""The search: what it counts, what it must have seen, and that it convicts what is broken."""

from __future__ import annotations

import pytest
from attrs import evolve

from lastseat.spec import proof
from lastseat.spec.broken import CANARIES, NoVersionCheck
from lastseat.spec.explorer import Reduced, Tables, Unreduced
from lastseat.spec.life import ABSTRACT, Life, enabled, step
from lastseat.spec.modelcheck import Scope, search
from lastseat.spec.properties import SOMETIMES
from lastseat.spec.refinements import LOCKING, OPTIMISTIC, REFINEMENTS, SINGLE_STATEMENT
from lastseat.spec.world import Claim, Move, World

LIVES = (ABSTRACT, *REFINEMENTS)
TWO = Scope.of(2, 1, faults=1, crashes=1)
AGAIN = Scope.of(2, 1, faults=1, repeats=1)
THREE = Scope.of(3, 2, faults=2, repeats=1)
MIXED = Scope((Claim(0, 2), Claim(0, 1), Claim(1, 1)), (2, 1), faults=1)


def brute_force(scope: Scope, life: Life) -> tuple[set[World], int]:
    """Every world that can be reached, by the readable text alone, and how many transitions."""
    met, todo, transitions = {scope.world}, [scope.world], 0
    while todo:
        world = todo.pop()
        for action in enabled(world, life):
            transitions += 1
            after = step(world, action, life)
            if after not in met:
                met.add(after)
                todo.append(after)
    return met, transitions


@pytest.mark.parametrize("life", LIVES, ids=lambda life: life.name)
@pytest.mark.parametrize(
    "scope", [TWO, proof.ONE_ID, Scope((Claim(0, 2), Claim(0, 1)), (2,), faults=1)], ids=str
)
def test_both_searches_reach_what_the_text_reaches(life, scope):
    worlds, transitions = brute_force(scope, life)
    tables = Tables(life, lambda _: None)
    reduced = Reduced(tables, tables.canonical(scope.world))
    reduced.run()
    assert {
        (shared, *claims)
        for level in reduced.levels
        for shared, states in level.items()
        for claims in states
    } == {tables.canonical(world) for world in worlds}
    assert reduced.unreduced_states() == len(worlds)
    unreduced = Unreduced(tables, len(scope.claims))
    unreduced.run(scope.world)
    assert set(unreduced.worlds()) == worlds
    assert unreduced.states == len(worlds)
    assert unreduced.transitions == transitions


# So that a change of the model shows, if it was not meant to be one.
@pytest.mark.parametrize(
    ("life", "scope", "reduced", "unreduced"),
    [
        (ABSTRACT, AGAIN, (966, 2_782), (1_910, 5_564)),
        (OPTIMISTIC, AGAIN, (322, 685), (639, 1_370)),
        (LOCKING, AGAIN, (354, 768), (701, 1_536)),
        (SINGLE_STATEMENT, AGAIN, (217, 491), (429, 982)),
        (ABSTRACT, TWO, (380, 901), (738, 1_795)),
        (OPTIMISTIC, TWO, (329, 721), (646, 1_440)),
        (ABSTRACT, MIXED, (2_880, 8_961), (2_880, 8_961)),
        (OPTIMISTIC, THREE, (7_948, 27_909), (45_175, 163_392)),
    ],
    ids=str,
)
def test_the_numbers_of_states_and_transitions_are_known(life, scope, reduced, unreduced):
    small, large = search(scope, life), search(scope, life, reduced=False)
    assert (small.states, small.transitions) == reduced
    assert (large.states, large.transitions) == unreduced
    assert small.unreduced_states == large.states


@pytest.mark.parametrize(
    ("life", "states", "transitions", "unreduced"),
    [
        (ABSTRACT, 267_291, 1_574_397, 23_096_138),
        (OPTIMISTIC, 93_933, 429_011, 7_712_087),
    ],
    ids=str,
)
def test_five_attempts_two_faults_and_a_repeat(life, states, transitions, unreduced):
    report = search(proof.FIVE, life)
    assert report.ok, report.text()
    assert (report.states, report.transitions, report.unreduced_states) == (
        states,
        transitions,
        unreduced,
    )


def test_tlc_has_counted_the_same():
    assert search(THREE).unreduced_states == 75_505


@pytest.mark.parametrize("life", LIVES, ids=lambda life: life.name)
@pytest.mark.parametrize("scope", [AGAIN, proof.ONE_ID], ids=str)
def test_right_lives_hold_and_show_all_that_the_scope_offers(life, scope):
    report = search(scope, life)
    assert report.ok, report.text()
    assert {"BOOKED", "FAILED(CONFLICT)"} <= set(report.reached)


def test_everything_that_happens_sometimes_happens_somewhere():
    reports = [search(scope, life) for life in LIVES for scope in (AGAIN, proof.ONE_ID)]
    assert {name for report in reports for name in report.reached} == {s.name for s in SOMETIMES}


@pytest.mark.parametrize("canary", CANARIES, ids=lambda canary: canary.life.name)
def test_broken_lives_are_convicted_by_the_right_property(canary):
    caught = proof.caught(canary)
    assert caught.ok, caught.text()
    assert not caught.report.ok


def test_a_violation_is_told_by_a_shortest_path():
    scope = Scope.of(2, 1)
    report = search(scope, NoVersionCheck())
    assert report.violation is not None
    assert report.violation.path == (
        "attempt 1 of b1 is invoked: 1 of r1",
        "attempt 1 of b1 reads the resource and proposes",
        "attempt 1 of b1 writes, uncommitted, because the version it read still stands",
        "attempt 1 of b1 hands its commit to the connection",
        "attempt 1 of b2 is invoked: 1 of r1",
        "attempt 1 of b2 reads the resource and proposes",
        "attempt 1 of b1 commits: the booking exists",
        "attempt 1 of b2 writes, uncommitted, because the version it read still stands",
        "attempt 1 of b2 hands its commit to the connection",
        "attempt 1 of b2 commits: the booking exists",
    )


def test_a_scope_in_which_something_due_never_happens_fails():
    report = search(evolve(AGAIN, claims=(Claim(0, 1),), capacities=(0,)))
    assert report.violation is None
    assert not report.ok
    assert "BOOKED" in report.missed
    assert "NEVER     BOOKED" in report.text()


def test_a_life_that_does_what_it_cannot_do_fails():
    class Reading(Life):
        name = SINGLE_STATEMENT.name

    report = search(AGAIN, Reading())
    assert report.strayed == ("a stale read that led to a rejection",)
    assert not report.ok


def test_a_hang_is_told():
    class Speechless(Life):
        name = "speechless"

        def emit(self, at):
            return iter(())

    report = search(Scope.of(1, 1), Speechless())
    assert report.violation is not None
    assert report.violation.rule == "nobody hangs"
    assert report.violation.path[-1].startswith("nothing more can happen")


def test_the_report_names_what_was_searched():
    text = search(AGAIN, reduced=False).text(verbose=True)
    assert "2 attempts under 2 ids, for 1 unit, capacity 1, 1 fault, 1 repeat" in text
    assert "always    capacity: the units booked never exceed the capacity" in text
    assert "sometimes doubt that landed late" in text


def test_the_quick_proof_holds():
    done = proof.prove()
    assert done.ok, done.text()
    assert "0 failed" in done.text()


def test_a_failed_part_fails_the_proof():
    good = proof.caught(CANARIES[0])
    bad = evolve(good, canary=evolve(good.canary, rule="counter"))
    assert proof.Proof((good,), 0.0).ok
    assert not proof.Proof((good, bad), 0.0).ok
    assert "CONVICTS" in bad.text()
    missed = evolve(good, report=search(AGAIN))
    assert not missed.ok
    assert "NOT CONVICTED" in missed.text()


def test_a_crash_is_searched_in_all_places_at_once():
    tables = Tables(ABSTRACT, lambda _: None)
    start = tables.canonical(Scope.of(3, 1, crashes=1).world)
    assert tables.after_crash((start[0], start[1])) is None
    moves = {a.move for a in enabled(Scope.of(3, 1, crashes=1).world)}
    assert moves == {Move.INVOKE}
