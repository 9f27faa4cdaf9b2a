-- The database is the final arbiter: whatever a client does, for every resource
--
--     booked = sum(units of its bookings)  and  0 <= booked <= capacity
--
-- Bookings are facts: they are inserted, never changed, never taken back. The counter moves only
-- when a booking is inserted, in the same transaction, and its CHECK decides. All names are
-- qualified, and functions pin their search_path: no temporary table can stand in for these.

CREATE SCHEMA lastseat;

CREATE TABLE lastseat.resource (
    id       text COLLATE "C" CONSTRAINT resource_pkey PRIMARY KEY
             CONSTRAINT resource_id_length CHECK (length(id) BETWEEN 1 AND 200),
    -- Less than 2^62, like units: their sum then fits a bigint, so that what does not fit the
    -- resource always fails the CHECK below and never the arithmetic.
    capacity bigint NOT NULL
             CONSTRAINT resource_capacity_range CHECK (capacity BETWEEN 0 AND 4611686018427387903),
    booked   bigint NOT NULL DEFAULT 0,
    version  bigint NOT NULL DEFAULT 0,
    CONSTRAINT resource_capacity CHECK (booked BETWEEN 0 AND capacity)
);

CREATE TABLE lastseat.booking (
    booking_id  text COLLATE "C" CONSTRAINT booking_pkey PRIMARY KEY
                CONSTRAINT booking_id_length CHECK (length(booking_id) BETWEEN 1 AND 200),
    resource_id text COLLATE "C" NOT NULL
                CONSTRAINT booking_resource REFERENCES lastseat.resource (id),
    units       bigint NOT NULL
                CONSTRAINT booking_units CHECK (units BETWEEN 1 AND 4611686018427387903)
);

CREATE INDEX booking_by_resource ON lastseat.booking (resource_id);

-- AFTER, not BEFORE: an insert that ON CONFLICT turns into nothing must not count.
CREATE FUNCTION lastseat.count_booking() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    UPDATE lastseat.resource SET booked = booked + NEW.units WHERE id = NEW.resource_id;
    IF NOT FOUND THEN  -- foreign keys sleep while session_replication_role is replica
        RAISE foreign_key_violation USING MESSAGE = format('no resource %L', NEW.resource_id);
    END IF;
    RETURN NULL;
END
$$;

CREATE FUNCTION lastseat.refuse() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE restrict_violation
        USING MESSAGE = format('%s of %I.%I: %s', TG_OP, TG_TABLE_SCHEMA, TG_TABLE_NAME, TG_ARGV[0]);
END
$$;

-- Whoever could attach count_booking() to a table of his own could move any counter.
REVOKE ALL ON FUNCTION lastseat.count_booking(), lastseat.refuse() FROM PUBLIC;

CREATE TRIGGER count_booking AFTER INSERT ON lastseat.booking
    FOR EACH ROW EXECUTE FUNCTION lastseat.count_booking();

CREATE TRIGGER facts_stay BEFORE UPDATE OR DELETE ON lastseat.booking
    FOR EACH ROW EXECUTE FUNCTION lastseat.refuse('a booking is never changed or taken back');
CREATE TRIGGER facts_stay_all BEFORE TRUNCATE ON lastseat.booking
    FOR EACH STATEMENT EXECUTE FUNCTION lastseat.refuse('a booking is never taken back');

CREATE TRIGGER start_at_zero BEFORE INSERT ON lastseat.resource
    FOR EACH ROW WHEN (NEW.booked <> 0 OR NEW.version <> 0)
    EXECUTE FUNCTION lastseat.refuse('a resource starts with nothing booked');
-- The depth is 0 for a statement of a client, more for the one in count_booking().
CREATE TRIGGER only_bookings_count BEFORE UPDATE ON lastseat.resource
    FOR EACH ROW WHEN (
        NEW.id <> OLD.id
        OR NEW.capacity <> OLD.capacity
        OR NEW.booked <> OLD.booked AND pg_catalog.pg_trigger_depth() = 0
        OR NEW.version NOT IN (OLD.version, OLD.version + 1))
    EXECUTE FUNCTION lastseat.refuse(
        'booked moves by bookings only, version by one, id and capacity never');
CREATE TRIGGER resources_stay BEFORE DELETE ON lastseat.resource
    FOR EACH ROW EXECUTE FUNCTION lastseat.refuse('a resource is never taken away');
CREATE TRIGGER resources_stay_all BEFORE TRUNCATE ON lastseat.resource
    FOR EACH STATEMENT EXECUTE FUNCTION lastseat.refuse('a resource is never taken away');

-- ALWAYS: also in sessions that switch triggers off by session_replication_role.
ALTER TABLE lastseat.booking
    ENABLE ALWAYS TRIGGER count_booking,
    ENABLE ALWAYS TRIGGER facts_stay,
    ENABLE ALWAYS TRIGGER facts_stay_all;
ALTER TABLE lastseat.resource
    ENABLE ALWAYS TRIGGER start_at_zero,
    ENABLE ALWAYS TRIGGER only_bookings_count,
    ENABLE ALWAYS TRIGGER resources_stay,
    ENABLE ALWAYS TRIGGER resources_stay_all;
