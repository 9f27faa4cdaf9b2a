"""The tests that a Python project takes over: ``from lastseat.harness.pytest_cases import *``.

Beside it, a fixture says what is verified::

    @pytest.fixture
    def lastseat_implementation():
        return "package.module:name"
"""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["test_lastseat"]


def test_lastseat(lastseat_case: str, lastseat_run: Callable[[str], None]) -> None:
    """The implementation keeps the contract, as far as this case looks."""
    lastseat_run(lastseat_case)
