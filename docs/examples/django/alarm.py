"""A deadline for drivers that have none of their own, such as psycopg."""

import contextlib
import os
import socket
import threading


class Alarm:
    """Hangs up on the server when time is up: libpq itself waits for an answer without limit.

    ``with alarm:`` an attempt, again and again; ``watch`` tells on which connection.
    """

    def __init__(self, seconds):
        self._seconds = seconds
        self._lock = threading.Lock()
        self._socket = None

    def __enter__(self):
        self._rung = False
        self._timer = threading.Timer(self._seconds, self._ring)
        self._timer.start()
        return self

    def __exit__(self, *_):
        self._timer.cancel()
        self._timer.join()
        self._forget()

    def watch(self, connection):
        """From now on this is the connection to hang up on."""
        # A file descriptor of our own: that of the connection may be somebody else's by then.
        with self._lock:
            self._forget()
            self._socket = socket.socket(fileno=os.dup(connection.fileno()))
            if self._rung:
                self._hang_up()

    def check(self):
        """Raise TimeoutError when time is up: what was not sent by then never is."""
        if self._rung:
            raise TimeoutError("the deadline has passed")

    def _forget(self):
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _ring(self):
        with self._lock:
            self._rung = True
            self._hang_up()

    def _hang_up(self):
        if self._socket is not None:
            # For reading only: what is on its way out goes out, and whether it did is not in doubt.
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RD)
