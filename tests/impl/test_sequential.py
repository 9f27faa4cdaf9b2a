"""One attempt at a time: the rules of the use case."""

import psycopg
import pytest

from lastseat.impl import InconsistentRequest, RequestError, StatementError, UnknownResource


def test_a_booking_that_fits_is_booked(db, booking):
    resource = db.resource(3)
    result = booking.attempt_booking("fits-" + resource, resource, 3)
    assert (result.outcome, result.cause, result.in_doubt) == ("BOOKED", None, False)
    assert db.bookings(resource) == {"fits-" + resource: 3}


def test_repeating_it_changes_nothing(db, booking):
    resource, own = db.resource(3), db.booking_id()
    first, second = (booking.attempt_booking(own, resource, 2) for _ in range(2))
    assert first == second
    assert db.bookings(resource) == {own: 2}


def test_what_does_not_fit_is_rejected(db, booking):
    resource = db.resource(3)
    other = db.book(resource, 2)
    result = booking.attempt_booking(db.booking_id(), resource, 2)
    assert (result.outcome, result.cause) == ("REJECTED", None)
    assert "2 of 3" in result.detail
    assert db.bookings(resource) == {other: 2}


@pytest.mark.parametrize("units", [2**62 - 1, 2**62, 2**63, 10**100])
def test_no_number_is_too_large_to_be_rejected(db, booking, units):
    resource = db.resource(2**62 - 1)
    db.book(resource, 1)
    assert booking.attempt_booking(db.booking_id(), resource, units).outcome == "REJECTED"


def test_nothing_fits_into_nothing(db, booking):
    resource = db.resource(0)
    assert booking.attempt_booking(db.booking_id(), resource, 1).outcome == "REJECTED"


def test_an_id_binds_when_it_is_booked_not_when_it_is_asked_for(db, booking):
    resource, own = db.resource(3), db.booking_id()
    assert booking.attempt_booking(own, resource, 5).outcome == "REJECTED"
    assert booking.attempt_booking(own, resource, 1).outcome == "BOOKED"


def test_a_repetition_is_booked_though_the_resource_is_full(db, booking):
    resource, own = db.resource(1), db.booking_id()
    booking.attempt_booking(own, resource, 1)
    assert booking.attempt_booking(own, resource, 1).outcome == "BOOKED"


@pytest.mark.parametrize("change", ["units", "resource"])
def test_another_request_under_a_booked_id_is_raised(db, booking, change):
    resource, own = db.resource(3), db.booking_id()
    booking.attempt_booking(own, resource, 1)
    other = (db.resource(3), 1) if change == "resource" else (resource, 2)
    with pytest.raises(InconsistentRequest, match=own):
        booking.attempt_booking(own, *other)
    assert db.bookings(resource) == {own: 1}
    assert db.quiet()
    assert booking.attempt_booking(own, resource, 1).outcome == "BOOKED"


def test_an_unknown_resource_is_raised(db, booking):
    with pytest.raises(UnknownResource, match="'nowhere'"):
        booking.attempt_booking(db.booking_id(), "nowhere", 1)
    assert db.quiet()


@pytest.mark.parametrize(
    "request_",
    [
        ("b", "r", 0),
        ("b", "r", -1),
        ("b", "r", True),
        ("b", "r", 1.0),
        ("b", "r", "1"),
        ("", "r", 1),
        ("b", "", 1),
        ("b" * 201, "r", 1),
        ("b", "r" * 201, 1),
        (7, "r", 1),
        (None, "r", 1),
        ("b\0", "r", 1),
        ("\ud800", "r", 1),
    ],
)
def test_a_malformed_request_is_raised_without_asking_the_database(wire, wired, request_):
    with pytest.raises(RequestError):
        wired.attempt_booking(*request_)
    assert wire.connections == 0


@pytest.mark.parametrize(
    "own", ["x" * 200, "Ünïcödé-\U0001f3ab", "'; DROP TABLE", '%s $1 \\ "', " "]
)
def test_ids_are_text_of_any_kind(db, booking, own):
    resource = db.resource(1)
    own = (own + resource)[-200:]
    assert booking.attempt_booking(own, resource, 1).outcome == "BOOKED"
    assert db.bookings(resource) == {own: 1}


def test_a_mistake_of_the_schema_is_raised_not_answered(db, booking):
    resource = db.resource(1)
    db.connection.execute(
        "CREATE FUNCTION mistake() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN PERFORM 1/0; RETURN NEW; END $$"
    )
    db.connection.execute(
        "CREATE TRIGGER mistake BEFORE INSERT ON lastseat.booking FOR EACH ROW"
        f" WHEN (NEW.resource_id = '{resource}') EXECUTE FUNCTION mistake()"
    )
    try:
        with pytest.raises(StatementError, match="22012") as raised:
            booking.attempt_booking(db.booking_id(), resource, 1)
        assert isinstance(raised.value.__cause__, psycopg.errors.DivisionByZero)
        assert db.quiet()
    finally:
        db.connection.execute("DROP FUNCTION mistake() CASCADE")
    assert booking.attempt_booking(db.booking_id(), resource, 1).outcome == "BOOKED"


@pytest.mark.parametrize("seconds", [0, -1.0, float("nan")])
def test_a_deadline_that_leaves_no_time_is_refused(mechanism, prepared, seconds):
    with pytest.raises(ValueError, match="positive"):
        mechanism(prepared, seconds)


def test_a_malformed_dsn_is_refused_at_once(mechanism):
    with pytest.raises(psycopg.ProgrammingError):
        mechanism("host=localhost nonsense=1", 1.0)
