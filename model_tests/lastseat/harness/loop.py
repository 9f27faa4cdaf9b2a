"""One thread, one selector: everything that lastseat waits for while an attempt runs.

The gate's sockets and the clients' pipes are watched by the same loop, and the code that decides
what happens next calls ``poll`` itself. So a schedule is a plain sequence of Python statements,
without threads or callbacks between a decision and what follows from it.
"""

from __future__ import annotations

import selectors
from collections.abc import Callable
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


class Loop:
    """Calls the handler of every watched file that is ready. Handlers must not wait."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def watch(self, file: Watchable, readable: Callable[[], None]) -> None:
        """Call ``readable`` whenever ``file`` can be read, or has come to its end."""
        self._selector.register(file.fileno(), selectors.EVENT_READ, _Watch(readable))

    def watch_room(self, file: Watchable, writable: Callable[[], None] | None) -> None:
        """Also call ``writable`` whenever the watched ``file`` takes data; None: no longer."""
        watch: _Watch = self._selector.get_key(file.fileno()).data
        watch.writable = writable
        both = selectors.EVENT_READ | (selectors.EVENT_WRITE if writable else 0)
        self._selector.modify(file.fileno(), both, watch)

    def forget(self, file: Watchable) -> None:
        """Watch ``file`` no longer; to be called before it is closed."""
        self._selector.unregister(file.fileno())

    def poll(self, timeout: float) -> bool:
        """Handle what is ready, waiting at most ``timeout`` seconds; was there anything?

        What a handler raises ends the round; what was ready besides is ready in the next one.
        """
        ready = self._selector.select(timeout)
        for key, mask in ready:
            watch: _Watch = key.data
            if mask & selectors.EVENT_READ and self._watches(key.fd, watch):
                watch.readable()
            if mask & selectors.EVENT_WRITE and self._watches(key.fd, watch) and watch.writable:
                watch.writable()
        return bool(ready)

    def close(self) -> None:
        self._selector.close()

    def _watches(self, fd: int, watch: _Watch) -> bool:
        """A handler may have ended the watch of a file that was ready in the same round."""
        key = self._selector.get_map().get(fd)
        return key is not None and key.data is watch
