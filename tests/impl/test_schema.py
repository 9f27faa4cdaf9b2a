"""The database as final arbiter: attacks on it by the application's role, and by its owner."""

import os
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from lastseat.harness.postgres import open_target
from lastseat.impl import schema

errors = psycopg.errors


@pytest.fixture(scope="session")
def app_dsn(prepared):
    """The database as a role that may book and nothing else. One server, one role."""
    role = f"app_{os.getpid()}"
    with psycopg.connect(prepared, autocommit=True) as owner:
        owner.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(role)))
        schema.grant(prepared, role)
        schema.grant(prepared, role)
        yield make_conninfo(prepared, user=role)
        owner.execute(sql.SQL("DROP OWNED BY {0}; DROP ROLE {0}").format(sql.Identifier(role)))


@pytest.fixture
def app(app_dsn):
    with psycopg.connect(app_dsn, autocommit=True) as connection:
        yield connection


@pytest.fixture
def booked(db):
    """A resource of 5 with one booking of 2."""
    resource = db.resource(5)
    return resource, db.book(resource, 2)


def test_the_application_can_book(db, app_dsn, mechanism, booked):
    resource, _ = booked
    own = db.booking_id()
    with mechanism(app_dsn, 20.0) as booking:
        assert booking.attempt_booking(own, resource, 3).outcome == "BOOKED"
        assert booking.attempt_booking(own, resource, 3).outcome == "BOOKED"
        assert booking.attempt_booking(db.booking_id(), resource, 1).outcome == "REJECTED"


DENIED = [
    "UPDATE lastseat.resource SET booked = 0",
    "UPDATE lastseat.resource SET capacity = 1000",
    "UPDATE lastseat.resource SET version = version + 1, booked = booked + 1",
    "UPDATE lastseat.booking SET units = 1",
    "UPDATE lastseat.booking SET booking_id = 'x'",
    "DELETE FROM lastseat.booking",
    "DELETE FROM lastseat.resource",
    "TRUNCATE lastseat.booking",
    "TRUNCATE lastseat.resource CASCADE",
    "INSERT INTO lastseat.resource VALUES ('mine', 1000)",
    (
        "INSERT INTO lastseat.booking VALUES ('{own}', '{resource}', 2)"
        " ON CONFLICT (booking_id) DO UPDATE SET units = 1"
    ),
    "LOCK TABLE lastseat.resource",
    "LOCK TABLE lastseat.booking IN SHARE MODE",
    "ALTER TABLE lastseat.resource DISABLE TRIGGER ALL",
    "ALTER TABLE lastseat.resource DROP CONSTRAINT resource_capacity",
    "DROP TABLE lastseat.booking",
    "CREATE TABLE lastseat.mine ()",
    "CREATE INDEX ON lastseat.booking (units)",
    "SET session_replication_role = replica",
    (
        "CREATE TRIGGER mine BEFORE INSERT ON lastseat.booking FOR EACH ROW"
        " EXECUTE FUNCTION suppress_redundant_updates_trigger()"
    ),
]


@pytest.mark.parametrize("attack", DENIED)
def test_the_application_may_do_nothing_else(db, app, booked, attack):
    resource, own = booked
    with pytest.raises(errors.InsufficientPrivilege), app.transaction():
        app.execute(attack.format(resource=resource, own=own))
    assert db.bookings(resource) == {own: 2}


def test_the_counter_cannot_be_moved_by_borrowing_its_trigger(db, app, booked):
    resource, own = booked
    app.execute("CREATE TEMP TABLE booking (booking_id text, resource_id text, units bigint)")
    with pytest.raises(errors.InsufficientPrivilege):
        app.execute(
            "CREATE TRIGGER mine AFTER INSERT ON booking FOR EACH ROW"
            " EXECUTE FUNCTION lastseat.count_booking()"
        )
    assert db.bookings(resource) == {own: 2}


def test_an_insert_that_comes_to_nothing_does_not_count(db, app, booked):
    resource, own = booked
    insert = "INSERT INTO lastseat.booking VALUES (%s, %s, 2) ON CONFLICT DO NOTHING"
    assert app.execute(insert, (own, resource)).rowcount == 0
    assert db.bookings(resource) == {own: 2}


def test_a_full_resource_still_knows_its_bookings(db, app):
    """The key is checked before the counter: a repetition is not mistaken for a lack of room."""
    resource = db.resource(2)
    own = db.book(resource, 2)
    with pytest.raises(errors.UniqueViolation):
        app.execute("INSERT INTO lastseat.booking VALUES (%s, %s, 2)", (own, resource))


def test_temporary_tables_cannot_stand_in(db, app, booked):
    resource, own = booked
    app.execute("CREATE TEMP TABLE resource (id text, booked bigint, capacity bigint)")
    app.execute("INSERT INTO resource VALUES (%s, 0, 1000000)", (resource,))
    app.execute("SET search_path = pg_temp, lastseat, pg_catalog")
    with pytest.raises(errors.CheckViolation):
        app.execute("INSERT INTO lastseat.booking VALUES (%s, %s, 4)", (db.booking_id(), resource))
    other = db.booking_id()
    app.execute("INSERT INTO lastseat.booking VALUES (%s, %s, 3)", (other, resource))
    assert db.bookings(resource) == {own: 2, other: 3}


def test_an_operator_of_the_attackers_own_does_not_do_the_sum(db, app, booked):
    """Given a schema of its own, it may define what + means, but not for the counter."""
    resource, own = booked
    db.connection.execute(f"CREATE SCHEMA evil AUTHORIZATION {app.info.user}")
    try:
        app.execute(
            "CREATE FUNCTION evil.nothing(bigint, bigint) RETURNS bigint"
            " LANGUAGE sql IMMUTABLE AS $$ SELECT bigint '0' $$"
        )
        app.execute(
            "CREATE OPERATOR evil.+ (LEFTARG = bigint, RIGHTARG = bigint, FUNCTION = evil.nothing)"
        )
        app.execute("SET search_path = evil, pg_catalog")
        assert app.execute("SELECT bigint '1' + bigint '1'").fetchone() == (0,)
        other = db.booking_id()
        app.execute("INSERT INTO lastseat.booking VALUES (%s, %s, 3)", (other, resource))
    finally:
        db.connection.execute("DROP SCHEMA evil CASCADE")
    assert db.bookings(resource) == {own: 2, other: 3}


@pytest.mark.parametrize("units", [0, -1, -(2**63), 2**62, 2**63 - 1, None])
def test_units_are_positive_and_bounded(db, app, booked, units):
    resource, own = booked
    with pytest.raises((errors.CheckViolation, errors.NotNullViolation)) as raised:
        app.execute(
            "INSERT INTO lastseat.booking VALUES (%s, %s, %s)", (db.booking_id(), resource, units)
        )
    assert raised.value.diag.constraint_name != "resource_capacity"
    assert db.bookings(resource) == {own: 2}


def test_the_largest_booking_is_refused_by_capacity_and_not_by_arithmetic(db, app):
    largest = 2**62 - 1
    resource = db.resource(largest)
    db.book(resource, largest)
    with pytest.raises(errors.CheckViolation) as raised:
        app.execute(
            "INSERT INTO lastseat.booking VALUES (%s, %s, %s)", (db.booking_id(), resource, largest)
        )
    assert raised.value.diag.constraint_name == "resource_capacity"


def copy_in(connection, lines):
    columns = "booking_id, resource_id, units"
    with connection.cursor().copy(f"COPY lastseat.booking ({columns}) FROM STDIN") as copy:
        copy.write(lines)


def test_many_rows_at_once_are_all_or_nothing(db, app, booked):
    resource, own = booked
    lines = "".join(f"{db.booking_id()}\t{resource}\t1\n" for _ in range(4))
    with pytest.raises(errors.CheckViolation):
        copy_in(app, lines)
    assert db.bookings(resource) == {own: 2}


def test_a_savepoint_takes_the_count_back_with_the_row(db, app, booked):
    resource, own = booked
    kept = db.booking_id()
    app.execute("BEGIN")
    app.execute("SAVEPOINT s")
    app.execute("INSERT INTO lastseat.booking VALUES (%s, %s, 3)", (db.booking_id(), resource))
    app.execute("ROLLBACK TO s")
    app.execute("INSERT INTO lastseat.booking VALUES (%s, %s, 1)", (kept, resource))
    app.execute("COMMIT")
    assert db.bookings(resource) == {own: 2, kept: 1}


@pytest.mark.parametrize("step", ["- 1", "+ 2", "+ 1000", "* 0 + 9223372036854775807"])
def test_a_version_goes_up_by_one_and_no_other_way(db, app, booked, step):
    resource, _ = booked
    app.execute("UPDATE lastseat.resource SET version = version + 1 WHERE id = %s", (resource,))
    with pytest.raises(errors.RestrictViolation):
        app.execute(
            f"UPDATE lastseat.resource SET version = version {step} WHERE id = '{resource}'"
        )


REFUSED = [
    "UPDATE lastseat.resource SET booked = booked + 1 WHERE id = '{resource}'",
    "UPDATE lastseat.resource SET booked = 0 WHERE id = '{resource}'",
    "UPDATE lastseat.resource SET capacity = capacity + 1 WHERE id = '{resource}'",
    "UPDATE lastseat.resource SET id = 'other' WHERE id = '{resource}'",
    "DELETE FROM lastseat.resource WHERE id = '{resource}'",
    "INSERT INTO lastseat.resource (id, capacity, booked) VALUES ('cheat', 2, 1)",
    "INSERT INTO lastseat.resource (id, capacity, version) VALUES ('cheat', 2, 1)",
    "UPDATE lastseat.booking SET units = 1 WHERE booking_id = '{own}'",
    "DELETE FROM lastseat.booking WHERE booking_id = '{own}'",
    "TRUNCATE lastseat.booking",
    "TRUNCATE lastseat.resource, lastseat.booking",
    (
        "INSERT INTO lastseat.booking VALUES ('{own}', '{resource}', 2)"
        " ON CONFLICT (booking_id) DO UPDATE SET units = 1"
    ),
    (
        "MERGE INTO lastseat.booking USING (SELECT) AS s ON booking_id = '{own}'"
        " WHEN MATCHED THEN DELETE"
    ),
]


@pytest.mark.parametrize("role", ["origin", "replica"])
@pytest.mark.parametrize("attack", REFUSED)
def test_not_even_the_owner_rewrites_facts_by_accident(db, booked, attack, role):
    resource, own = booked
    db.connection.execute(f"SET session_replication_role = {role}")
    with pytest.raises(errors.RestrictViolation, match="lastseat"):
        db.connection.execute(attack.format(resource=resource, own=own))
    assert db.bookings(resource) == {own: 2}


def test_bookings_count_where_triggers_are_switched_off(db, booked):
    resource, own = booked
    db.connection.execute("SET session_replication_role = replica")
    other = db.book(resource, 3)
    assert db.bookings(resource) == {own: 2, other: 3}
    with pytest.raises(errors.CheckViolation):
        db.book(resource, 1)
    with pytest.raises(errors.ForeignKeyViolation):
        db.book("nowhere", 1)


def test_declaring_is_idempotent_and_a_capacity_is_final(db):
    resource = db.resource(5)
    schema.declare(db.dsn, resource, 5)
    with pytest.raises(ValueError, match="capacity 5, not 6"):
        schema.declare(db.dsn, resource, 6)


@pytest.mark.parametrize(
    ("resource", "capacity"), [("negative", -1), ("huge", 2**62), ("", 1), ("x" * 201, 1)]
)
def test_a_resource_that_cannot_be_is_refused(db, resource, capacity):
    with pytest.raises(errors.CheckViolation):
        schema.declare(db.dsn, resource, capacity)
    schema.declare(db.dsn, f"after-{resource[:9]}", 1)


def test_declaring_survives_a_lost_connection(db):
    db.resource(1)
    kept = schema._kept[os.getpid(), db.dsn]
    db.terminate(kept.info.backend_pid)
    resource = db.resource(3)
    assert db.bookings(resource) == {}
    assert kept.closed


def test_declaring_reuses_its_connection_and_releases_it(db):
    db.resource(1)
    kept = schema._kept[os.getpid(), db.dsn]
    db.resource(1)
    assert schema._kept[os.getpid(), db.dsn] is kept
    schema.release()
    assert kept.closed
    assert not schema._kept


def test_a_few_connections_are_kept_and_no_more(server, db):
    with open_target(server=server) as target:
        for _ in range(schema._KEPT_AT_MOST + 2):
            dsn = target.new_database()
            schema.prepare(dsn)
            schema.declare(dsn, "r", 1)
            assert len(schema._kept) <= schema._KEPT_AT_MOST
        schema.release()


def test_several_may_prepare_at_once(server):
    with open_target(server=server) as target, ThreadPoolExecutor(6) as pool:
        dsns = [target.dsn] * 6
        assert list(pool.map(schema.prepare, dsns)) == [None] * 6
        schema.prepare(target.dsn)
        schema.declare(target.dsn, "r", 1)
        schema.release(target.dsn)


def test_a_schema_of_the_same_name_is_left_alone(server):
    with open_target(server=server) as target:
        with psycopg.connect(target.dsn) as owner:
            owner.execute("CREATE SCHEMA lastseat")
        with pytest.raises(schema.SchemaMismatch, match="None"):
            schema.prepare(target.dsn)
