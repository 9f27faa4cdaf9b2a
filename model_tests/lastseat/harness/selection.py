"""Which cases are run, and which are known to fail: by their ids, or by patterns of them."""

from __future__ import annotations

import stat
import tomllib
from collections.abc import Collection, Iterable, Mapping
from difflib import get_close_matches
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Protocol, TypeVar

from attrs import Factory, frozen

from lastseat.harness.mistakes import Mistake


class Identified(Protocol):
    """A case, as far as it is known here."""

    @property
    def id(self) -> str: ...


C = TypeVar("C", bound=Identified)


class UnknownCase(Mistake):
    """No case has that id, nor any that fits that pattern."""


class MalformedKnownFailures(Mistake):
    """The file of known failures does not say which fail and why."""


@frozen
class Selection:
    """Patterns; without any, everything is selected."""

    select: tuple[str, ...] = ()
    deselect: tuple[str, ...] = ()
    require: tuple[str, ...] = ()
    """Those of these must happen, and not only be run."""

    def split(self, cases: Iterable[C]) -> tuple[tuple[C, ...], tuple[C, ...]]:
        """Those that are to be run, and those that are not."""
        every = tuple(cases)
        chosen = tuple(case for case in every if self.selects(case.id))
        return chosen, tuple(case for case in every if case not in chosen)

    def selects(self, case: str) -> bool:
        """Is the case of this id to be run?"""
        wanted = not self.select or any(fits(pattern, case) for pattern in self.select)
        return wanted and not any(fits(pattern, case) for pattern in self.deselect)

    def check(self, cases: Collection[str]) -> None:
        """A pattern that fits no case is a mistake; raises UnknownCase."""
        _check((*self.select, *self.deselect, *self.require), cases)


@frozen
class Known:
    """Failures that somebody has declared, each with the reason."""

    reasons: Mapping[str, str] = Factory(dict)

    def reason(self, case: str) -> str | None:
        """Why this case is known to fail, if it is."""
        return next((why for pattern, why in self.reasons.items() if fits(pattern, case)), None)

    def check(self, cases: Collection[str]) -> None:
        """A pattern that fits no case is a mistake; raises UnknownCase."""
        _check(tuple(self.reasons), cases)


def fits(pattern: str, case: str) -> bool:
    """``*`` stands for anything; a part of an id, up to a ``/``, for all that is below it."""
    return fnmatchcase(case, pattern) or fnmatchcase(case, f"{pattern.rstrip('/')}/*")


_MOST_BYTES = 1_000_000
"""Of a file of known failures: more than every case with a long reason."""


def read_known(file: Path) -> Known:
    """Read TOML lines of the form ``"id" = "reason"``; raises MalformedKnownFailures, OSError."""
    found = file.stat()
    if not stat.S_ISREG(found.st_mode):
        raise MalformedKnownFailures(f"{file} is no regular file")
    if found.st_size > _MOST_BYTES:
        raise MalformedKnownFailures(f"{file} has more than {_MOST_BYTES:,} bytes")
    return _known(file)


def _known(file: Path) -> Known:
    try:
        found = tomllib.loads(file.read_text())
    except (ValueError, RecursionError) as error:  # not TOML, not UTF-8, or beyond all measure
        raise MalformedKnownFailures(f"{file} is not TOML: {error}") from error
    for pattern, reason in found.items():
        if not isinstance(reason, str) or not reason.strip():
            raise MalformedKnownFailures(
                f'{file}: {pattern!r} lacks its reason; a line is "ID" = "REASON"'
            )
    return Known(found)


def _check(patterns: Collection[str], cases: Collection[str]) -> None:
    for pattern in patterns:
        if not any(fits(pattern, case) for case in cases):
            close = ", ".join(get_close_matches(pattern, cases))
            hint = f"did you mean {close}?" if close else "--list-cases lists them"
            raise UnknownCase(f"no case is called {pattern!r}; {hint}")
