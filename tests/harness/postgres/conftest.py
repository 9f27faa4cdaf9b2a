"""Every PostgreSQL of this machine, one after the other."""

import pytest

from lastseat.harness.postgres import find_all


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that asks for `any_version` runs on each version found; the summary names them."""
    if "any_version" in metafunc.fixturenames:
        found = find_all()
        metafunc.parametrize("any_version", found, ids=[f"pg{each.version[0]}" for each in found])
