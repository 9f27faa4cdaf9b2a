"""What ends a command without a verdict."""

from __future__ import annotations


class Mistake(Exception):
    """Something that the user can mend: the message says what is wrong, and what to do next."""


class Interrupted(Exception):
    """The user interrupted; had a violation been found by then?"""

    def __init__(self, *, violated: bool) -> None:
        super().__init__()
        self.violated = violated
