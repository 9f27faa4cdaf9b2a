"""An implementation whose ids are integers."""

import lock_then_sum
from lock_then_sum import AUDIT, declare

__all__ = ["AUDIT", "IDS", "booking", "declare", "prepare"]

IDS = "integer"
prepare = lock_then_sum.tables("integer")


def booking(dsn, deadline_seconds):
    return lock_then_sum.Booking(dsn, int)
