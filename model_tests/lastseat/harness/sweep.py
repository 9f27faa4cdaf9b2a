"""Faults, one after another, at every place where they can strike.

A sweep runs a schedule without faults, and notes at every step which faults could have come in its
place, or could meet a client that waits for a lock behind it. Then it runs each of these prefixes
with its fault, and sees what becomes of everybody. Two faults in one run are too many to try all:
some are drawn, the second at a place that is reached behind the first.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from random import Random

from attrs import define, evolve, field, frozen

from lastseat.harness.aftermath import ECHO, LATE, NEVER, SPARE, SPARE_CAPACITY, aftermath
from lastseat.harness.attempts import Attempt
from lastseat.harness.faults import FAULTS
from lastseat.harness.repetition import undisturbed
from lastseat.harness.run import Run
from lastseat.harness.scenario import Scenario
from lastseat.harness.schedule.decision import RELEASE, START, Decision, Diverged
from lastseat.harness.schedule.interleavings import round_robin, to_the_end
from lastseat.harness.script import Move, script_of
from lastseat.harness.stage import DEADLINE_MS, Stage

HASTE_MS = 150
"""What a client is given at least that is to be met by silence."""
LONGEST_HASTE_MS = 2400
_USUAL_TIMES = 4
"""So many times what attempts take on this machine it is given."""

_TRIES = 5
_SECONDS = 3
"""So many second faults are tried behind a first one."""
_LATER = frozenset({LATE, NEVER})
"""These decide over what another fault has left in the network: the aftermath brings them about."""


@frozen
class Position:
    """The moves that lead there, the last of which is a fault; the fate of what is stuck then."""

    moves: tuple[Move, ...]
    fate: str = LATE

    @property
    def fault(self) -> str:
        return self.moves[-1].decision.move

    @property
    def hasty(self) -> frozenset[str]:
        """The clients that are met by silence."""
        faults = (m.decision for m in self.moves if m.decision.is_fault)
        return frozenset(fault.client for fault in faults if FAULTS[fault.move].waits)


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

    def runs(self, *only: str, but: Collection[str] = ()) -> Iterator[Run]:
        """Every finished run, the first time beginning with the one without a fault.

        ``only``: the faults that are meant (none named: all), ``but`` for some.
        """
        if self._first is None:
            yield self._find_places()
        places = self._first or []
        chosen = [p for p in places if (not only or p.fault in only) and p.fault not in but]
        for position in sorted(chosen, key=_haste):
            yield self._meet(position)

    def pairs(self, most: int, seed: int) -> Iterator[Run]:
        """At most so many runs, drawn at random, besides the one without a fault: a first fault
        alone, and then with a second one at some of the places behind it, in repetitions, too."""
        if self._first is None:
            yield self._find_places()
        draw, places = Random(seed), self._first or []
        for first in draw.sample(places, min(len(places), most // (1 + _SECONDS))):
            run = self._meet(first)
            yield run
            behind = list(self._positions(run, since=len(first.moves)))
            for second in draw.sample(behind, min(len(behind), _SECONDS)):
                yield self._meet(second)

    def _find_places(self) -> Run:
        """Run the schedule without a fault, and see where one can strike."""
        for plain in undisturbed(lambda: Run(self.stage, self._all_hasty(), notes_faults=True)):
            self.base(plain)
            self._first = list(self._positions(plain, since=0))
            plain.finish()
        return plain

    def reached(self) -> frozenset[str]:
        """The faults for which there was a place."""
        return frozenset(position.fault for position in self._first or ())

    def take_diverged(self) -> int:
        """How many positions did not come about again since this was asked last."""
        taken, self._diverged = self._diverged, 0
        return taken

    def _all_hasty(self) -> Scenario:
        """With more than enough time: only so that it is seen where silence could strike."""
        return evolve(self.scenario, deadlines=dict.fromkeys(self.scenario.attempts, 4000))

    def _positions(self, run: Run, since: int) -> Iterator[Position]:
        """The places behind the first ``since`` steps of this run."""
        moves = script_of(run, run.steps)
        for index, step in enumerate(run.steps):
            if index < since:
                continue
            if step.decision.move in {START, RELEASE}:
                met = [Decision(name, step.decision.client) for name in step.faults]
                yield from _strikes(moves[:index], met)
            yield from _strikes(moves[: index + 1], step.waiting)

    def _meet(self, position: Position) -> Run:
        """Run the prefix, let the fault happen, and see what becomes of everybody.

        It is run again with more time where a client had too little to get there, or where the
        short deadline, which is for the attempt that the fault meets, ended another one.
        """
        haste = self._haste()
        if position.hasty:  # started while others wait it would use up their time
            self.stage.ready([ECHO])
        for _ in range(_TRIES):
            deadlines = dict.fromkeys(position.hasty, haste)
            run = Run(self.stage, evolve(self.scenario, deadlines=deadlines), notes_faults=True)
            came_about = self._run(run, position)
            too_short = haste < LONGEST_HASTE_MS and any(map(hurried, run.attempts))
            if came_about and run.disturbed is None and not too_short:
                return run
            haste = min(haste * (4 if too_short else 2), LONGEST_HASTE_MS)
            # Where the places were found everybody's connections were new. On older ones some
            # drivers say less: what they have prepared.
            self.stage.renew(self.scenario.attempts)
        self._diverged += not came_about
        return run

    def _run(self, run: Run, position: Position) -> bool:
        """Whether the position came about; the run is finished in any case."""
        try:
            follow(run, position.moves)
        except Diverged:
            aftermath(run)
            run.finish()
            return False
        self.ending(run, position.fate)
        run.finish()
        return True

    def _haste(self) -> int:
        """What a client is given on this machine, as it is now; one of few values, since a client
        connects anew for each other one."""
        usual_ms = 1000 * statistics.median(self.stage.lately or [0])
        haste = HASTE_MS
        while haste < min(_USUAL_TIMES * usual_ms, LONGEST_HASTE_MS):
            haste *= 2
        return haste


def hurried(attempt: Attempt) -> bool:
    """Whether a short deadline has ended it that was meant for another attempt."""
    return attempt.out_of_time and not attempt.silenced and attempt.given * 1000 < DEADLINE_MS


def _strikes(before: Sequence[Move], met: Iterable[Decision]) -> Iterator[Position]:
    for decision in met:
        if decision.move in _LATER:
            continue
        yield Position((*before, Move(decision)))
        if decision.move == "stall-request":
            yield Position((*before, Move(decision)), NEVER)


def _haste(position: Position) -> str:
    """A client that is given less time is told so in a turn of its own: one after another."""
    return " ".join(sorted(position.hasty))


def follow(run: Run, moves: Sequence[Move]) -> None:
    """Make these moves; who has nothing left to ask for is given what was asked then.

    Raises Diverged where one cannot be made.
    """
    for move in moves:
        client = move.decision.client
        if move.decision.move == START and move.request is not None and not run.will_ask(client):
            if move.request.resource_id == SPARE:
                run.declare(SPARE, SPARE_CAPACITY)
            run.ask(client, move.request)
        if not move.decision.is_fault and move.decision not in run.enabled():
            raise Diverged(f"«{move.decision}» cannot be made")
        run.perform(move.decision)
