"""For Python teams: ``pytest`` collects one test for each case of a verification.

Nothing happens, and nothing heavy is imported, unless a test asks for ``lastseat_case``. The one in
``pytest_cases`` does; a fixture ``lastseat_implementation``, the user's, says what is verified.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from lastseat.harness.pytest_session import Sessions

CASE = "lastseat_case"


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options, each also in the configuration file."""
    group = parser.getgroup("lastseat", "verification of a booking implementation")
    for name, words in (
        ("profile", "how far a verification goes: quick (default) or full"),
        ("dsn", "the server that it works on; without it and LASTSEAT_DSN, one of its own"),
        ("out", "the folder for reports and files that replay violations"),
        ("known-failures", 'TOML of lines "ID" = "REASON": these tests are expected to fail'),
    ):
        group.addoption(f"--lastseat-{name}", metavar=name.upper(), help=words)
        parser.addini(f"lastseat_{name.replace('-', '_')}", words)


def _setting(config: pytest.Config, name: str) -> str | None:
    given = config.getoption(f"lastseat_{name}")
    return str(given) if given else str(config.getini(f"lastseat_{name}")) or None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test for each case; those that are known to fail are expected to."""
    if CASE not in metafunc.fixturenames:
        return
    from lastseat.harness.cases import PROFILES, cases
    from lastseat.harness.pytest_session import WITNESS
    from lastseat.harness.selection import Known, read_known

    profile = _setting(metafunc.config, "profile") or "quick"
    if profile not in PROFILES:
        raise pytest.UsageError(f"lastseat has no profile {profile!r}, but {', '.join(PROFILES)}")
    file = _setting(metafunc.config, "known_failures")
    known = read_known(metafunc.config.rootpath / file) if file else Known()
    planned = cases(PROFILES[profile])
    known.check([case.id for case in planned if not case.ours])
    params = [
        pytest.param(case.id, marks=_marks(known.reason(case.id), strict=not case.random))
        for case in planned
    ]
    metafunc.parametrize(CASE, [*params, WITNESS], ids=str)


def _marks(reason: str | None, *, strict: bool) -> Sequence[pytest.MarkDecorator]:
    if reason is None:
        return ()
    expected = pytest.fail.Exception  # an adapter that fails is never expected to
    return (pytest.mark.xfail(reason=reason, raises=expected, strict=strict),)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whether all was seen is asked last, however the tests are shuffled."""
    items.sort(key=_is_last)


def _is_last(item: pytest.Item) -> bool:
    called = getattr(item, "callspec", None)
    return called is not None and called.params.get(CASE) == "witness"


@pytest.fixture(scope="session")
def _lastseat_sessions(request: pytest.FixtureRequest) -> Iterator[Sessions]:
    """The stages of this process: under xdist each worker has its own."""
    from lastseat.harness import results
    from lastseat.harness.pytest_session import Sessions

    config = request.config
    named, worker = _setting(config, "out"), os.environ.get("PYTEST_XDIST_WORKER", "")
    out = results.folder("pytest", Path(named, worker) if named else None)
    profile = _setting(config, "profile") or "quick"
    with pytest.MonkeyPatch.context() as patch:
        # What the tests can import, the processes that host an implementation can, too.
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))
        with Sessions(profile, _dsn(config), out) as sessions:
            yield sessions
    results.release()


def _dsn(config: pytest.Config) -> str | None:
    from lastseat.harness.dsn import conceal, from_environment

    given = _setting(config, "dsn")
    if given is not None:
        conceal(given)
    return given or from_environment()


@pytest.fixture
def lastseat_run(
    lastseat_implementation: object, _lastseat_sessions: Sessions
) -> Callable[[str], None]:
    """Runs a case by its id, and fails with the explanation of what it found."""
    return lambda case: _lastseat_sessions.run(lastseat_implementation, case)
