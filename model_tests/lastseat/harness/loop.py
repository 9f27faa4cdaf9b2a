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


class Watchable(Protocol):
    """A socket, a pipe: whatever has a file descriptor."""

    def fileno(self) -> int: ...


class Loop:
    """Calls the handler of every watched file that is ready."""

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

    def watch(self, file: Watchable, ready: Callable[[], None]) -> None:
        """Call ``ready`` whenever ``file`` can be read."""
        self._selector.register(file.fileno(), selectors.EVENT_READ, ready)

    def forget(self, file: Watchable) -> None:
        """Watch ``file`` no longer; to be called before it is closed."""
        self._selector.unregister(file.fileno())

    def poll(self, timeout: float) -> bool:
        """Handle what is ready, waiting at most ``timeout`` seconds; was there anything?"""
        ready = self._selector.select(timeout)
        for key, _ in ready:
            # A handler may have ended the watch of a file that was ready in the same round.
            if self._selector.get_map().get(key.fd) is key:
                key.data()
        return bool(ready)

    def close(self) -> None:
        self._selector.close()
