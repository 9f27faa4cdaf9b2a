"""An embedded PostgreSQL server, and databases that lastseat created itself.

Reads in this order: `binaries` finds a PostgreSQL, `identity` decides as whom it runs (it
refuses root), `keeper` is the small process between us and the server that makes the server
die with us, `folder` is where one server keeps everything it has, `server` starts, crashes and
stops one, and `target` is a database of our own on such a server or on the user's.

Nothing here knows what the databases are used for, and nothing outside starts a server.
"""

from lastseat.harness.postgres.binaries import Binaries, NoPostgres, find, find_all
from lastseat.harness.postgres.server import Server, ServerError, start
from lastseat.harness.postgres.target import (
    COMMITS_WAIT,
    Target,
    TargetError,
    open_target,
    open_where_commits_meet,
)

__all__ = [
    "COMMITS_WAIT",
    "Binaries",
    "NoPostgres",
    "Server",
    "ServerError",
    "Target",
    "TargetError",
    "find",
    "find_all",
    "open_target",
    "open_where_commits_meet",
    "start",
]
