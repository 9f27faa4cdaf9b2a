"""The module for TLC says what the Python text says; running TLC itself is a target of its own."""

from __future__ import annotations

import re
from pathlib import Path

from lastseat.spec.life import enabled, step
from lastseat.spec.modelcheck import Scope
from lastseat.spec.world import Move

BOOKING = Path(__file__).parents[2] / "spec" / "tla" / "Booking.tla"


def test_every_move_of_the_abstract_life_has_its_action():
    text = BOOKING.read_text()
    disjuncts = text[text.index("Next ==") : text.index("Spec ==")]
    actions = set(re.findall(r"\\/ ([A-Z]\w+)", disjuncts))
    todo, met, moves = [Scope.of(1, 1, 1, 1, 1).world], set(), set()
    while todo:
        world = todo.pop()
        for action in enabled(world):
            moves.add(action.move)
            after = step(world, action)
            if after not in met:
                met.add(after)
                todo.append(after)
    # There the database's answers are told apart by their reason, here by what they lead to.
    named = {move.name.title().replace("_", "") for move in moves - {Move.LAND, Move.REFUSE}}
    assert actions == named | {"Arbitrate", "Collide"}
