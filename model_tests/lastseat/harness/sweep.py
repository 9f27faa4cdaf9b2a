"""Faults, one after another, at every place where they can strike.

A sweep runs a schedule without faults, and notes at every step which faults could have come in its
place, or could meet a client that waits for a lock behind it. Then it runs each of these prefixes
with its fault, and sees what becomes of everybody. With a budget of two it goes on from there:
every place that is reached behind the first fault is met by a second one.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from random import Random

from attrs import define, evolve, field, frozen

from lastseat.harness.aftermath import LATE, NEVER, aftermath
from lastseat.harness.faults import FAULTS
from lastseat.harness.run import Run
from lastseat.harness.scenario import Scenario
from lastseat.harness.schedule.decision import RELEASE, START, Decision, Diverged
from lastseat.harness.schedule.interleavings import round_robin, to_the_end
from lastseat.harness.script import Move, script_of
from lastseat.harness.stage import Stage

HASTE_MS = 150
"""What a client is given that is to be met by silence; doubled when that was too little."""

_TRIES = 4
_LATER = frozenset({LATE, NEVER})
"""These decide over what another fault has left in the network: the aftermath brings them about."""


@frozen
class Position:
    """The moves that lead there, the last of which is a fault; how often faults struck."""

    moves: tuple[Move, ...]
    faults: int = 1
    fate: str = LATE

    @property
    def fault(self) -> str:
        return self.moves[-1].decision.move

    @property
    def client(self) -> str:
        return self.moves[-1].decision.client


def overtaken(run: Run) -> None:
    """Everybody makes two turns; then one client after the other goes on to its end."""
    for client in run.clients():
        for _ in range(3):  # to begin is a move, too
            moves = [move for move in run.enabled() if move.client == client]
            if moves:
                run.perform(moves[0])
    to_the_end(run)


BASES: Mapping[str, Callable[[Run], None]] = {
    "in-turn": to_the_end,
    "round-robin": round_robin,
    "overtaken": overtaken,
}
"""Schedules that faults come into."""


@define
class Sweep:
    """Runs a scenario's schedule with every single fault, or with pairs of faults."""

    stage: Stage
    scenario: Scenario
    base: Callable[[Run], None] = to_the_end
    ending: Callable[[Run, str], None] = aftermath
    """What follows a fault; it is told the fate of what is stuck in the network."""
    _diverged: int = field(default=0, init=False)
    _first: list[Position] | None = field(default=None, init=False)
    """The places where a first fault can strike, once the schedule was run without any."""
    _second: list[Position] = field(factory=list, init=False)

    def runs(self, *only: str, but: Collection[str] = ()) -> Iterator[Run]:
        """Every finished run, the first time beginning with the one without a fault.

        ``only``: the faults that are meant (none named: all), ``but`` for some.
        """
        if self._first is None:
            plain = Run(self.stage, self._all_hasty(), notes_faults=True)
            self.base(plain)
            self._first = list(self._positions(plain, 0, 0))
            plain.finish()
            yield plain
        chosen = [p for p in self._first if (not only or p.fault in only) and p.fault not in but]
        for position in sorted(chosen, key=_haste):
            run = self._meet(position)
            self._second += self._positions(run, len(position.moves), 1)
            yield run

    def pairs(self, most: int, seed: int) -> Iterator[Run]:
        """Runs with a second fault behind each of those that ``runs`` has met: at most so many,
        drawn at random, where there are more places for it."""
        chosen = Random(seed).sample(self._second, min(most, len(self._second)))
        for position in sorted(chosen, key=_haste):
            yield self._meet(position)

    def reached(self) -> frozenset[str]:
        """The faults for which there was a place."""
        return frozenset(position.fault for position in self._first or ())

    def take_diverged(self) -> int:
        """How many positions did not come about again since this was asked last."""
        taken, self._diverged = self._diverged, 0
        return taken

    @property
    def places_for_pairs(self) -> int:
        """How many places there are for a second fault."""
        return len(self._second)

    def _all_hasty(self) -> Scenario:
        """With more than enough time: only so that it is seen where silence could strike."""
        return evolve(self.scenario, deadlines=dict.fromkeys(self.scenario.attempts, 4000))

    def _positions(self, run: Run, since: int, faults: int) -> Iterator[Position]:
        """The places behind the first ``since`` steps of this run."""
        steps = run.steps
        moves = script_of(run, steps)
        for index, step in enumerate(steps):
            if index < since:
                continue
            before = tuple(moves[:index])
            if step.decision.move in {START, RELEASE}:
                met = [Decision(name, step.decision.client) for name in step.faults]
                yield from self._strikes(before, met, faults + 1)
            yield from self._strikes(tuple(moves[: index + 1]), step.waiting, faults + 1)

    def _strikes(
        self, before: tuple[Move, ...], met: Sequence[Decision], faults: int
    ) -> Iterator[Position]:
        for decision in met:
            if decision.move in _LATER:
                continue
            yield Position((*before, Move(decision)), faults)
            if decision.move == "stall-request":
                yield Position((*before, Move(decision)), faults, NEVER)

    def _meet(self, position: Position) -> Run:
        """Run the prefix, let the fault happen, and see what becomes of everybody.

        A client that was given too little time to get there is given more.
        """
        haste = HASTE_MS
        for _ in range(_TRIES):
            deadlines = {position.client: haste} if FAULTS[position.fault].waits else {}
            hasty = evolve(self.scenario, deadlines=deadlines)
            run = Run(self.stage, hasty, notes_faults=True)
            try:
                follow(run, position.moves)
            except Diverged:
                haste *= 2
                aftermath(run)
                run.finish()
            else:
                break
        else:
            self._diverged += 1
            return run
        self.ending(run, position.fate)
        run.finish()
        return run


def _haste(position: Position) -> str:
    """A client that is given less time is told so in a turn of its own: one after another."""
    return position.client if FAULTS[position.fault].waits else ""


def follow(run: Run, moves: Sequence[Move]) -> None:
    """Make these moves; who has nothing left to ask for is given what was asked then.

    Raises Diverged where one cannot be made.
    """
    for move in moves:
        client = move.decision.client
        if move.decision.move == START and move.request is not None and not run.will_ask(client):
            run.ask(client, move.request)
        if not move.decision.is_fault and move.decision not in run.enabled():
            raise Diverged(f"«{move.decision}» cannot be made")
        run.perform(move.decision)
