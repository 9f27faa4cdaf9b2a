"""Django's PostgreSQL backend, which also tells how a COMMIT ended."""

from django.db.backends.postgresql import base


class NotCommitted(Exception):
    """The server answered COMMIT with ROLLBACK; psycopg's commit() keeps that to itself."""


class DatabaseWrapper(base.DatabaseWrapper):
    committing = False
    """Was a COMMIT sent, and has no answer to it come back?"""

    def _commit(self):
        if self.connection is None:
            return
        self.committing = True
        with self.wrap_database_errors:
            answer = self.connection.execute("COMMIT").statusmessage
        self.committing = False
        if answer != "COMMIT":
            raise NotCommitted(f"COMMIT was answered {answer}")
