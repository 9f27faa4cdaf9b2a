"""Contested booking with Django's ORM: pessimistic, by ``select_for_update``.

cd docs/examples/django
lastseat verify booking:booking
"""

import os

import django
import psycopg
from alarm import Alarm

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "settings")
django.setup()

from django.core.management import call_command
from django.db import DatabaseError, Error, connection, transaction
from seats.backend.base import NotCommitted
from seats.models import Claim, Event
from settings import database

AUDIT = {
    "bookings": "SELECT id, units FROM seats_claim WHERE event_id = $1",
    "booked": "SELECT booked FROM seats_event WHERE id = $1",
}

TAKEN = "23505"
FULL = "23514"
CONFLICTS = {"40001", "40P01", "55P03"}
MISTAKES = ("22", "23", "42")  # classes of errors that the program is to blame for


def use(dsn, **options):
    """From now on this thread's connection leads there."""
    connection.close()
    connection.settings_dict = connection.settings_dict | database(dsn, **options)


def prepare(dsn):
    use(dsn)
    call_command("migrate", run_syncdb=True, verbosity=0)


def declare(dsn, resource_id, capacity):
    Event.objects.create(id=resource_id, capacity=capacity)


class Booking:
    """Books on this thread's connection, which Django makes when it is needed."""

    def __init__(self, dsn, deadline_seconds):
        # libpq knows no less than 2 seconds. Connecting comes first, so that it cannot exceed the
        # attempt's time by more than that.
        use(dsn, connect_timeout=max(2, int(deadline_seconds)))
        self._alarm = Alarm(deadline_seconds)

    def attempt_booking(self, booking_id, resource_id, requested_units):
        attempt = Attempt(booking_id, resource_id, requested_units)
        with self._alarm:
            try:
                attempt.run(self._alarm)
            except (Error, NotCommitted, TimeoutError) as error:
                attempt.failed(error)
        return attempt.answer

    def close(self):
        connection.close()


class Attempt:
    """One attempt; its answer, once decided, stays."""

    def __init__(self, booking_id, event_id, units):
        self.id, self.event_id, self.units = booking_id, event_id, units
        self.answer = None

    def run(self, alarm):
        connection.committing = False
        connection.ensure_connection()
        alarm.watch(connection.connection)
        try:
            with transaction.atomic(durable=True):
                outcome = self._book()
                alarm.check()
        except DatabaseError as error:
            if self._sqlstate(error) != TAKEN or self.answer is not None:
                raise
            self._whose()
        else:
            self._decides(outcome)

    def _book(self):
        # FOR NO KEY UPDATE: a plain FOR UPDATE would also keep inserts of bookings waiting, whose
        # foreign key locks the event's key, and deadlock with them.
        event = Event.objects.select_for_update(no_key=True).get(pk=self.event_id)
        own = Claim.objects.filter(pk=self.id).first()
        if own is not None:
            return self._repeats(own)
        if event.booked + self.units > event.capacity:
            return self._decides("REJECTED")
        event.booked += self.units
        event.save(update_fields=["booked"])
        # Not save(): with a key that is given it would first try an UPDATE.
        Claim.objects.create(id=self.id, event=event, units=self.units)
        return "BOOKED"

    def _whose(self):
        """The id was taken by somebody whom the lock did not keep out: on another event."""
        own = Claim.objects.filter(pk=self.id).first()
        if own is not None:
            self._repeats(own)
        else:
            self.answer = {"outcome": "FAILED", "cause": "CONFLICT"}

    def _repeats(self, own):
        if (own.event_id, own.units) != (self.event_id, self.units):
            raise ValueError(f"{self.id} is booked as {own.units} of {own.event_id}")
        return self._decides("BOOKED")

    def _decides(self, outcome):
        self.answer = {"outcome": outcome}
        return outcome

    def failed(self, error):
        """What the answer is, unless it was decided before; then a ROLLBACK or COMMIT failed."""
        state = self._sqlstate(error)
        if self.answer is not None:
            connection.close()
        elif state == FULL:
            self._decides("REJECTED")
        elif state in CONFLICTS:
            self.answer = {"outcome": "FAILED", "cause": "CONFLICT"}
        elif state.startswith(MISTAKES):
            raise error
        else:
            self.answer = {
                "outcome": "FAILED",
                "cause": "INFRASTRUCTURE",
                "in_doubt": connection.committing and not state,
                "detail": str(error),
            }
            connection.close()

    @staticmethod
    def _sqlstate(error):
        """The SQLSTATE of an ERROR on a connection that lives on; empty for everything else.

        Only that is definite: any other end leaves a COMMIT open.
        """
        cause = error.__cause__
        raw = connection.connection
        if not isinstance(cause, psycopg.Error) or raw is None or raw.closed:
            return ""
        definite = cause.diag.severity_nonlocalized == "ERROR"
        return cause.sqlstate if definite and cause.sqlstate else ""


def booking(dsn, deadline_seconds):
    """select_for_update"""
    return Booking(dsn, deadline_seconds)
