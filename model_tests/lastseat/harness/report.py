"""What the user reads: progress while it lasts, and what came of it."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.status import Status
from rich.table import Table

from lastseat.harness.campaign import Convicted
from lastseat.harness.cases import Case
from lastseat.harness.faults import FAULTS
from lastseat.harness.plain import plain
from lastseat.harness.terminal import escape, escape_lines
from lastseat.harness.verdict import Verdict
from lastseat.harness.verify import Result, Verification, Watcher
from lastseat.harness.witness import Witness
from lastseat.spec.vocabulary import ANSWERS

_COLOURS = {Verdict.PASS: "green", Verdict.VIOLATION: "red"}
_TIMELINE = 60  # lines of a violation's timeline that are printed; the file has them all


class _Terminal(Watcher):
    """A live line on a terminal, a plain line for each group of finished cases everywhere."""

    def __init__(self, console: Console, status: Status) -> None:
        self._console = console
        self._status = status
        self._case = ""
        self._runs = 0
        self._group: list[Result] = []

    def begins(self, case: Case) -> None:
        if self._group and self._group[0].case.group != case.group:
            self.flush()
        self._case, self._runs = case.id, 0
        self._status.update(escape(case.id))

    def run_done(self) -> None:
        self._runs += 1
        self._status.update(f"{escape(self._case)}: {self._runs} runs")

    def ends(self, result: Result) -> None:
        if result.verdict is Verdict.PASS:
            self._group.append(result)
            return
        self.flush()  # what has failed has a line of its own
        known = "known " if result.failed_as_known else ""
        did = f": {result.found.did}" if result.found.did else ""
        self._line(result.case.id, f"{known}{result.verdict}{did}", result.seconds)

    def flush(self) -> None:
        """Print the cases that have passed since the last line."""
        group, self._group = self._group, []
        if not group:
            return
        seconds = sum(result.seconds for result in group)
        runs = sum(result.found.witness.runs for result in group)
        did = group[0].found.did if len(group) == 1 else f"{len(group)} cases, {runs} runs"
        if idle := [each for each in group if not each.found.applies and len(group) > 1]:
            did += f" ({len(idle)} could not happen)"
        self._line(group[0].case.group, did, seconds)

    def _line(self, name: str, did: str, seconds: float) -> None:
        self._console.print(f"  {escape(name):<34} {escape(did):<50} {seconds:6.1f} s")


@contextmanager
def progress(console: Console) -> Iterator[Watcher]:
    """A watcher that shows what is going on."""
    with console.status("starting") as status:
        terminal = _Terminal(console, status)
        try:
            yield terminal
        finally:
            terminal.flush()


def show(result: Verification, console: Console) -> None:
    """The verdict and what it rests on."""
    console.print()
    console.print(_witnessed(result.witness))
    show_convictions(result.convicted, console)
    for error in result.errors:
        console.print(f"[bold red]adapter error[/]: {escape_lines(error)}")
    for reason in result.reasons:
        console.print(f"  • {escape_lines(reason)}")
    for known in result.failed_as_known:
        of = f"known {known.verdict} of {known.case.id}: {known.known or ''}"
        console.print(f"  • {escape(of)}")
    for words, cases in (("deselected", result.deselected), ("not run", result.not_run)):
        if cases:
            console.print(f"  • {words}: {escape(_listed(cases))}")
    for advice in result.witness.advice():
        console.print(_folded("  advice: ", advice))
    console.print(f"\nfiles: {escape(str(result.out))}   seed: {result.seed}")
    colour = _COLOURS.get(result.verdict(), "yellow")
    console.print(f"[bold {colour}]{conclusion(result)}[/]")


def conclusion(result: Verification) -> str:
    """The verdict; and what a pass does not speak of, in the same line."""
    verdict, known = result.verdict(), len(result.failed_as_known)
    if verdict is not Verdict.PASS or not (known or result.deselected):
        return str(verdict)
    left_out = [
        *([f"{known} failed as known"] if known else []),
        *([f"{len(result.deselected)} deselected"] if result.deselected else []),
    ]
    return f"{verdict} of {len(result.results) - known} cases ({', '.join(left_out)})"


def _listed(cases: Iterable[Case]) -> str:
    """Ids; where there are several of a kind, the kind."""
    kinds: dict[str, list[str]] = {}
    for case in cases:
        kinds.setdefault(case.id.partition("/")[0], []).append(case.id)
    return ", ".join(
        f"{kind} ({len(ids)} cases)" if len(ids) > 1 else ids[0] for kind, ids in kinds.items()
    )


def _witnessed(witness: Witness) -> Table:
    table = Table("witnessed", "times", box=None, pad_edge=False)
    table.columns[1].justify = "right"
    for answer in ANSWERS:
        table.add_row(str(answer), f"{witness.answers[answer]:,}")
    table.add_row("turns amidst another's attempt", f"{witness.overlaps:,}")
    table.add_row("waits for another's lock", f"{witness.contention:,}")
    kinds = sum(witness.fired[name] > 0 for name in FAULTS)
    table.add_row(f"faults of {kinds} kinds that fired", f"{witness.fired.total():,}")
    table.add_row("runs judged", f"{witness.runs:,}")
    return table


def show_convictions(convictions: Iterable[Convicted], console: Console) -> None:
    """In full, the first that breaks a rule; of the others, where they are."""
    known: set[str] = set()
    for convicted in convictions:
        if convicted.rules <= known:
            told = f"{', '.join(sorted(convicted.rules))} again, in {convicted.scenario}"
            console.print(f"  {escape(told)}:")
            console.print(f"    {escape(convicted.again)}")
        else:
            known |= convicted.rules
            show_conviction(convicted, console)


def show_conviction(convicted: Convicted, console: Console) -> None:
    """A violation so that it is understood without knowing the tool."""
    console.print(f"\n[bold red]violation[/] in scenario {escape(convicted.scenario)}")
    for finding in convicted.findings:
        who = f" ({', '.join(finding.attempts)})" if finding.attempts else ""
        console.print(f"  [bold]{escape(finding.rule)}[/]{escape(who)}")
        console.print(_folded("    promised: ", finding.sentence))
        console.print(_folded("    seen:     ", finding.words))
        console.print(_folded("    proof:    ", finding.proof))
    if convicted.timeline:
        console.print("  what happened:")
    for line in convicted.timeline[:_TIMELINE]:
        console.print(f"    {escape(line)}")
    if len(convicted.timeline) > _TIMELINE:
        console.print(f"    ... {len(convicted.timeline) - _TIMELINE} more lines in the file")
    if convicted.page.exists():
        console.print(f"  see it:       {escape(str(convicted.page))}")
    console.print(f"  run it again: {escape(convicted.again)}")
    if convicted.without_file:
        console.print(f"  without it:   {escape(convicted.without_file)}")


def _folded(label: str, words: str) -> str:
    indent = " " * len(label)
    lines = textwrap.wrap(plain(words), 96, initial_indent=label, subsequent_indent=indent)
    return "\n".join(map(escape, lines))
