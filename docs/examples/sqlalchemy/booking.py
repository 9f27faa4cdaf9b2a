"""Contested booking with SQLAlchemy's ORM: optimistic, by ``version_id_col``.

    cd docs/examples/sqlalchemy
    lastseat verify booking:booking

The event is read with its version; the flush updates it WHERE the version is still the same, and
raises StaleDataError where it is not.
"""

import functools

import psycopg
from alarm import Alarm
from sqlalchemy import CheckConstraint, ForeignKey, create_engine
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship
from sqlalchemy.orm.exc import StaleDataError

AUDIT = {
    "bookings": "SELECT id, units FROM booking WHERE event_id = $1",
    "booked": "SELECT booked FROM event WHERE id = $1",
}
PROMISES = ["winner"]  # a conflict is told only to whom a booking of somebody's has overtaken

TAKEN = "23505"
FULL = "23514"
CONFLICTS = {"40001", "40P01", "55P03"}
MISTAKES = ("22", "23", "42")  # classes of errors that the program is to blame for


class Base(DeclarativeBase):
    pass


class Event(Base):
    __tablename__ = "event"
    __table_args__ = (CheckConstraint("booked BETWEEN 0 AND capacity"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    capacity: Mapped[int]
    booked: Mapped[int] = mapped_column(default=0)
    version: Mapped[int] = mapped_column()

    __mapper_args__ = {"version_id_col": version}


class Claim(Base):
    __tablename__ = "booking"
    __table_args__ = (CheckConstraint("units > 0"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    event_id: Mapped[str] = mapped_column(ForeignKey("event.id"))
    units: Mapped[int]

    # Without it the flush would not know that the event's row comes first.
    event: Mapped[Event] = relationship()


class NotCommitted(Exception):
    """The server answered COMMIT with ROLLBACK."""


class Connection(psycopg.Connection):
    """Tells what psycopg's own commit() keeps to itself."""

    def commit(self):
        if self.execute("COMMIT").statusmessage != "COMMIT":
            raise NotCommitted


def engine(dsn, alarm=None, **options):
    def connect():
        connection = Connection.connect(dsn, **options)
        if alarm is not None:  # SQLAlchemy has questions of its own, before we get to see it
            alarm.watch(connection)
        return connection

    return create_engine("postgresql+psycopg://", creator=connect, pool_size=1)


steward = functools.cache(engine)
"""Whoever creates the tables and the events keeps his connection."""


def prepare(dsn):
    Base.metadata.create_all(steward(dsn))


def declare(dsn, resource_id, capacity):
    with Session(steward(dsn)) as session:
        session.add(Event(id=resource_id, capacity=capacity))
        session.commit()


class Booking:
    """A pool of one connection, made when it is needed."""

    def __init__(self, dsn, deadline_seconds):
        # libpq knows no less than 2 seconds. Connecting comes first, so that it cannot exceed the
        # attempt's time by more than that.
        self._alarm = Alarm(deadline_seconds)
        patience = max(2, int(deadline_seconds))
        self._engine = engine(dsn, self._alarm, connect_timeout=patience)

    def attempt_booking(self, booking_id, resource_id, requested_units):
        attempt = Attempt(booking_id, resource_id, requested_units, self._alarm)
        with self._alarm:
            try:
                connection = self._engine.connect()
            except DBAPIError as error:
                return infrastructure(error)
            raw = connection.connection.driver_connection
            self._alarm.watch(raw)
            try:
                attempt.run(Session(connection, expire_on_commit=False))
            except (DBAPIError, NotCommitted, TimeoutError) as error:
                attempt.failed(error, connection, raw)
            finally:
                leave(connection)
        return attempt.answer

    def close(self):
        self._engine.dispose()


def leave(connection):
    """End the transaction; where that fails, end the connection. All is decided by then."""
    try:
        connection.rollback()
    except DBAPIError:
        connection.invalidate()
    connection.close()


class Attempt:
    """One attempt; its answer, once decided, stays."""

    def __init__(self, booking_id, event_id, units, alarm):
        self.id, self.event_id, self.units = booking_id, event_id, units
        self.answer = None
        self._alarm = alarm
        self._committing = False

    def run(self, session):
        try:
            self._book(session)
        except StaleDataError:
            self._overtaken(session)
        except IntegrityError as error:
            if error.orig.sqlstate != TAKEN:
                raise
            self._overtaken(session)

    def _book(self, session):
        # The event first: what is found in the bookings afterwards is at least as new.
        event = session.get(Event, self.event_id)
        own = session.get(Claim, self.id)
        if own is not None:
            self._repeats(own)
        elif event is None:
            raise LookupError(f"there is no event {self.event_id}")
        elif event.booked + self.units > event.capacity:
            self._decides("REJECTED")
        else:
            event.booked += self.units
            session.add(Claim(id=self.id, event=event, units=self.units))
            session.flush()
            self._alarm.check()
            self._committing = True
            session.commit()
            self._decides("BOOKED")

    def _overtaken(self, session):
        """Somebody was faster: perhaps an earlier attempt at this very booking."""
        session.rollback()
        self._committing = False
        own = session.get(Claim, self.id)
        if own is not None:
            self._repeats(own)
        else:
            self.answer = {"outcome": "FAILED", "cause": "CONFLICT"}

    def _repeats(self, own):
        if (own.event_id, own.units) != (self.event_id, self.units):
            raise ValueError(f"{self.id} is booked as {own.units} of {own.event_id}")
        self._decides("BOOKED")

    def _decides(self, outcome):
        self.answer = {"outcome": outcome}

    def failed(self, error, connection, raw):
        """What a failure means, by its SQLSTATE and by what became of the connection."""
        state = ""
        if isinstance(error, NotCommitted | TimeoutError):
            self._committing = False
        elif definite(error, raw):
            self._committing = False
            state = error.orig.sqlstate
        if state == FULL:
            self._decides("REJECTED")
        elif state in CONFLICTS:
            self.answer = {"outcome": "FAILED", "cause": "CONFLICT", "detail": str(error)}
        elif state.startswith(MISTAKES):
            raise error
        else:
            connection.invalidate()  # what is wrong with it, the next attempt does not inherit
            self.answer = infrastructure(error, in_doubt=self._committing)


def definite(error, raw):
    """An ERROR on a connection that lives on is; any other end leaves a COMMIT open."""
    cause = error.orig
    if not isinstance(cause, psycopg.Error) or raw.closed:
        return False
    return cause.diag.severity_nonlocalized == "ERROR"


def infrastructure(error, in_doubt=False):
    return {
        "outcome": "FAILED",
        "cause": "INFRASTRUCTURE",
        "in_doubt": in_doubt,
        "detail": str(error),
    }


def booking(dsn, deadline_seconds):
    """version_id_col"""
    return Booking(dsn, deadline_seconds)
