"""An implementation whose ids are uuids."""

import uuid

import lock_then_sum
from lock_then_sum import AUDIT, declare

__all__ = ["AUDIT", "IDS", "booking", "declare", "prepare"]

IDS = "uuid"
prepare = lock_then_sum.tables("uuid")


def booking(dsn, deadline_seconds):
    return lock_then_sum.Booking(dsn, uuid.UUID)
