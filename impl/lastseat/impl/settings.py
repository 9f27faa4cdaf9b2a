"""What a transaction of ours is set to, whatever the role, the database or the session says.

Any role may set its own defaults (``ALTER ROLE ... SET``), and a search_path that names another
schema first decides what ``=`` means. So every transaction sets what could break it, in the message
that begins it: no turn more on the wire, nothing left on the connection, and no startup option
that a pooler in between would refuse.
"""

from __future__ import annotations

_BOUND_SECONDS = 60
POSTGRESQL_17 = 170_000
"""As libpq counts versions: from here on there are transaction_timeout and MAINTAIN."""

BEGIN = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"


def opening(server_version: int, seconds: float) -> str:
    """The statements that begin a transaction which its client ends within so many ``seconds``."""
    return f"{BEGIN}; {local(server_version, seconds)}"


def local(server_version: int, seconds: float, lock_seconds: float | None = None) -> str:
    """The settings of the open transaction: qualified names only, and no time-out too short.

    The client's own deadline is what ends an attempt. The server's time-outs lie behind it, and end
    what a client that is gone has left waiting or holding a lock; for ``seconds`` beyond a minute,
    as under a debugger, there are none. ``lock_seconds`` bounds each wait for a lock more tightly.
    """
    bound = _BOUND_SECONDS if seconds <= _BOUND_SECONDS else 0
    timeouts = {}
    if server_version >= POSTGRESQL_17:
        # Zero alone stops the timer that has been running since BEGIN. The others suffice.
        timeouts["transaction_timeout"] = 0.0
    timeouts |= {
        "statement_timeout": bound,
        "lock_timeout": bound if lock_seconds is None else lock_seconds,
        "idle_in_transaction_session_timeout": bound,
    }
    return "; ".join(
        (
            "SET LOCAL search_path = pg_catalog, pg_temp",
            *(f"SET LOCAL {name} = '{value:g}s'" for name, value in timeouts.items()),
        )
    )
