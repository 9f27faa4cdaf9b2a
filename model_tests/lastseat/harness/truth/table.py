"""The truth table of an implementation, from real runs: each fault at each turn of one attempt.

The attempt runs alone, and its request fits. Looked at is what it answers, whether it doubts, and
whether the booking exists when nothing is under way any more; nobody asks again. Only a client that
has lost its idle connection, and failed by it without making another, attempts again: what meets a
client that connects would meet nothing else.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from attrs import asdict, evolve, frozen

from lastseat.harness import record
from lastseat.harness.aftermath import LATE
from lastseat.harness.attempts import Attempt
from lastseat.harness.confirmation import repeat
from lastseat.harness.faults import FAULTS, Arrives
from lastseat.harness.judge.verdict import Repeated
from lastseat.harness.run import Run
from lastseat.harness.scenario import Scenario
from lastseat.harness.schedule.decision import RELEASE, Decision
from lastseat.harness.schedule.interleavings import to_the_end
from lastseat.harness.stage import Stage
from lastseat.harness.sweep import Sweep
from lastseat.harness.truth.implied import NoAnswer, Row, Where, implied
from lastseat.spec.events import CommitSent
from lastseat.spec.visibility import Does
from lastseat.spec.vocabulary import Answer, Outcome, Request

ALONE = Scenario(
    "alone",
    "one caller, one seat, and a fault",
    {"r1": 1},
    {"alice": (Request("b1", "r1", 1),)},
    faults=("in-turn",),
)
CONNECTING = "connecting"


@frozen
class Cell:
    """One fault at one turn: what came of it, and what may."""

    fault: str
    turn: str
    where: Where
    row: Row
    legal: frozenset[Row]
    seen: bool
    """Did the fault fire?"""
    repeated: Repeated | None = None
    """Of one that is not right: in how many runs it was not."""

    @property
    def right(self) -> bool:
        """Whether it is what the contract implies."""
        return self.row in self.legal

    @property
    def fact(self) -> bool:
        """Whether the answer and the bookings contradict each other, whatever happened between."""
        answer = self.row.answer
        if not isinstance(answer, Answer):
            return False
        return not answer.in_doubt and (answer.outcome is Outcome.BOOKED) is not self.row.exists

    @property
    def proved(self) -> bool:
        """Whether it is not right, and that is a fact or was so again when it was repeated."""
        again = self.repeated is not None and self.repeated.illegal > 1
        return not self.right and (self.fact or again)

    def __str__(self) -> str:
        among = " | ".join(sorted(map(str, self.legal)))
        proof = f"; {self.repeated}" if self.repeated is not None else "; a fact" * self.fact
        return f"{self.fault} at {self.turn}: {self.row}; implied is {among}{proof}"


@frozen
class Table:
    """``turns`` in the attempt's order; ``faults`` in the catalogue's."""

    turns: tuple[str, ...]
    cells: tuple[Cell, ...]

    @property
    def faults(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(cell.fault for cell in self.cells))

    @property
    def wrong(self) -> tuple[Cell, ...]:
        """What contradicts the contract: a fact, or each time."""
        return tuple(cell for cell in self.cells if cell.proved)

    @property
    def seen_once(self) -> tuple[Cell, ...]:
        """What contradicted the contract once, and not when it was repeated."""
        return tuple(cell for cell in self.cells if not cell.right and not cell.proved)

    @property
    def unseen(self) -> tuple[Cell, ...]:
        """Where the fault was not seen to fire."""
        return tuple(cell for cell in self.cells if not cell.seen)

    def nowhere(self) -> tuple[str, ...]:
        """The faults that had no place in this attempt."""
        met = {name for cell in self.cells for name in cell.fault.split(", then ")}
        return tuple(name for name in FAULTS if name not in met)


def tabulate(stage: Stage, *faults: str) -> Table:
    """Run these faults (none named: all) at every turn of one attempt."""
    runs = Sweep(stage, ALONE, ending=_without_repeating).runs(*faults)
    turns = tuple(_numbered(_turns(next(runs))))
    cells = [_proved(run, turns) for run in runs]
    names = list(FAULTS)
    cells.sort(key=lambda cell: names.index(cell.fault.split(",")[0]))
    return Table((CONNECTING, *(name for name, _ in turns)), tuple(cells))


def _without_repeating(run: Run, fate: str) -> None:
    to_the_end(run)
    if run.stuck("alice"):
        run.perform(Decision(fate, "alice"))
    if any(FAULTS[f.fault].arrives is Arrives.NO_TURN and not f.seen for f in run.faults.report()):
        # It has noticed that its connection is lost when it used it. Now it connects.
        run.ask("alice", run.attempts[0].request)
        to_the_end(run)


def _turns(plain: Run) -> Iterator[tuple[str, Where]]:
    """The turns of an attempt that nothing disturbs, by their first word, and where each stands."""
    commits = [event.at for event in plain.events if isinstance(event, CommitSent)]
    own = [e.sent_at for e in plain.sight.exchanges if e.does in {Does.READ, Does.WRITE}]
    for step, since in zip(plain.steps, [0, *(step.until for step in plain.steps)], strict=False):
        if step.decision.move != RELEASE:
            continue
        if any(since < at <= step.until for at in commits):
            where = Where.COMMIT
        else:
            where = Where.STATEMENT if own and own[0] <= step.until else Where.PRELUDE
        yield re.split(r"\W", step.fingerprint, maxsplit=1)[0].upper(), where


def _numbered(turns: Iterator[tuple[str, Where]]) -> Iterator[tuple[str, Where]]:
    """The second turn that begins with the same word, and so on, has its number with it."""
    had: Counter[str] = Counter()
    for word, where in turns:
        had[word] += 1
        yield (word if had[word] == 1 else f"{word} {had[word]}"), where


def _proved(run: Run, turns: Sequence[tuple[str, Where]]) -> Cell:
    """The cell of a run; what is not right in it, and no fact, is run again."""
    cell = _cell(run, turns)
    if cell.right or cell.fact:
        return cell
    wrong = "what the contract implies"

    def judge(again: Run) -> frozenset[str]:
        return frozenset() if _cell(again, turns).right else frozenset({wrong})

    again = repeat(run.stage, record.close(run).schedule, run, frozenset({wrong}), judge)
    return evolve(cell, repeated=again.of(wrong))


def _cell(run: Run, turns: Sequence[tuple[str, Where]]) -> Cell:
    met = [step.decision.move for step in run.steps if step.decision.is_fault]
    fault = FAULTS[met[0]]
    turn, where = CONNECTING, Where.CONNECTING
    if fault.arrives is not Arrives.NO_TURN:
        moves = [step.decision.move for step in run.steps]
        turn, where = turns[moves[: moves.index(met[0])].count(RELEASE)]
    committing = any(isinstance(event, CommitSent) for event in run.events)
    struck = FAULTS[met[-1]] if met[-1] == LATE else fault
    attempt = run.attempts[-1]
    rows = run.final_readings()["r1"].rows
    return Cell(
        ", then ".join(met),
        turn,
        where,
        Row(_ending(attempt), exists=bool(rows)),
        implied(struck, where, committing=committing),
        all(fired.seen for fired in run.faults.report()),
    )


def _ending(attempt: Attempt) -> Answer | NoAnswer:
    nothing = NoAnswer.EXCEPTION if attempt.raised is not None else NoAnswer.NONE
    return attempt.answer or nothing


def to_json(table: Table) -> list[dict[str, Any]]:
    """One object for each cell."""
    return [
        {
            "fault": cell.fault,
            "turn": cell.turn,
            "where": cell.where.value,
            **_as_json(cell.row),
            "implied": [_as_json(row) for row in sorted(cell.legal, key=str)],
            "right": cell.right,
            "fact": cell.fact,
            "repeated": None if cell.repeated is None else asdict(cell.repeated),
            "fired": cell.seen,
        }
        for cell in table.cells
    ]


def _as_json(row: Row) -> dict[str, Any]:
    answer = row.answer
    if isinstance(answer, NoAnswer):
        return {"outcome": answer.value, "exists": row.exists}
    return {
        "outcome": answer.outcome.value,
        "cause": answer.cause.value if answer.cause is not None else None,
        "in_doubt": answer.in_doubt,
        "exists": row.exists,
    }
