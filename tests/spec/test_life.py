"""One life and its world, move by move."""

from __future__ import annotations

import pytest
from attrs import evolve

from lastseat.spec.life import ABSTRACT, enabled, step
from lastseat.spec.modelcheck import Scope
from lastseat.spec.refinements import LOCKING, OPTIMISTIC, REFINEMENTS
from lastseat.spec.vocabulary import BOOKED, CONFLICT, IN_DOUBT, INFRASTRUCTURE, REJECTED
from lastseat.spec.world import Action, Claim, Move, Stage, World

ALONE = Scope.of(1, 1).world
TWO = Scope.of(2, 1, faults=2, crashes=1, repeats=1).world


def run(world: World, *moves: tuple[Move, int], life=ABSTRACT) -> World:
    """Let the claims move in this order; of several answers the first that is enabled."""
    for move, claim in moves:
        wanted = None if move is Move.CRASH else claim
        actions = [a for a in enabled(world, life) if (a.move, a.claim) == (move, wanted)]
        assert actions, f"{move} of claim {claim} is not enabled"
        world = step(world, actions[0], life)
    return world


def answers(world: World, claim: int, life=ABSTRACT) -> set[object]:
    """What an attempt of the claim can emit next."""
    return {a.answer for a in enabled(world, life) if (a.move, a.claim) == (Move.EMIT, claim)}


def to_commit(claim: int) -> list[tuple[Move, int]]:
    return [(Move.INVOKE, claim), (Move.OBSERVE, claim), (Move.PERSIST, claim)]


def book(claim: int) -> list[tuple[Move, int]]:
    return [*to_commit(claim), (Move.LAND, claim), (Move.EMIT, claim)]


@pytest.mark.parametrize("life", [ABSTRACT, *REFINEMENTS], ids=lambda life: life.name)
@pytest.mark.parametrize(("capacity", "answer"), [(1, BOOKED), (0, REJECTED)])
def test_alone_and_undisturbed_every_way_through_a_life_ends_alike(life, capacity, answer):
    todo, ends = [Scope.of(1, capacity).world], set()
    while todo:
        world = todo.pop()
        actions = enabled(world, life)
        todo += [step(world, action, life) for action in actions]
        if not actions:
            ends.add((world.claims[0].rows, world.claims[0].told))
    assert ends == {(int(answer == BOOKED), frozenset({answer}))}


def test_a_stale_reading_proposes_what_the_database_then_rejects():
    world = run(TWO, (Move.INVOKE, 1), (Move.OBSERVE, 1), *book(0), (Move.PERSIST, 1))
    assert Action(Move.REFUSE, 1, 0, REJECTED) in enabled(world)
    assert not any(a.move is Move.LAND for a in enabled(world))


def test_a_version_that_moved_is_a_conflict():
    before = [(Move.INVOKE, 1), (Move.OBSERVE, 1)]
    winner = [(Move.INVOKE, 0), (Move.OBSERVE, 0), (Move.WRITE, 0), (Move.PERSIST, 0)]
    world = run(TWO, *before, *winner, life=OPTIMISTIC)
    assert not any(a.claim == 1 and a.move is Move.REFUSE for a in enabled(world, OPTIMISTIC))
    world = run(world, (Move.LAND, 0), life=OPTIMISTIC)
    assert Action(Move.REFUSE, 1, 0, CONFLICT) in enabled(world, OPTIMISTIC)


def test_a_held_lock_is_waited_for_or_given_up():
    world = run(TWO, (Move.INVOKE, 0), (Move.LOCK, 0), (Move.INVOKE, 1), life=LOCKING)
    assert world.shared.ledgers[0].locked
    own = {a.move for a in enabled(world, LOCKING) if a.claim == 1}
    assert own == {Move.REFUSE, Move.LOSE_REQUEST, Move.REPORT}


@pytest.mark.parametrize(
    ("moves", "answer", "rows"),
    [
        ([(Move.INVOKE, 0), (Move.LOSE_REQUEST, 0)], INFRASTRUCTURE, 0),
        ([(Move.INVOKE, 0), (Move.OBSERVE, 0), (Move.LOSE_REQUEST, 0)], INFRASTRUCTURE, 0),
        ([*to_commit(0), (Move.LOSE_REQUEST, 0)], IN_DOUBT, 0),
        ([*to_commit(0), (Move.TIME_OUT, 0)], IN_DOUBT, 0),
        ([*to_commit(0), (Move.TIME_OUT, 0), (Move.LAND_LATE, 0)], IN_DOUBT, 1),
        ([*to_commit(0), (Move.LAND, 0), (Move.LOSE_ANSWER, 0)], IN_DOUBT, 1),
        ([*to_commit(0), (Move.CRASH, 0)], IN_DOUBT, 0),
        ([*to_commit(0), (Move.LAND, 0), (Move.CRASH, 0)], IN_DOUBT, 1),
        ([(Move.INVOKE, 0), (Move.CRASH, 0)], INFRASTRUCTURE, 0),
        ([*to_commit(0), (Move.REPORT, 0)], CONFLICT, 0),
    ],
)
def test_what_a_fault_leaves_to_be_said(moves, answer, rows):
    world = run(TWO, *moves)
    assert answers(world, 0) == {answer}
    assert world.claims[0].rows == rows


def test_a_commit_in_doubt_lands_after_the_answer_until_its_fence():
    world = run(TWO, *to_commit(0), (Move.TIME_OUT, 0), (Move.EMIT, 0))
    assert run(world, (Move.LAND_LATE, 0)).claims[0].rows == 1
    fenced = run(world, (Move.FENCE, 0))
    assert fenced.claims[0].live == ()
    assert not any(a.move is Move.LAND_LATE for a in enabled(fenced))


def test_a_crash_leaves_nothing_that_could_land():
    world = run(TWO, *to_commit(0), (Move.TIME_OUT, 0), (Move.EMIT, 0), (Move.CRASH, 0))
    assert not any(a.move is Move.LAND_LATE for a in enabled(world))


def test_a_late_commit_is_arbitrated_too():
    world = run(TWO, *to_commit(0), (Move.TIME_OUT, 0), *book(1))
    assert not any(a.move is Move.LAND_LATE for a in enabled(world))


def test_repeating_resolves_doubt():
    doubt = run(TWO, *to_commit(0), (Move.TIME_OUT, 0), (Move.EMIT, 0))
    landed = run(doubt, (Move.LAND_LATE, 0), (Move.REPEAT, 0), (Move.OBSERVE, 0))
    assert answers(landed, 0) == {BOOKED}
    lost = run(doubt, (Move.FENCE, 0), *book(1), (Move.REPEAT, 0), (Move.OBSERVE, 0))
    assert answers(lost, 0) == {REJECTED}


@pytest.mark.parametrize("answer", [BOOKED, REJECTED])
def test_a_definite_answer_is_not_repeated(answer):
    claim = evolve(Claim(0, 1, invoked=1), told=frozenset({answer}), rows=int(answer == BOOKED))
    assert not enabled(World(TWO.shared, (claim,)))


def test_a_conflict_needs_somebody_else():
    world = run(TWO, *to_commit(0))
    collision = Action(Move.REFUSE, 0, 0, CONFLICT)
    assert collision not in enabled(world)
    assert collision in enabled(run(world, (Move.INVOKE, 1)))


def test_a_failed_attempt_is_in_the_way_until_it_is_fenced():
    failed = run(TWO, (Move.INVOKE, 1), (Move.LOSE_REQUEST, 1), (Move.EMIT, 1))
    collision = Action(Move.REFUSE, 0, 0, CONFLICT)
    assert collision in enabled(run(failed, *to_commit(0)))
    assert collision not in enabled(run(failed, (Move.FENCE, 1), *to_commit(0)))


def test_a_lock_outlives_the_answer_until_its_fence():
    begun = [(Move.INVOKE, 0), (Move.OBSERVE, 0), (Move.WRITE, 0)]
    world = run(TWO, *begun, (Move.LOSE_REQUEST, 0), (Move.EMIT, 0), life=OPTIMISTIC)
    assert world.claims[0].live[0].stage is Stage.GONE
    assert world.shared.ledgers[0].locked
    assert not run(world, (Move.FENCE, 0), life=OPTIMISTIC).shared.ledgers[0].locked


@pytest.mark.parametrize(
    "action",
    [
        Action(Move.EMIT, 0, 0, BOOKED),
        Action(Move.LAND, 0),
        Action(Move.CRASH),
        Action(Move.INVOKE),
    ],
    ids=str,
)
def test_what_is_not_enabled_is_refused(action):
    with pytest.raises(ValueError, match="not enabled"):
        step(ALONE, action)


def test_labels_tell_all_transitions_apart():
    start = Scope.of(2, 1, faults=1).world
    todo, met = [start], {start}
    while todo:
        world = todo.pop()
        actions = enabled(world)
        assert len(set(actions)) == len(actions)
        fresh = {step(world, action) for action in actions} - met
        met |= fresh
        todo += fresh
