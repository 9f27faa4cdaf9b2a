"""Ctrl-C, any number of times: it ends a run once, and what cleans up is not cut off."""

from __future__ import annotations

import contextlib
import signal
import threading
import weakref
from collections.abc import Iterator
from types import FrameType


class _Interrupt(KeyboardInterrupt):
    """Can be referred to weakly, so that its end is noticed."""


def hear_once() -> None:
    """From now on another interrupt changes nothing until the one before has been dealt with.

    While the first one unwinds the program, servers are stopped and folders removed: a second one
    in the middle of that would leave them. An interrupt that got lost on its way (in a destructor,
    say) does not count.
    """
    under_way: weakref.ref[_Interrupt] | None = None

    def interrupt(_: int, __: FrameType | None) -> None:
        nonlocal under_way
        if under_way is None or under_way() is None:
            made = _Interrupt()
            under_way = weakref.ref(made)
            raise made

    signal.signal(signal.SIGINT, interrupt)


def hear_no_more() -> None:
    """From now on interrupts change nothing: all is done but the process's own end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextlib.contextmanager
def later() -> Iterator[None]:
    """An interrupt that comes meanwhile is heard at the end of it.

    Python's handler runs in the main thread whichever thread takes the signal, blocked or not; so
    it is the handler that waits.
    """
    handler = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(handler):
        yield
        return
    came: list[int] = []
    signal.signal(signal.SIGINT, lambda number, _: came.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
    if came:
        handler(signal.SIGINT, None)
