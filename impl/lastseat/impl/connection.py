"""A psycopg connection whose every wait ends by the attempt's deadline."""

from __future__ import annotations

import psycopg
from psycopg import generators
from psycopg.abc import RV, PQGen
from psycopg.conninfo import make_conninfo
from psycopg.pq import ConnStatus, TransactionStatus
from psycopg.rows import TupleRow

from lastseat.impl.deadline import Deadline, drive, readable


def conninfo(dsn: str) -> str:
    """Complete ``dsn``; raises psycopg.ProgrammingError when it is malformed.

    TLS, hosts and everything else stay as the dsn and the environment say.
    """
    return make_conninfo(dsn, client_encoding="UTF8", fallback_application_name="lastseat")


class TimedConnection(psycopg.Connection[TupleRow]):
    """A connection that gives up when its ``deadline`` has passed.

    It begins and commits nothing by itself (autocommit) and prepares nothing, so that a statement
    is one turn on the wire, the sixth time too, and a pooler in between does no harm.

    When a wait ends with anything but the server's answer (DeadlineExpired, KeyboardInterrupt),
    the connection is in an unknown state; the caller closes it.
    """

    deadline: Deadline

    @classmethod
    def open(cls, conninfo: str, deadline: Deadline) -> TimedConnection:
        """Connect by the deadline.

        Resolving a host's name is not covered by it: libpq asks the system's resolver, which
        blocks. Give an address (or ``hostaddr``) where that matters. Of several hosts, one that
        is silent uses up the time of those behind it.

        Raises psycopg.OperationalError or DeadlineExpired.
        """
        self = cls(drive(generators.connect(conninfo), deadline))
        self.deadline = deadline
        self.autocommit = True
        self.prepare_threshold = None
        return self

    def wait(
        self,
        gen: PQGen[RV],
        interval: float = 0.0,  # noqa: ARG002 - psycopg's signature
        timeout: float | None = None,  # noqa: ARG002
    ) -> RV:
        """Run ``gen`` against the deadline.

        Unlike psycopg's own, an interrupt is not turned into a request to cancel: that would be
        another wait. ``interval`` and ``timeout`` have no meaning here.
        """
        return drive(gen, self.deadline, self.pgconn.socket)

    def silent(self) -> bool:
        """Has nothing arrived? An idle server speaks up when it leaves, and seldom otherwise."""
        return not readable(self.pgconn.socket)

    def hung_up(self) -> bool:
        """Has the server ended this connection? Asks nobody, looks at what has arrived."""
        try:
            while self.pgconn.status == ConnStatus.OK and readable(self.pgconn.socket):
                self.deadline.check()
                self.pgconn.consume_input()
                self.pgconn.notifies()  # parses what was read: notices, parameters, the farewell
        except psycopg.Error:
            return True
        return self.pgconn.status != ConnStatus.OK

    def state(self) -> TransactionStatus:
        """What the server last said of the transaction; UNKNOWN when the connection is lost."""
        if self.closed:
            return TransactionStatus.UNKNOWN
        return TransactionStatus(self.pgconn.transaction_status)
