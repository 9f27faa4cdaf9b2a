"""A deadline that holds even when nothing comes back.

No setting of PostgreSQL or libpq bounds the wait for a peer that is silent: a frozen server, a cut
cable, a stall in the middle of a COMMIT. So the waiting is done here, against the attempt's own
clock. Nobody is asked to cancel anything when time is up, because that would mean to wait again.
"""

from __future__ import annotations

import math
import select
import time
from collections.abc import Generator
from typing import Any, TypeVar

import psycopg
from attrs import frozen
from psycopg.waiting import Ready, Wait

T = TypeVar("T")


class Interrupted(BaseException):
    """Another thread wants this attempt to end at once; its connection must be closed."""


class DeadlineExpired(Exception):
    """The attempt's time is up; its connection is in an unknown state and must be closed."""


@frozen
class Deadline:
    """A moment on the monotonic clock, in seconds.

    Who waits for it is interrupted before, as soon as there is something to read from the file
    descriptor ``interrupt``.
    """

    at: float
    interrupt: int | None = None

    @classmethod
    def after(cls, seconds: float, interrupt: int | None = None) -> Deadline:
        """The moment that lies ``seconds`` ahead."""
        return cls(time.monotonic() + seconds, interrupt)

    @property
    def remaining(self) -> float:
        """Seconds left; 0 when it has passed."""
        return max(0.0, self.at - time.monotonic())

    def check(self) -> None:
        """Raise DeadlineExpired when it has passed."""
        if not self.remaining:
            raise DeadlineExpired("the attempt's deadline has passed")


def drive(gen: Generator[Any, Any, T], deadline: Deadline, fileno: int | None = None) -> T:
    """Run one of psycopg's generators to its end, or raise DeadlineExpired or Interrupted.

    Such a generator talks to libpq and yields what it waits for: ``Wait`` for the socket
    ``fileno``, or, while connecting, ``(fileno, Wait)`` because the socket may change. What has
    arrived already is taken even when the deadline has passed.
    """
    try:
        wanted = next(gen)
        while True:
            fd, wait = wanted if fileno is None else (fileno, wanted)
            ready = _poll(fd, wait, deadline.remaining, deadline.interrupt)
            if not ready:
                raise DeadlineExpired("no answer within the attempt's deadline")
            wanted = gen.send(ready)
            deadline.check()  # a peer that never stops talking is no better than a silent one
    except StopIteration as end:
        result: T = end.value
        return result
    finally:
        gen.close()


def _poll(fileno: int, wait: int, seconds: float, interrupt: int | None = None) -> int:
    poll = select.poll()
    if interrupt is not None:
        poll.register(interrupt, select.POLLIN)
    poll.register(
        fileno,
        (select.POLLIN if wait & Wait.R else 0) | (select.POLLOUT if wait & Wait.W else 0),
    )
    # A signal whose handler raises (Ctrl-C) ends this call with its exception.
    events = dict(poll.poll(math.ceil(seconds * 1000)))
    if interrupt in events:
        raise Interrupted
    if not events:
        return 0
    event = events[fileno]
    if event & select.POLLNVAL:
        raise psycopg.OperationalError("the connection's socket is closed")
    if event & (select.POLLERR | select.POLLHUP):
        return wait  # let libpq find out what is wrong
    return (Ready.R if event & select.POLLIN else 0) | (Ready.W if event & select.POLLOUT else 0)


def readable(fileno: int) -> bool:
    """Has something arrived, be it the end of the stream?"""
    return bool(_poll(fileno, Wait.R, 0))
