"""What goes over the wire: five turns, nothing more, nothing later."""

import pytest

TURNS = {
    "optimistic": ["BEGIN", "SELECT", "UPDATE", "INSERT", "COMMIT"],
    "locking": ["BEGIN", "SELECT", "SELECT", "INSERT", "COMMIT"],
}
LOOKS = {
    "optimistic": ["BEGIN", "SELECT", "ROLLBACK"],
    "locking": ["BEGIN", "SELECT", "SELECT", "ROLLBACK"],
}


def test_a_booking_takes_five_turns_the_tenth_time_too(request, db, wire, wired, mechanism):
    resource = db.resource(20)
    for _ in range(10):
        assert wired.attempt_booking(db.booking_id(), resource, 1).outcome == "BOOKED"
    assert wire.turns == TURNS[mechanism.__name__] * 10
    assert wire.connections == 1


@pytest.mark.parametrize("kind", ["rejection", "repetition", "inconsistency"])
def test_an_attempt_that_has_nothing_to_write_writes_nothing(db, wire, wired, mechanism, kind):
    resource, own = db.resource(2), db.booking_id()
    if kind == "rejection":
        assert wired.attempt_booking(own, resource, 3).outcome == "REJECTED"
    elif kind == "repetition":
        db.book(resource, 1, own)
        assert wired.attempt_booking(own, resource, 1).outcome == "BOOKED"
    else:
        db.book(resource, 1, own)
        with pytest.raises(ValueError, match=own):
            wired.attempt_booking(own, resource, 2)
    assert wire.turns == LOOKS[mechanism.__name__]
    assert db.quiet()


def test_an_unknown_resource_costs_a_look_and_leaves_no_transaction(db, wire, wired):
    with pytest.raises(ValueError, match="nowhere"):
        wired.attempt_booking(db.booking_id(), "nowhere", 1)
    assert wire.turns == ["BEGIN", "SELECT", "ROLLBACK"]


def test_a_connection_opens_lazily_and_closes_when_asked(db, wire, wired):
    assert wire.connections == 0
    resource = db.resource(2)
    wired.attempt_booking(db.booking_id(), resource, 1)
    wired.close()
    wired.close()
    assert wired.attempt_booking(db.booking_id(), resource, 1).outcome == "BOOKED"
    assert wire.connections == 2
