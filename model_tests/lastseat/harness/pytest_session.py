"""What the tests of a pytest session share: a server, and one stage for each implementation."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest
from attrs import Factory, define, field
from hypothesis.configuration import set_hypothesis_home_dir

from lastseat.harness.cases import PROFILES, Case, cases
from lastseat.harness.documents.junit import explained
from lastseat.harness.documents.keep import Keeping
from lastseat.harness.implementations.client import Implementation
from lastseat.harness.implementations.protocol import AdapterError
from lastseat.harness.plain import paragraph, plain
from lastseat.harness.postgres import Target, open_target
from lastseat.harness.registry import resolve
from lastseat.harness.venue import Venue
from lastseat.harness.verify import Result, Verification, run_case

WITNESS = "witness"
"""The last test: has everything been seen that must be seen?"""

_SEED = 0  # the same tests every time; another one, and more examples, are the command's


@define
class _Session:
    """One implementation's stage, and what was found on it."""

    venue: Venue
    result: Verification


@define
class Sessions:
    """Sets a stage when it is first needed, and clears all of them in the end."""

    profile: str
    dsn: str | None
    out: Path
    _sessions: dict[str, _Session] = Factory(dict)
    _stack: ExitStack = field(factory=ExitStack, init=False)
    _target: Target | None = field(default=None, init=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def run(self, implementation: object, case_id: str) -> None:
        """Run a case; fails with the explanation, or skips with the reason, as pytest does."""
        session = self._session(implementation)
        planned = {case.id: case for case in cases(PROFILES[self.profile])}
        if case_id == WITNESS:
            _check_witness(session.result, planned.values())
            return
        result = run_case(planned[case_id], session.venue, session.result)
        Keeping(session.result).ends(result)
        if result.error is not None:
            raise AdapterError(paragraph(result.error))
        if words := [*_words(result)]:
            pytest.fail("\n".join(map(plain, words)), pytrace=False)
        if not result.found.applies:
            pytest.skip(plain(result.found.did))

    def _session(self, given: object) -> _Session:
        implementation = _named(given)
        if implementation.name not in self._sessions:
            if self._target is None:
                set_hypothesis_home_dir(self.out / "hypothesis")
                self._target = self._stack.enter_context(open_target(self.dsn))
            out = self.out / f"{len(self._sessions) + 1}" if self._sessions else self.out
            venue = self._stack.enter_context(Venue(implementation, self._target, out, _SEED))
            server = self._target.describe()
            result = Verification(implementation.name, server, self.profile, _SEED, out)
            self._sessions[implementation.name] = _Session(venue, result)
        return self._sessions[implementation.name]


def _named(given: object) -> Implementation:
    """What the fixture may return: a name, a factory, or the command of an adapter."""
    if isinstance(given, str):
        return resolve(given)
    name = getattr(given, "__qualname__", None)
    if callable(given) and name is not None:
        return resolve(f"{given.__module__}:{name}")
    if isinstance(given, Sequence):
        return resolve("", shlex.join(map(str, given)))
    raise TypeError(
        "the fixture lastseat_implementation must return a factory, its name package.module:name,"
        f" or an adapter's command as a list; it returned {given!r}"
    )


def _words(result: Result) -> Iterator[str]:
    for convicted in result.found.convicted:
        yield from explained(convicted)
    for reason in result.found.doubts:
        yield f"inconclusive: {reason}"


def _check_witness(result: Verification, planned: Iterable[Case]) -> None:
    ran = {each.case.id for each in result.results}
    if any(not case.ours and case.id not in ran for case in planned):
        pytest.skip("not every case was run before it in this process")
    if missing := [*result.witness.missing()]:
        pytest.fail("\n".join(f"inconclusive: {words}" for words in missing), pytrace=False)
