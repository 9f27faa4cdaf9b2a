"""``lastseat replay``: a saved schedule is run again, step by step."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path

from attrs import evolve

from lastseat.harness import record, report, shell
from lastseat.harness.campaign import Campaign
from lastseat.harness.commands import shared
from lastseat.harness.confirmation import Repetition
from lastseat.harness.documents.keep import show
from lastseat.harness.implementations.client import Implementation, try_to_start
from lastseat.harness.judge.verdict import Finding, Judged, Repeated
from lastseat.harness.mistakes import Interrupted, Mistake
from lastseat.harness.paste import PREFIX, unpack
from lastseat.harness.postgres import open_where_commits_meet
from lastseat.harness.record import Schedule
from lastseat.harness.registry import built_in, resolve, typed
from lastseat.harness.repetition import undisturbed
from lastseat.harness.run import Run
from lastseat.harness.scenario import warm_up
from lastseat.harness.schedule.decision import FINISH, Diverged
from lastseat.harness.schedule.interleavings import to_the_end
from lastseat.harness.schedule.replay import replay_strictly
from lastseat.harness.stage import stage
from lastseat.harness.terminal import escape
from lastseat.harness.verdict import Verdict

_TIMES = 5
_MOST = 64_000_000  # bytes that a file may have


class NotTyped(Mistake):
    """A schedule names a program that does not come with lastseat, and the user has not."""

    def __init__(self, schedule: str, recorded: str) -> None:
        super().__init__(
            "the schedule names an implementation that does not come with lastseat:\n"
            f"    {shell.word(recorded)}\n"
            "A file starts no program and imports nothing. If you trust it, name it yourself,"
            " with whatever other options you want:\n"
            f"    lastseat replay {shell.word(schedule)} {typed(recorded) or 'IMPLEMENTATION'}"
        )


def add(commands: shared.Commands[argparse.ArgumentParser]) -> None:
    """The command's arguments."""
    sub = commands.add_parser(
        "replay",
        help="run a saved schedule again, step by step",
        description="Run a saved schedule again. At every step the same turns must wait as when it"
        " was recorded, and the move must meet the same turn; else it has diverged, which is said.",
    )
    sub.add_argument("schedule", metavar="FILE", help="a .schedule.json file, or its string")
    sub.add_argument(
        "implementation",
        nargs="?",
        metavar="IMPLEMENTATION",
        help="what is run: a name or factory as for verify (default: what the file names, if that "
        "comes with lastseat; a file starts no other program)",
    )
    sub.add_argument("--adapter", metavar="COMMAND", help="the same, if it is an adapter")
    sub.add_argument(
        "--times",
        type=shared.at_least(1),
        default=_TIMES,
        metavar="N",
        help=f"how often (default: {_TIMES})",
    )
    sub.add_argument(
        "--shrink", action="store_true", help="if it is illegal, look for a smaller one that is"
    )
    sub.add_argument("--out", type=Path, metavar="DIR", help="where runs are saved")
    shared.add_server(sub)
    shared.add_attach(sub)
    sub.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> Verdict:
    schedule = _read(args.schedule)
    implementation = _chosen(args, schedule.implementation)
    out = shared.out_folder(args)
    names = tuple(schedule.scenario.attempts)
    with (
        open_where_commits_meet(args.dsn) as target,
        stage(
            implementation,
            target.dsn,
            out / "logs",
            names=names,
            beside=target.for_clients(target.dsn),
            commits_wait=target.commits_wait,
            unhurried=args.attach,
        ) as ready,
    ):
        if any(step.decision.move == FINISH for step in schedule.steps):
            ready.hold_commits()
        Campaign(ready, out / "warm-up").warm_up(warm_up(names))
        if args.attach:
            shared.attach(implementation)({name: ready.client(name) for name in names})
        campaign = Campaign(ready, out)
        try:
            return _replay(schedule, campaign, args.times, shrink=args.shrink)
        except KeyboardInterrupt:
            raise Interrupted(violated=bool(campaign.convicted)) from None


def _read(given: str) -> Schedule:
    if given.startswith(PREFIX):
        return unpack(given)
    with Path(given).open("rb") as file:
        data = file.read(_MOST + 1)
    if len(data) > _MOST:
        raise record.MalformedSchedule(f"no schedule: {given} has more than {_MOST:,} bytes")
    return record.read_schedule(data)


def _chosen(args: argparse.Namespace, recorded: str) -> Implementation:
    """What the user names, or else what the schedule names, if that comes with lastseat."""
    if args.implementation is None and args.adapter is None:
        known = built_in(recorded)
        if known is None:
            raise NotTyped(args.schedule, recorded)
        return known
    chosen = resolve(args.implementation or "", args.adapter)
    try_to_start(chosen)
    if chosen.name != recorded:
        names = f"the file names {shell.word(recorded)}; {shell.word(chosen.name)} is run"
        shared.console().print(escape(names))
    return chosen


def _made_again(run: Run, schedule: Schedule) -> Diverged | None:
    """Make the recorded moves; where that did not work."""
    try:
        replay_strictly(run, schedule.steps)
    except Diverged as diverged:
        to_the_end(run)  # the clients are needed for the next time
        return diverged
    return None


def _replay(schedule: Schedule, campaign: Campaign, times: int, *, shrink: bool) -> Verdict:
    """So many times; tells how often it came about, and what was illegal."""
    console = shared.console()
    came, illegal = Repetition(), list[tuple[Run, Judged]]()
    for number in range(1, times + 1):
        diverged = None
        for run in undisturbed(lambda: Run(campaign.stage, schedule.scenario)):
            diverged = _made_again(run, schedule)
            run.finish()
        if diverged is not None:
            console.print(f"time {number}: diverged: {escape(str(diverged))}")
            campaign.stage.renew(schedule.scenario.attempts)  # on new ones it may come about
            continue
        came.runs += 1
        judged = campaign.look(run)
        came.illegal.update(judged.rules)
        if judged.findings:
            illegal.append((run, judged))
    console.print(
        f"{came.runs} of {times} times every step came about as recorded; {len(illegal)} illegal"
    )
    for run, findings in _proved(schedule, came, illegal):
        convicted = campaign.keep(run, findings)
        if shrink:
            console.print(f"made smaller in {campaign.make_small(run)} runs")
            convicted = campaign.convicted[-1]
        show(convicted)
        report.show_conviction(convicted, console)
        return Verdict.VIOLATION
    for _, judged in illegal[:1]:
        rules = ", ".join(sorted(judged.rules))
        console.print(f"seen once, in {came.runs} runs: {escape(rules)}; that is no violation")
    for reason in campaign.reasons():
        console.print(escape(reason))
    return campaign.verdict() if came.runs and not illegal else Verdict.INCONCLUSIVE


def _proved(
    schedule: Schedule, came: Repetition, illegal: Iterable[tuple[Run, Judged]]
) -> Iterator[tuple[Run, tuple[Finding, ...]]]:
    """The runs with what may be told of them: facts, and what was illegal more than once. The run
    that was saved counts, for the rules that it is said to have broken."""
    saved = frozenset(schedule.verdict.split(", "))
    for run, judged in illegal:
        findings = []
        for finding in judged.findings:
            before = int(finding.rule in saved)
            repeated = Repeated(before + came.illegal[finding.rule], before + came.runs)
            if finding.fact or repeated.illegal > 1:
                findings.append(evolve(finding, repeated=repeated))
        if findings:
            yield run, tuple(findings)
