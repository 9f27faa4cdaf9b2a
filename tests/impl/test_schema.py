"""The database as final arbiter: attacks on it by the application's role, and by its owner."""

import os
import time
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo
from tests.impl.wire import before

from lastseat.harness.postgres import open_target
from lastseat.impl import schema

errors = psycopg.errors


def test_the_application_can_book(db, app_dsn, mechanism, booked):
    resource, _ = booked
    own = db.booking_id()
    with mechanism(app_dsn, 20.0) as booking:
        assert booking.attempt_booking(own, resource, 3).outcome == "BOOKED"
        assert booking.attempt_booking(own, resource, 3).outcome == "BOOKED"
        assert booking.attempt_booking(db.booking_id(), resource, 1).outcome == "REJECTED"


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


def test_a_schema_that_a_stranger_has_put_there_is_refused(server):
    """With CREATE on the database, a role could forge a schema, its comment and its triggers."""
    with open_target(server=server) as target, psycopg.connect(target.dsn) as owner:
        role = sql.Identifier(f"stranger_{os.getpid()}")
        owner.execute(sql.SQL("CREATE ROLE {}").format(role))
        owner.execute(sql.SQL("CREATE SCHEMA lastseat AUTHORIZATION {}").format(role))
        comment = sql.SQL("COMMENT ON SCHEMA lastseat IS {}").format(schema.SCHEMA_VERSION)
        owner.execute(comment)
        owner.commit()
        try:
            with pytest.raises(schema.SchemaMismatch, match="belongs to stranger"):
                schema.prepare(target.dsn)
            schema.prepare(target.dsn, owner=f"stranger_{os.getpid()}")
        finally:
            owner.execute(sql.SQL("DROP OWNED BY {0} CASCADE; DROP ROLE {0}").format(role))


def test_a_table_in_it_that_belongs_to_a_stranger_is_refused(server):
    with open_target(server=server) as target, psycopg.connect(target.dsn) as owner:
        role = sql.Identifier(f"stranger_{os.getpid()}")
        schema.prepare(target.dsn)
        owner.execute(sql.SQL("CREATE ROLE {}").format(role))
        owner.execute(sql.SQL("ALTER TABLE lastseat.booking OWNER TO {}").format(role))
        owner.commit()
        with pytest.raises(schema.SchemaMismatch, match="something in it, belongs to stranger"):
            schema.prepare(target.dsn)
        owner.execute(sql.SQL("DROP OWNED BY {0} CASCADE; DROP ROLE {0}").format(role))


def test_preparing_calls_no_function_of_a_strangers(server):
    """obj_description(oid, text) would suit a literal better than the server's (oid, name)."""
    with open_target(server=server) as target, psycopg.connect(target.dsn) as owner:
        for name, types, returns in (
            ("obj_description", "oid, text", "text"),
            ("pg_advisory_xact_lock", "int", "void"),
            ("length", "text", "int"),
        ):
            owner.execute(
                f"CREATE FUNCTION public.{name}({types}) RETURNS {returns} LANGUAGE plpgsql AS"
                " $$ BEGIN RAISE 'a stranger was called'; END $$"
            )
        name = sql.Identifier(owner.info.dbname)
        path = sql.SQL("ALTER DATABASE {} SET search_path = public, pg_catalog").format(name)
        owner.execute(path)
        owner.commit()
        schema.prepare(target.dsn)
        schema.prepare(target.dsn)
        schema.declare(target.dsn, "r", 1)
        schema.release(target.dsn)


def test_preparing_does_not_wait_for_ever(server, monkeypatch):
    """Any role may take the advisory lock and keep it."""
    monkeypatch.setattr(schema, "_LOCK_SECONDS", 0.2)
    with open_target(server=server) as target, psycopg.connect(target.dsn) as holder:
        holder.execute("SELECT pg_advisory_lock(%s)", (schema._CREATION,))
        with pytest.raises(errors.LockNotAvailable):
            schema.prepare(target.dsn)
    schema.release()


@pytest.fixture
def default(db, app):
    """Changes a default of the application's role, as it may itself; takes it back in the end."""
    known = {name for (name,) in app.execute("SELECT name FROM pg_settings")}

    def change(setting, value):
        if setting in known:  # transaction_timeout is new in PostgreSQL 17
            app.execute(f"ALTER ROLE current_user SET {setting} = {value}")

    yield change
    db.connection.execute(f"ALTER ROLE {app.info.user} RESET ALL")


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("default_transaction_read_only", "on"),
        ("default_transaction_isolation", "serializable"),
        ("search_path", "pg_temp, public"),
    ],
)
def test_what_a_role_sets_for_itself_breaks_no_attempt(
    db, app_dsn, mechanism, default, setting, value
):
    default(setting, value)
    resource = db.resource(3)
    with mechanism(app_dsn, 20.0) as booking:
        answers = [booking.attempt_booking(db.booking_id(), resource, 1) for _ in range(4)]
    assert [str(answer.outcome) for answer in answers] == ["BOOKED"] * 3 + ["REJECTED"]


TOO_SHORT = 0.1  # seconds


@pytest.mark.parametrize(
    "setting",
    [
        "statement_timeout",
        "lock_timeout",
        "idle_in_transaction_session_timeout",
        "transaction_timeout",
    ],
)
def test_no_time_out_of_a_roles_ends_an_attempt_before_its_deadline(
    db, wire, app, mechanism, thread, default, setting
):
    """It waits longer than that for a lock, and then once more before it commits."""
    resource = db.resource(1)
    default(setting, f"'{TOO_SHORT}s'")
    wire.at("COMMIT", before(lambda _: time.sleep(2 * TOO_SHORT)))
    dsn = make_conninfo(wire.dsn, user=app.info.user)
    with mechanism(dsn, 20.0) as booking, psycopg.connect(db.dsn) as holder:
        holder.execute("SELECT FROM lastseat.resource WHERE id = %s FOR UPDATE", (resource,))
        future = thread.submit(booking.attempt_booking, db.booking_id(), resource, 1)
        db.eventually(lambda: db.waiters() == 1)
        time.sleep(2 * TOO_SHORT)
        holder.rollback()
        assert future.result().outcome == "BOOKED"


def test_granting_takes_away_what_was_granted_before(db, app, app_dsn):
    role = app.info.user
    before = (
        "ALL ON ALL TABLES IN SCHEMA lastseat",
        "UPDATE (booked) ON lastseat.resource",
        "EXECUTE ON ALL FUNCTIONS IN SCHEMA lastseat",
        "ALL ON SCHEMA lastseat",
    )
    for privilege in before:
        db.connection.execute(f"GRANT {privilege} TO {role} WITH GRANT OPTION")
    schema.grant(db.dsn, role)
    app.execute("CREATE TEMP TABLE borrowed (booking_id text, resource_id text, units bigint)")
    for attack in (
        (
            "CREATE TRIGGER mine AFTER INSERT ON borrowed FOR EACH ROW"
            " EXECUTE FUNCTION lastseat.count_booking()"
        ),
        "CREATE TABLE lastseat.mine ()",
        "UPDATE lastseat.resource SET booked = 0",
        "DELETE FROM lastseat.booking",
    ):
        with pytest.raises(errors.InsufficientPrivilege):
            app.execute(attack)


@pytest.mark.parametrize(
    ("way", "back", "found"),
    [
        ("GRANT DELETE ON {booking} TO PUBLIC", "REVOKE DELETE ON {booking} FROM PUBLIC", "DELETE"),
        ("GRANT {owner} TO {role}", "REVOKE {owner} FROM {role}", "ownership of booking as"),
        (
            "ALTER ROLE {role} NOINHERIT; GRANT {owner} TO {role}",
            "REVOKE {owner} FROM {role}; ALTER ROLE {role} INHERIT",
            "EXECUTE on count_booking as",
        ),
        (
            "ALTER ROLE {role} NOINHERIT; GRANT pg_write_all_data TO {role}",
            "REVOKE pg_write_all_data FROM {role}; ALTER ROLE {role} INHERIT",
            "DELETE on booking as pg_write_all_data",
        ),
        ("ALTER ROLE {role} SUPERUSER", "ALTER ROLE {role} NOSUPERUSER", "TRUNCATE on booking"),
        (
            "GRANT UPDATE (booked) ON lastseat.resource TO PUBLIC",
            "REVOKE UPDATE (booked) ON lastseat.resource FROM PUBLIC",
            "UPDATE on resource.booked",
        ),
    ],
)
def test_what_granting_cannot_take_away_is_told(db, app, way, back, found):
    owner, role = db.connection.info.user, app.info.user
    words = {"booking": "lastseat.booking", "owner": owner, "role": role}
    db.connection.execute(way.format(**words))
    try:
        with pytest.raises(schema.PrivilegesRemain, match=found):
            schema.grant(db.dsn, role)
    finally:
        db.connection.execute(back.format(**words))
    schema.grant(db.dsn, role)


def test_an_owner_is_no_role_for_an_application(server):
    """What is taken from an owner it can give itself again."""
    with open_target(server=server) as target:
        schema.prepare(target.dsn)
        with psycopg.connect(target.dsn) as owner:
            name = owner.info.user
        with pytest.raises(schema.PrivilegesRemain, match="ownership of schema lastseat"):
            schema.grant(target.dsn, name)


@pytest.mark.parametrize("options", ["INHERIT FALSE, SET TRUE", "ADMIN TRUE, SET FALSE"])
def test_a_membership_counts_whatever_its_options(db, app, options):
    """They are new in PostgreSQL 16."""
    if db.connection.info.server_version < 160_000:
        options = "ADMIN OPTION"
    role, owner = app.info.user, db.connection.info.user
    db.connection.execute(f"GRANT {owner} TO {role} WITH {options}")
    try:
        with pytest.raises(schema.PrivilegesRemain, match=f"as {owner}"):
            schema.grant(db.dsn, role)
    finally:
        db.connection.execute(f"REVOKE {owner} FROM {role}")


def test_maintaining_a_table_is_more_than_an_attempt_needs(db, app):
    if db.connection.info.server_version < 170_000:
        pytest.skip("MAINTAIN is new in PostgreSQL 17")
    db.connection.execute("GRANT MAINTAIN ON lastseat.booking TO PUBLIC")
    try:
        with pytest.raises(schema.PrivilegesRemain, match="MAINTAIN on booking"):
            schema.grant(db.dsn, app.info.user)
    finally:
        db.connection.execute("REVOKE MAINTAIN ON lastseat.booking FROM PUBLIC")
