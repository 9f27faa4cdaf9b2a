"""One thread, one selector: everything that lastseat waits for while an attempt runs.

The gate's sockets and the clients' pipes are watched by the same loop, and the code that decides
what happens next calls ``poll`` itself. So a schedule is a plain sequence of Python statements,
without threads or callbacks between a decision and what follows from it.
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


class Loop:
    """Calls the handler of every watched file that is ready. Handlers must not wait."""

    def __init__(self) -> None:
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

    def poll(self, timeout: float) -> bool:
        """Handle what is ready, waiting at most ``timeout`` seconds; was there any news?

        What a handler raises ends the round; what was ready besides is ready in the next one.
        """
        end: float | None = None
        while True:
            ready = self._epoll.poll(timeout)
            if not ready or self._serve(ready):
                return bool(ready)
            now = time.monotonic()
            end = now + timeout if end is None else end
            timeout = end - now
            if timeout <= 0:
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

    def close(self) -> None:
        self._epoll.close()
