"""As whom a server runs: postgres and initdb refuse to run as root.

An ordinary user runs them as what it is. Root has three ways, and no file's permissions ever
change for any of them. In none is the server root to anybody: a superuser of the database can run
programs, and what these do is done by the server's user.

namespace   A user id that nobody has, drawn for this server. initdb wants a user with a name, so
            that in a user namespace of its own the server has the id of one.
user        Where the machine does not offer that (many containers do not), another existing
            user, which must be able to reach the programs.
reader      Where no other user can reach them (they are below /root, say), such a user that
            keeps one of root's privileges: to enter every folder and to read every file.
"""

import grp
import os
import pwd
import secrets
import tempfile
from collections.abc import Iterator
from pathlib import Path

from attrs import frozen

from lastseat.harness.mistakes import Mistake
from lastseat.harness.postgres import process

PROBE_SECONDS = 30.0

UNUSED = (range(0x70000000, 0x7FFFFFFF), range(40_000, 60_000))
"""Ids that nobody hands out: the first as systemd's table of them says (docs/UIDS-GIDS.md), the
second in a container that has no others."""


class NoIdentity(Mistake):
    """Root found nobody to run a server as; says what was tried and what to do."""


@frozen
class Identity:
    """As whom the programs run."""

    how: str
    """`self`, or one of the three ways with its numbers: what the keeper understands."""
    owner: tuple[int, int] | None
    """The user and group to whom the server's folder has to belong, None if ours will do."""
    words: str
    """For messages: who that is."""


SELF = Identity("self", None, "the current user")


def choose(folder: Path) -> Identity:
    """As whom to run the programs of a folder; raises NoIdentity with the reasons.

    For root each way is tried on the real program, so that a way which is there but cannot
    reach the program is not chosen.
    """
    if os.geteuid() != 0:
        return SELF
    reasons = []
    for identity in candidates(folder):
        reason = _probe(folder, identity)
        if reason is None:
            return identity
        reasons.append(f"  as {identity.words}: {reason}")
    raise NoIdentity(
        "PostgreSQL refuses to run as root, and no other way to run it works here:\n"
        + "\n".join(reasons)
        + f"\nRun lastseat as an ordinary user; or let another user reach {folder} (a folder "
        "below /root usually is closed to others: put the checkout elsewhere); or allow user "
        "namespaces; or name a running server with --dsn."
    )


def candidates(folder: Path) -> Iterator[Identity]:
    """The ways for root, the one with the least privileges and demands first."""
    users = {entry.pw_name: entry for entry in pwd.getpwall() if entry.pw_uid != 0}
    # initdb looks its own uid up in the password file, so that the inner one must be there.
    named = [users[name] for name in ("nobody", "postgres") if name in users]
    inner = named or list(users.values())[:1]
    if inner:
        entry, outer = inner[0], _unused_id()
        yield Identity(
            f"namespace:{entry.pw_uid}:{entry.pw_gid}:{outer}",
            (outer, outer),
            f"{entry.pw_name} in a user namespace, {outer} outside",
        )
    # Who owns the programs can reach them, unless a folder above them is another's.
    owner = (folder / "postgres").stat().st_uid
    others = list(
        dict.fromkeys([entry for entry in users.values() if entry.pw_uid == owner] + named)
    )
    for way, words in (("user", ""), ("reader", ", which may read all files")):
        for entry in others:
            yield Identity(
                f"{way}:{entry.pw_uid}:{entry.pw_gid}",
                (entry.pw_uid, entry.pw_gid),
                f"user {entry.pw_name}{words}",
            )


def _unused_id() -> int:
    """A number that no user and no group has, as far as this machine can tell."""
    taken = {entry.pw_uid for entry in pwd.getpwall()} | {entry.gr_gid for entry in grp.getgrall()}
    ids = next((ids for ids in UNUSED if _is_mapped(ids)), UNUSED[-1])
    return next(number for number in iter(lambda: secrets.choice(ids), None) if number not in taken)


def _is_mapped(ids: range) -> bool:
    """Whether they exist here: in a container there may be some 65536 only."""
    for kind in ("uid", "gid"):
        lines = Path(f"/proc/self/{kind}_map").read_text().splitlines()
        spans = [(int(first), int(count)) for first, _, count in map(str.split, lines)]
        if not any(first <= ids[0] and ids[-1] < first + count for first, count in spans):
            return False
    return True


def _probe(folder: Path, identity: Identity) -> str | None:
    """Why an identity cannot run the programs, None if it can."""
    with tempfile.TemporaryFile() as log:
        try:
            code = process.run(
                [folder / "postgres", "--version"],
                identity=identity.how,
                log=log,
                seconds=PROBE_SECONDS,
            )
        except TimeoutError as error:
            return str(error)
        log.seek(0)
        told = log.read().decode(errors="replace").strip()
    return None if code == 0 else f"{told or 'no message'} (exit code {code})"
