"""One test for each case of a verification; what is verified, the fixture says."""

import pytest
import seats

from lastseat.harness.pytest_cases import test_lastseat  # noqa: F401


@pytest.fixture
def lastseat_implementation():
    return seats.seats
