"""How much later than its deadline an attempt ends, when nothing comes back.

Attempts of the reference implementation meet a backend that is frozen, so that they stall at their
first statement, or a peer that takes connections and never says a word. What is asserted elsewhere
is what they answer; here is how late.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import socket
import time
from collections.abc import Callable
from functools import partial

import psycopg

from lastseat.harness.postgres import open_target
from lastseat.impl import schema
from lastseat.impl.asynchronous import async_optimistic
from lastseat.impl.optimistic import optimistic
from lastseat.impl.pool import pooled_optimistic

SECONDS = 0.1
"""The deadline."""
WANTED_MS = 250.0
"""How late the latest but one in a hundred may be."""

Attempt = Callable[[], object]


def _late(attempt: Attempt, times: int) -> list[float]:
    """In milliseconds, sorted."""
    late = []
    for _ in range(times):
        began = time.monotonic()
        attempt()
        late.append((time.monotonic() - began - SECONDS) * 1000)
    return sorted(late)


def _report(words: str, late: list[float]) -> bool:
    p99 = late[min(len(late) - 1, len(late) * 99 // 100)]
    print(f"{words:<44} p50 {late[len(late) // 2]:6.1f} ms  p99 {p99:6.1f} ms  n {len(late)}")
    return p99 <= WANTED_MS


def _measure(name: str, dsn: str, times: int) -> bool:
    """One face, against a peer that never says a word."""
    if name == "asynchronous":
        with asyncio.Runner() as runner:
            booking = async_optimistic(dsn, SECONDS)
            late = _late(lambda: runner.run(booking.attempt_booking("b", "r", 1)), times)
            runner.run(booking.close())
    else:
        make = pooled_optimistic if name == "pooled" else optimistic
        with make(dsn, SECONDS) as opened:
            late = _late(lambda: opened.attempt_booking("b", "r", 1), times)
    return _report(f"{name}: nobody answers", late)


def _frozen(times: int) -> bool:
    """A backend that is frozen while the connection to it is idle, again and again."""
    late = []
    with open_target() as target:
        schema.prepare(target.dsn)
        schema.declare(target.dsn, "r", 1_000_000)
        for number in range(times):
            with optimistic(target.dsn, 10) as booking:
                booking.attempt_booking(f"warm-{number}", "r", 1)
                booking._deadline_seconds = SECONDS  # noqa: SLF001 - only the first may take long
                pid = _other(target.dsn)
                os.kill(pid, signal.SIGSTOP)
                try:
                    late += _late(partial(booking.attempt_booking, f"b-{number}", "r", 1), 1)
                finally:
                    os.kill(pid, signal.SIGCONT)
        schema.release()
    return _report("synchronous: a frozen server process", sorted(late))


def _other(dsn: str) -> int:
    with psycopg.connect(dsn, autocommit=True) as watcher:
        (row,) = watcher.execute(
            "SELECT max(pid) FROM pg_stat_activity WHERE datname = current_database()"
            " AND application_name = 'lastseat' AND query LIKE 'COMMIT%'"
        ).fetchall()
    return int(row[0])


def main() -> int:
    """The exit code: 1 where one in a hundred is later than wanted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=100)
    times = parser.parse_args().times
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        mute = f"host=127.0.0.1 port={port} user=x dbname=x sslmode=disable"
        fine = [_measure(name, mute, times) for name in ("synchronous", "asynchronous", "pooled")]
    fine.append(_frozen(max(1, times // 4)))
    return 0 if all(fine) else 1


if __name__ == "__main__":
    raise SystemExit(main())
