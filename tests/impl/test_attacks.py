"""The application's role against the schema: statements one by one, and many at once.

Whatever it does, no booking is altered or lost, no capacity exceeded, and no counter disagrees.
"""

import random
import threading
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

errors = psycopg.errors

DENIED = [
    # What is booked, and what counts it.
    "UPDATE lastseat.resource SET booked = 0",
    "UPDATE lastseat.resource SET booked = booked - 1 WHERE id = '{resource}'",
    "UPDATE lastseat.resource SET capacity = 1000",
    "UPDATE lastseat.resource SET id = 'other' WHERE id = '{resource}'",
    "UPDATE lastseat.resource SET version = version + 1, booked = booked + 1",
    "UPDATE lastseat.resource SET (version, capacity) = (version + 1, 1000)",
    "UPDATE ONLY lastseat.resource SET booked = DEFAULT",
    "UPDATE lastseat.booking SET units = 1",
    "UPDATE lastseat.booking SET booking_id = 'x'",
    "UPDATE lastseat.booking SET resource_id = 'x'",
    "DELETE FROM lastseat.booking",
    "DELETE FROM lastseat.booking USING lastseat.resource WHERE id = resource_id",
    "DELETE FROM lastseat.resource",
    "WITH gone AS (DELETE FROM lastseat.booking RETURNING *) SELECT count(*) FROM gone",
    "TRUNCATE lastseat.booking",
    "TRUNCATE lastseat.resource CASCADE",
    "TRUNCATE lastseat.resource, lastseat.booking RESTART IDENTITY",
    "INSERT INTO lastseat.resource VALUES ('mine', 1000)",
    "INSERT INTO lastseat.resource (id, capacity, booked) VALUES ('mine', 9, -9)",
    "COPY lastseat.resource FROM STDIN",
    (
        "INSERT INTO lastseat.booking VALUES ('{own}', '{resource}', 2)"
        " ON CONFLICT (booking_id) DO UPDATE SET units = 1"
    ),
    (
        "MERGE INTO lastseat.booking USING (SELECT) AS s ON booking_id = '{own}'"
        " WHEN MATCHED THEN DELETE"
    ),
    (
        "MERGE INTO lastseat.resource USING (SELECT) AS s ON id = '{resource}'"
        " WHEN MATCHED THEN UPDATE SET booked = 0"
    ),
    # Locks that keep everybody out.
    "BEGIN; LOCK TABLE lastseat.resource",
    "BEGIN; LOCK TABLE lastseat.booking IN SHARE MODE",
    "BEGIN; LOCK TABLE lastseat.booking IN EXCLUSIVE MODE",
    "SELECT * FROM lastseat.booking FOR UPDATE",
    "SELECT * FROM lastseat.booking FOR KEY SHARE",
    # What the tables are made of.
    "ALTER TABLE lastseat.resource DISABLE TRIGGER ALL",
    "ALTER TABLE lastseat.booking DISABLE TRIGGER count_booking",
    "ALTER TABLE lastseat.booking ENABLE REPLICA TRIGGER count_booking",
    "ALTER TABLE lastseat.resource DROP CONSTRAINT resource_capacity",
    "ALTER TABLE lastseat.booking DROP CONSTRAINT booking_pkey",
    "ALTER TABLE lastseat.booking ADD COLUMN note text",
    "ALTER TABLE lastseat.booking ALTER units TYPE numeric",
    "ALTER TABLE lastseat.booking ALTER units SET DEFAULT 1",
    "ALTER TABLE lastseat.booking RENAME TO bookings",
    "ALTER TABLE lastseat.booking SET SCHEMA pg_temp",
    "ALTER TABLE lastseat.booking OWNER TO current_user",
    "ALTER TABLE lastseat.booking ENABLE ROW LEVEL SECURITY",
    "ALTER TABLE lastseat.booking SET UNLOGGED",
    "ALTER TABLE lastseat.booking INHERIT lastseat.resource",
    "DROP TABLE lastseat.booking",
    "DROP TRIGGER count_booking ON lastseat.booking",
    "DROP FUNCTION lastseat.count_booking() CASCADE",
    "DROP SCHEMA lastseat CASCADE",
    "DROP INDEX lastseat.booking_by_resource",
    "ALTER FUNCTION lastseat.count_booking() RESET search_path",
    "ALTER FUNCTION lastseat.count_booking() SECURITY INVOKER",
    "ALTER SCHEMA lastseat RENAME TO gone",
    "COMMENT ON SCHEMA lastseat IS 'another version'",
    "CREATE TABLE lastseat.mine ()",
    "CREATE FUNCTION lastseat.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE INDEX ON lastseat.booking (units)",
    "CREATE TABLE pg_temp.part () INHERITS (lastseat.booking)",
    "CREATE RULE mine AS ON INSERT TO lastseat.booking DO INSTEAD NOTHING",
    "CREATE POLICY mine ON lastseat.booking USING (false)",
    (
        "CREATE TRIGGER mine BEFORE INSERT ON lastseat.booking FOR EACH ROW"
        " EXECUTE FUNCTION suppress_redundant_updates_trigger()"
    ),
    "CREATE STATISTICS lastseat.mine ON booking_id, units FROM lastseat.booking",
    "CREATE PUBLICATION mine FOR TABLE lastseat.booking",
    # More rights than it has.
    "SET session_replication_role = replica",
    "SET ROLE pg_write_all_data",
    "GRANT pg_write_all_data TO current_user",
    "REASSIGN OWNED BY {owner} TO current_user",
    "ALTER ROLE current_user SUPERUSER",
    "ALTER ROLE current_user BYPASSRLS",
    "ALTER SYSTEM SET fsync = off",
    "CREATE EXTENSION file_fdw",
    "SELECT pg_read_file('postgresql.conf')",
    "SELECT lo_import('postgresql.conf')",
    "COPY lastseat.booking TO PROGRAM 'cat'",
    "COPY lastseat.booking TO '/dev/null'",
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{owner}'",
]
"""Refused for want of the privilege, before anything happens."""

ALLOWED = [
    "SELECT * FROM lastseat.resource WHERE id = '{resource}' FOR UPDATE",
    "UPDATE lastseat.resource SET version = version + 1 WHERE id = '{resource}'",
    "UPDATE lastseat.resource SET version = version WHERE id = '{resource}'",
    "INSERT INTO lastseat.booking VALUES ('{own}', '{resource}', 2) ON CONFLICT DO NOTHING",
    "INSERT INTO lastseat.booking SELECT 'b', 'r', 1 WHERE false",
    "GRANT UPDATE (booked) ON lastseat.resource TO current_user",  # only warned, grants nothing
    "ALTER DEFAULT PRIVILEGES IN SCHEMA lastseat GRANT ALL ON TABLES TO current_user",
    "SET CONSTRAINTS ALL IMMEDIATE",
    "SET search_path = pg_temp, public, pg_catalog",
    "SET row_security = off",
    "CREATE TEMP TABLE booking (booking_id text, resource_id text, units bigint)",
]
"""Its right, and none of it moves a counter or a booking."""


@pytest.mark.parametrize("attack", DENIED)
def test_what_an_attempt_does_not_need_is_denied(db, app, booked, attack):
    resource, own = booked
    words = {"resource": resource, "own": own, "owner": db.connection.info.user}
    with pytest.raises((errors.InsufficientPrivilege, errors.ObjectNotInPrerequisiteState)):
        app.execute(attack.format(**words))
    assert db.bookings(resource) == {own: 2}


@pytest.mark.parametrize("statement", ALLOWED)
def test_what_it_may_do_changes_no_booking(db, app, booked, statement):
    resource, own = booked
    try:
        app.execute(statement.format(resource=resource, own=own))
    except errors.InsufficientPrivilege:
        pytest.fail("the application may do this, or the list is wrong")
    other = db.book(resource, 3)
    assert db.bookings(resource) == {own: 2, other: 3}


def test_there_are_as_many_attacks_as_are_claimed():
    assert len(set(DENIED)) >= 60


OPERATIONS = [
    "INSERT INTO lastseat.booking VALUES ('{b}', '{r}', {n})",
    "INSERT INTO lastseat.booking VALUES ('{b}', '{r}', {n}) ON CONFLICT DO NOTHING",
    "INSERT INTO lastseat.booking VALUES ('{b}', '{r}', {n}), ('{b}-2', '{s}', 1)",
    "INSERT INTO lastseat.booking SELECT '{b}-' || i, '{r}', 1 FROM generate_series(1, {n}) AS i",
    "UPDATE lastseat.resource SET version = version + 1 WHERE id = '{r}'",
    "UPDATE lastseat.resource SET booked = booked - {n} WHERE id = '{r}'",
    "DELETE FROM lastseat.booking WHERE resource_id = '{r}'",
    "SELECT * FROM lastseat.resource WHERE id = '{r}' FOR NO KEY UPDATE",
    (
        "BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT sum(units) FROM lastseat.booking;"
        " INSERT INTO lastseat.booking VALUES ('{b}', '{r}', {n}); COMMIT"
    ),
    (
        "BEGIN; SAVEPOINT s; INSERT INTO lastseat.booking VALUES ('{b}', '{r}', {n});"
        " ROLLBACK TO s; INSERT INTO lastseat.booking VALUES ('{b}', '{s}', 1); COMMIT"
    ),
    "BEGIN; INSERT INTO lastseat.booking VALUES ('{b}', '{r}', {n}); ROLLBACK",
    "BEGIN ISOLATION LEVEL REPEATABLE READ; INSERT INTO lastseat.booking VALUES ('{b}', '{s}', 1)",
]

FUZZING = 150
"""Operations of each client."""


@pytest.mark.parametrize("seed", [1, 2])
def test_clients_at_random_while_their_sessions_are_terminated(db, app_dsn, seed):
    capacity, over = 40, threading.Event()
    resources = [db.resource(capacity) for _ in range(3)]
    with ThreadPoolExecutor(9) as pool:
        terminated = pool.submit(_terminate, db.dsn, app_dsn, seed, over)
        try:
            done = sum(pool.map(lambda n: _client(app_dsn, f"{seed}/{n}", resources), range(8)))
        finally:
            over.set()
        assert terminated.result() > 0
    assert done > 0
    booked = [sum(db.bookings(resource).values()) for resource in resources]
    assert any(booked)
    assert max(booked) <= capacity


def _client(dsn, seed, resources):
    """How many operations succeeded."""
    draw, done, connection = random.Random(seed), 0, psycopg.connect(dsn, autocommit=True)
    for step in range(FUZZING):
        statement = draw.choice(OPERATIONS).format(
            b=f"{seed[0]}-{draw.randrange(60)}" if step % 3 else f"{seed}-{step}",
            r=draw.choice(resources),
            s=draw.choice(resources),
            n=draw.randint(1, 4),
        )
        try:
            connection.execute(statement)
            done += 1
            if draw.random() < 0.7:
                connection.execute("ROLLBACK")  # of what a statement has left open
        except psycopg.Error:
            connection.close()
            connection = psycopg.connect(dsn, autocommit=True)
    connection.close()
    return done


def _terminate(owner_dsn, app_dsn, seed, over):
    """Terminate one busy session after another, and hold the counter against the rows; how many."""
    draw, terminated = random.Random(seed), 0
    role = psycopg.conninfo.conninfo_to_dict(app_dsn)["user"]
    with psycopg.connect(owner_dsn, autocommit=True) as owner:
        while not over.wait(0.02):
            busy = owner.execute(
                "SELECT pid FROM pg_stat_activity WHERE usename = %s AND state <> 'idle'", (role,)
            ).fetchall()
            if busy:
                owner.execute("SELECT pg_terminate_backend(%s)", draw.choice(busy))
                terminated += 1
            differing = owner.execute(
                "SELECT id FROM lastseat.resource WHERE booked > capacity OR booked <> ("
                "SELECT coalesce(sum(units), 0) FROM lastseat.booking WHERE resource_id = id)"
            ).fetchall()
            assert not differing
    return terminated
