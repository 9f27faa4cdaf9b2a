"""Questions of our own are answered by the server, and not by what an implementation has made."""

from __future__ import annotations

import psycopg
import pytest

from lastseat.harness.asking import Asking
from lastseat.harness.gate.backends import Backends
from lastseat.harness.postgres import Target

TRAP = """
    CREATE FUNCTION unnest(int[]) RETURNS SETOF int LANGUAGE plpgsql AS $$
        BEGIN RAISE EXCEPTION 'called by %', current_user; END $$
"""


def test_a_superuser_calls_nothing_that_the_owner_has_made(target: Target) -> None:
    """The trap fits better than the server's own function, which takes any array."""
    with psycopg.connect(target.for_clients(target.dsn), autocommit=True) as owner:
        owner.execute(TRAP)
        with Asking(target.dsn, catalog_only=True) as asking:
            assert Backends(asking).blockers([owner.info.backend_pid]) == {
                owner.info.backend_pid: frozenset()
            }
    with (
        Asking(target.dsn) as asking,
        pytest.raises(psycopg.errors.RaiseException, match="called by postgres"),
    ):
        Backends(asking).blockers([1])
