"""The kill matrix: what becomes of each mutant in what anybody's implementation goes through."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path

from attrs import asdict, frozen

from lastseat.harness.cases import PROFILES, Case, of_implementation
from lastseat.harness.implementations.protocol import AdapterError
from lastseat.harness.mutants import made
from lastseat.harness.mutants.catalogue import CONFORMING, MUTANTS, Mutant, named
from lastseat.harness.mutants.stress import Stressed, stress
from lastseat.harness.postgres import Target, open_where_commits_meet
from lastseat.harness.venue import Found, Venue
from lastseat.harness.workers import Tell, run

_LEAST = 1.0  # seconds that the threads are given in any case


@frozen
class Fate:
    """What became of one mutant.

    ``case`` is the one that convicted it; ``stressed`` what free-running threads made of it in as
    much time.
    """

    name: str
    wrong: bool
    case: str | None
    rules: tuple[str, ...]
    expected: bool
    """Was it convicted by one of the rules that it breaks; or, being right, not at all?"""
    schedules: int
    seconds: float
    reasons: tuple[str, ...] = ()
    """Why it could not have passed."""
    error: str = ""
    by_repetition: bool = False
    """Whether what convicted it is no fact, and was illegal again when it was repeated."""
    not_repeated: int = 0
    """How many runs that broke a rule did not do so again: they convict nobody."""
    stressed: Stressed | None = None

    @property
    def convicted(self) -> bool:
        return self.case is not None

    @property
    def as_it_should(self) -> bool:
        """Wrong ones are convicted by what they break; right ones pass."""
        return self.expected and not self.error


def find(name: str) -> Mutant:
    """The mutant of that name, in the catalogue or made; raises UnknownMutant."""
    if name.startswith("made:"):
        return made.named(name)
    for mutant in named([name]):
        return mutant
    known = ", ".join(sorted(mutant.name for mutant in (*MUTANTS, *CONFORMING)))
    raise made.UnknownMutant(f"no mutant is called {name}; there are {known}")


def fates(
    names: Sequence[str],
    profile: str,
    *,
    dsn: str | None,
    out: Path,
    workers: int,
    only: str = "",
    with_stress: bool = True,
    deadline: float | None = None,
    heard: Callable[[object], None] = lambda _: None,
) -> Iterator[Fate]:
    """Run each in a worker, in this order. ``only``: cases whose ids begin so.

    None is begun after ``deadline``, a monotonic time.
    """
    tasks = (
        partial(fate, name, profile, out, only, with_stress) for name in _until(names, deadline)
    )
    return run(tasks, workers, partial(_server, dsn), heard)


def _until(names: Iterable[str], deadline: float | None) -> Iterator[str]:
    for name in names:
        if deadline is not None and time.monotonic() > deadline:
            return
        yield name


def _server(dsn: str | None, tell: Tell) -> AbstractContextManager[tuple[Target, Tell]]:
    @contextmanager
    def opened() -> Iterator[tuple[Target, Tell]]:
        with open_where_commits_meet(dsn) as target:
            yield target, tell

    return opened()


def fate(
    name: str,
    profile: str,
    out: Path,
    only: str,
    with_stress: bool,
    where: tuple[Target, Tell],
) -> Fate:
    """Run the profile's cases until one convicts it; then let threads try the same."""
    target, tell = where
    mutant = find(name)
    chosen = [c for c in of_implementation(PROFILES[profile]) if c.id.startswith(only)]
    began, error = time.monotonic(), ""
    found, convicting = Found(), None
    folder = out.joinpath(*name.replace(":", "/").split("/"))
    venue = Venue(mutant.implementation, target, folder, progress=partial(tell, name))
    with venue:
        try:
            convicting = _until_convicted(chosen, venue, found)
        except AdapterError as failure:
            error = str(failure)
    seconds = time.monotonic() - began
    rules = tuple(sorted({rule for each in found.convicted for rule in each.rules}))
    stressed = None
    if mutant.breaks and with_stress and mutant.implementation.factory is not None:
        dsn = target.for_clients(target.new_database(), tcp=False)
        stressed = stress(mutant.implementation.factory, dsn, max(_LEAST, seconds))
    return Fate(
        name,
        bool(mutant.breaks),
        convicting.id if convicting is not None else None,
        rules,
        bool(mutant.breaks & set(rules)) if mutant.breaks else not rules and not found.doubts,
        found.witness.runs,
        seconds,
        tuple(dict.fromkeys(found.doubts)),
        error,
        bool(found.convicted) and not any(f.fact for c in found.convicted for f in c.findings),
        len(found.seen_once),
        stressed,
    )


def _until_convicted(chosen: Iterable[Case], venue: Venue, found: Found) -> Case | None:
    for case in chosen:
        case.run(venue, found)
        if found.convicted:
            return case
    return None


def as_json(found: Iterable[Fate]) -> dict[str, object]:
    """The format ``lastseat-mutants/1``."""
    return {"format": "lastseat-mutants/1", "mutants": [asdict(each) for each in found]}
