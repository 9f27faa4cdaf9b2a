"""A PostgreSQL implementation of AttemptBooking that a team could use as it is."""
