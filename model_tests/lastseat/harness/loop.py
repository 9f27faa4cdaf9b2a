"""One thread, one selector: everything that lastseat waits for while an attempt runs.

The gate's sockets and the clients' pipes are watched by the same loop, and the code that decides
what happens next calls ``poll`` itself. So a schedule is a plain sequence of Python statements,
without threads or callbacks between a decision and what follows from it.

The loop also knows when nothing ran: a process that was stopped, a machine that stood still or had
no time for us comes back to the loop later than it asked to. Such time says nothing about what is
observed, so the loop's clock leaves it out.
"""

from __future__ import annotations

import select
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Protocol, Self

from attrs import define


class Watchable(Protocol):
    """A socket, a pipe: whatever has a file descriptor."""

    def fileno(self) -> int: ...


@define(eq=False)
class _Watch:
    """Whom to call when a file can be read, and when it can be written to."""

    readable: Callable[[], None]
    writable: Callable[[], None] | None = None
    news: bool = True


_PULSE = 0.25  # seconds of sleep after which the loop looks at the clock
_LATE = 0.1  # seconds of delay up to which a process counts as running


def _clock() -> float:
    """Seconds, also those in which the machine was suspended."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Loop:
    """Calls the handler of every watched file that is ready. Handlers must not wait.

    ``lost``: the seconds in which this process did not run, or did not come back to the loop. Only
    delays of more than 0.1 s count.
    """

    def __init__(self, clock: Callable[[], float] = _clock) -> None:
        self.lost = 0.0
        self._clock = clock
        self._seen = clock()
        """When the loop was certainly running."""
        self._epoll = select.epoll()
        self._watches: dict[int, _Watch] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def watch(self, file: Watchable, readable: Callable[[], None], *, news: bool = True) -> None:
        """Call ``readable`` whenever ``file`` can be read, or has come to its end.

        Without ``news``, what happens there is served and is nothing that ``poll`` waits for: any
        user of the machine can connect to a port, and must not look like progress.
        """
        self._epoll.register(file.fileno(), select.EPOLLIN)
        self._watches[file.fileno()] = _Watch(readable, news=news)

    def watch_room(self, file: Watchable, writable: Callable[[], None] | None) -> None:
        """Also call ``writable`` whenever the watched ``file`` takes data; None: no longer."""
        self._watches[file.fileno()].writable = writable
        self._epoll.modify(file.fileno(), select.EPOLLIN | (select.EPOLLOUT if writable else 0))

    def forget(self, file: Watchable) -> None:
        """Watch ``file`` no longer; to be called before it is closed."""
        self._epoll.unregister(file.fileno())
        del self._watches[file.fileno()]

    def now(self) -> float:
        """Seconds of a clock that stands while this process does not run: see ``lost``."""
        self._back_after(0)
        return self._seen - self.lost

    def excuse(self) -> None:
        """What has passed since the last poll was waited for on purpose, and is not lost."""
        self._seen = self._clock()

    def _back_after(self, expected: float) -> None:
        """We are back, which was to be so many seconds after we were last seen."""
        now = self._clock()
        late = now - self._seen - expected
        if late > _LATE:
            self.lost += late
        self._seen = now

    def poll(self, timeout: float) -> bool:
        """Handle what is ready, waiting at most ``timeout`` seconds; was there any news?

        What a handler raises ends the round; what was ready besides is ready in the next one.
        """
        self._back_after(0)
        end = self._seen + timeout
        while ready := self._ready(end):
            if self._serve(ready):
                return True
            if self._seen >= end:
                break
        return False

    def _serve(self, ready: Sequence[tuple[int, int]]) -> bool:
        # A handler may end the watch of a file that was ready in the same round.
        watches = [(number, self._watches[number], mask) for number, mask in ready]
        for number, watch, mask in watches:
            if mask & ~select.EPOLLOUT and self._watches.get(number) is watch:
                watch.readable()
            if mask & ~select.EPOLLIN and self._watches.get(number) is watch and watch.writable:
                watch.writable()
        return any(watch.news for _, watch, _ in watches)

    def _ready(self, end: float) -> list[tuple[int, int]]:
        """The files that are ready by then, and for what; sleeps in short pieces, so that what is
        lost of a long wait shows."""
        while True:
            asked = max(0.0, min(end - self._seen, _PULSE))
            ready = self._epoll.poll(asked)
            self._back_after(asked)
            if ready or self._seen >= end:
                return ready

    def close(self) -> None:
        self._epoll.close()
