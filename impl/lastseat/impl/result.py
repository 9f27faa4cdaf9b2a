"""What an attempt asks for, what it answers, and what it raises instead of answering."""

from __future__ import annotations

from enum import StrEnum

from attrs import field, frozen

LONGEST_ID = 200
"""Characters in a booking's or a resource's id, at most; the schema says the same."""


class Outcome(StrEnum):
    """What an attempt emits, exactly once."""

    BOOKED = "BOOKED"
    REJECTED = "REJECTED"
    FAILED = "FAILED"


class Cause(StrEnum):
    """Why an attempt is FAILED. Either may be repeated with the same booking id."""

    CONFLICT = "CONFLICT"
    INFRASTRUCTURE = "INFRASTRUCTURE"


@frozen
class Result:
    """The outcome of one attempt.

    ``cause`` is set when it is FAILED. ``in_doubt`` means that the COMMIT was handed to the
    connection and no definite answer came back, so the booking may or may not exist: repeat the
    attempt with the same booking id to find out. ``detail`` is for people, not for programs.
    """

    outcome: Outcome
    cause: Cause | None = None
    in_doubt: bool = False
    detail: str = field(default="", eq=False)


class RequestError(ValueError):
    """The request itself is wrong: a programming error, never an outcome; it left no trace."""

    in_doubt = False


class UnknownResource(RequestError):
    """There is no resource of that id."""


class InconsistentRequest(RequestError):
    """The booking id is booked already, with another resource or other units."""


class StatementError(RuntimeError):
    """The database refused a statement for a reason that is neither contention nor environment.

    A mistake in this package or in the schema that it met; the transaction was rolled back. The
    driver's exception is the cause of this one.
    """

    in_doubt = False


@frozen
class Request:
    """The request of an attempt; raises RequestError when it is malformed."""

    booking_id: str
    resource_id: str
    units: int

    def __attrs_post_init__(self) -> None:
        _check_id("booking_id", self.booking_id)
        _check_id("resource_id", self.resource_id)
        if type(self.units) is not int:
            raise RequestError(f"requested_units must be an int, not {self.units!r}")
        if self.units < 1:
            raise RequestError(f"requested_units must be at least 1, not {self.units}")


def _check_id(name: str, value: object) -> None:
    if not isinstance(value, str):
        raise RequestError(f"{name} must be a str, not {value!r}")
    if not 1 <= len(value) <= LONGEST_ID:
        raise RequestError(f"{name} must have 1 to {LONGEST_ID} characters, not {len(value)}")
    if "\0" in value or not _is_text(value):
        raise RequestError(f"{name} is not text that a database can hold: {value!r}")


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:  # a lone surrogate
        return False
    return True
