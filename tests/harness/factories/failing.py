"""Right as long as nothing fails; then it hangs, or dies, or does so from the start."""

import os
import signal
import time

import guarded as right
from guarded import AUDIT, IDS, declare, prepare

__all__ = ["AUDIT", "IDS", "Dying", "DyingAtOnce", "Hanging", "HangingAtOnce", "declare", "prepare"]


class Hanging(right.Guarded):
    def _failed(self, error):
        time.sleep(3600)


class Dying(right.Guarded):
    def _failed(self, error):
        os.kill(os.getpid(), signal.SIGKILL)


class HangingAtOnce(right.Guarded):
    def _book(self, booking, place, units):
        answer = super()._book(booking, place, units)
        if booking.endswith("b2"):  # the steward's and the first client's are answered
            time.sleep(3600)
        return answer


class DyingAtOnce(right.Guarded):
    def _book(self, booking, place, units):
        super()._book(booking, place, units)
        os._exit(7)
