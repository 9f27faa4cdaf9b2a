"""The savepoints of one connection's transaction: what they guard, and whose attempt it is.

A client may persist several attempts in one transaction, each of them guarded by a savepoint. What
is said between a savepoint and its end belongs to the attempt whose booking is named there, also
what was said before the name.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from attrs import Factory, define


@define
class Savepoint:
    """One savepoint; ``since`` is the first exchange that rolling back to it takes back."""

    name: str
    since: int
    owners: set[str] = Factory(set)
    """The attempts that were named behind it, or behind a savepoint inside it."""
    unclaimed: list[int] = Factory(list)
    """The exchanges behind it that belong to the first attempt that is named."""
    undone: str | None = None
    """Whose it was when it was rolled back to, until anything else is said."""


@define
class Savepoints:
    """Those that are set now, the innermost one last."""

    _set: list[Savepoint] = Factory(list)

    def clear(self) -> None:
        """The transaction has ended, or another attempt has begun."""
        self._set.clear()

    @property
    def any(self) -> bool:
        """Whether an error would leave the transaction something to go back to."""
        return bool(self._set)

    def put(self, name: str, at: int) -> None:
        """A savepoint is set, with the exchange of this index."""
        self._set.append(Savepoint(name, at))

    def attributed(
        self, index: int, named: Sequence[str], *, clears_up: bool
    ) -> tuple[str | None, list[int]]:
        """Whose an exchange is that names these attempts, as far as savepoints tell; and the
        exchanges before it that turn out to belong to the first of them.

        ``clears_up``: it releases a savepoint or rolls back to it.
        """
        if not self._set:
            return None, []
        innermost = self._set[-1]
        undone = innermost.undone
        if not clears_up:
            innermost.undone = None
        if named:
            return None, list(self._claim(named))
        owner = (undone if clears_up else None) or self._owner()
        if owner is None:
            innermost.unclaimed.append(index)
        return owner, []

    def _claim(self, named: Sequence[str]) -> Iterator[int]:
        for savepoint in self._set:
            if not savepoint.owners:
                yield from savepoint.unclaimed
            savepoint.unclaimed.clear()
            savepoint.owners.update(named)

    def _owner(self) -> str | None:
        """Of the innermost savepoint behind which an attempt was named; None if several were."""
        for savepoint in reversed(self._set):
            if savepoint.owners:
                return next(iter(savepoint.owners)) if len(savepoint.owners) == 1 else None
        return None

    def release(self, name: str) -> None:
        """A savepoint ends, and those that were set behind it."""
        at = self._find(name)
        if at is None:
            return
        ended, self._set = self._set[at:], self._set[:at]
        if self._set:
            self._set[-1].unclaimed += (i for savepoint in ended for i in savepoint.unclaimed)

    def back_to(self, name: str) -> int | None:
        """What was said behind a savepoint is undone; the index of its first exchange. The
        savepoint itself stays, and may guard another attempt next."""
        at = self._find(name)
        if at is None:
            return None
        whose = self._set[at].undone or self._owner()
        self._set = self._set[: at + 1]
        since = self._set[at].since
        self._set[at] = Savepoint(name, since, undone=whose)
        return since

    def _find(self, name: str) -> int | None:
        """The last one of a name: it hides those before it."""
        places = (at for at in reversed(range(len(self._set))) if self._set[at].name == name)
        return next(places, None)
