"""What a statement looks at, as far as its text promises. An error to the other side is a blind
spot of the search, so that most of these are statements that must not be believed."""

import pytest

from lastseat.harness.schedule.confined import confined


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT capacity FROM resource WHERE id = $1 FOR NO KEY UPDATE",
        "SELECT capacity FROM resource WHERE id = 'r1'",
        "INSERT INTO booking (booking_id, resource_id, units) VALUES ($1, $2, $3)",
        "UPDATE resource SET booked = booked + $1 WHERE id = $2 AND booked + $3 <= capacity",
        "SELECT r.booked FROM resource r LEFT JOIN booking b ON b.booking_id = $1 WHERE r.id = $2",
        "SELECT (SELECT sum(units) FROM booking WHERE resource_id = $1) FROM resource WHERE id=$1",
        "SELECT s FROM (SELECT sum(units) AS s FROM booking WHERE resource_id = $1) AS t",
        "DELETE FROM booking WHERE booking_id = $1",
        "SELECT 1",
    ],
)
def test_these_look_at_rows_that_they_name(sql: str) -> None:
    assert confined(sql)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT count(*) FROM booking",
        "SELECT sum(units) FROM booking WHERE resource_id <> $1",
        "SELECT sum(units) FROM booking WHERE $1 < resource_id",
        "SELECT capacity, (SELECT sum(units) FROM booking) FROM resource WHERE id = $1",
        "SELECT (SELECT sum(units) FROM booking WHERE resource_id = r.id) FROM resource r",
        "SELECT r.booked FROM booking b JOIN resource r ON r.id = b.resource_id WHERE units = $1",
        "SELECT r.booked FROM booking b, resource r WHERE r.id = b.resource_id AND booking_id = $1",
        "UPDATE resource SET booked = (SELECT sum(units) FROM booking) WHERE id = $1",
        "UPDATE resource SET booked = 0",
        "INSERT INTO booking SELECT $1, $2, $3 FROM resource WHERE id <> $2",
    ],
)
def test_these_may_look_at_any_row(sql: str) -> None:
    assert not confined(sql)
