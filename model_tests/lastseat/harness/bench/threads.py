"""What frontrun makes of two callers, for ``bench.peers``: ``frontrun python -m`` this module.

It explores threads of one process, so that the mechanisms run as they are, but for the driver: on
psycopg2, whose statements it reads to know of row locks. It judges nothing itself; the end state is
looked at here, with the rule in mind that is to be broken.
"""

from __future__ import annotations

import importlib
import sys
import time
import uuid
from collections.abc import Callable
from typing import Any

import frontrun
import psycopg2
from attrs import define, field

from lastseat.harness.mutants.caller import BOOKED, Answer, Database, Factory
from lastseat.harness.mutants.matrix import find

_SAME_ID = frozenset({"X31"})
_LOCK_TIMEOUT_MS = 1000  # by which it learns of a lock that it did not foresee


@define
class _Plain(Database):
    """The same on a plain connection, which begins a transaction by itself."""

    plain: Any = None

    def execute(self, sql: str, *parameters: object) -> Any:
        cursor = self.plain.cursor()
        if sql == "ROLLBACK":
            self.plain.rollback()
        elif sql != "BEGIN":
            cursor.execute(sql, parameters or None)
        return cursor

    def commit(self) -> Answer:
        self.plain.commit()
        return BOOKED


@define
class Execution:
    """A resource with one unit, and what each caller is answered."""

    resource: str
    answers: dict[int, str] = field(factory=dict)


@define
class Bench:
    """What frontrun is given: a setup, two callers, an invariant."""

    dsn: str
    factory: Factory
    same_id: bool
    executions: int = 0

    def setup(self) -> Execution:
        self.executions += 1
        made = Execution(uuid.uuid4().hex)
        self._run("INSERT INTO resource (id, capacity) VALUES (%s, 1)", made.resource)
        return made

    def caller(self, number: int) -> Callable[[Execution], None]:
        """One attempt on a connection of its own."""

        def attempt(execution: Execution) -> None:
            booking = f"{execution.resource}-{0 if self.same_id else number}"
            connection = psycopg2.connect(self.dsn)
            try:
                db = _Plain(self.dsn, 5.0, plain=connection)
                answer = self.factory.mechanism(db, booking, execution.resource, 1)
                execution.answers[number] = answer["outcome"]
            except psycopg2.Error:
                execution.answers[number] = "FAILED"
            finally:
                connection.close()

        return attempt

    def invariant(self, execution: Execution) -> bool:
        """No more than one is booked, and counted; nobody is refused what he has."""
        ((rows,),) = self._run(
            "SELECT count(*) FROM booking WHERE resource_id = %s", execution.resource
        )
        ((counted,),) = self._run("SELECT booked FROM resource WHERE id = %s", execution.resource)
        refused = self.same_id and rows and "REJECTED" in execution.answers.values()
        keeps_count = self.factory.AUDIT["booked"] is not None
        return rows <= 1 and not refused and (counted == rows or not keeps_count)

    def _run(self, sql: str, *parameters: object) -> Any:
        connection = psycopg2.connect(self.dsn)
        try:
            connection.autocommit = True
            cursor = connection.cursor()
            cursor.execute(sql, parameters)
            return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()


def main() -> None:
    """Print what it says of one mechanism, on the database DSN, within SECONDS."""
    name, dsn, seconds = sys.argv[1:]
    mutant = find("version-check" if name == "optimistic" else name)
    module, _, function = mutant.factory.partition(":")
    package = "lastseat.harness.mutants"
    factory: Factory = getattr(importlib.import_module(f"{package}.{module}"), function)
    factory.prepare(dsn)
    bench = Bench(dsn, factory, name in _SAME_ID)
    began = time.monotonic()
    told = frontrun.explore(
        bench.setup,
        [bench.caller(0), bench.caller(1)],
        bench.invariant,
        preemption_bound=None,
        lock_timeout=_LOCK_TIMEOUT_MS,
        reproduce_on_failure=0,
        total_timeout=float(seconds),
        warn_nondeterministic_sql=False,
    )
    verdict = {False: "found", True: "not found, all", None: "not found, inconclusive"}
    took = time.monotonic() - began
    print(f"{verdict[told.property_holds]}, {bench.executions} executions in {took:.1f} s")


if __name__ == "__main__":
    main()
