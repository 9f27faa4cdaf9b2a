"""Outages that need more than one place: a standby that takes over, a network that is cut."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable

from lastseat.harness.outages.outage import Need, Outage, Site, Way, seen, told, until
from lastseat.harness.postgres import Server
from lastseat.harness.postgres import standby as standbys

_LONG = 0.8
_PATIENCE = 10.0
_READ_ONLY = ("25006", "0A000")
"""What a standby answers to a write, and to BEGIN READ WRITE."""

_UNSENT = 0.3
"""Seconds for which the standby receives nothing before the primary is lost."""


def _lose_primary(site: Site) -> Server:
    """The primary crashes and the standby takes its address; the site's server is the standby."""
    assert site.standby is not None
    lost, site.server, site.standby = site.own, site.standby, None
    lost.crash()
    lost.close()
    standbys.take_over(site.own)
    return site.own


def _promote(*, lagging: bool) -> Callable[[Site], None]:
    def strike(site: Site) -> None:
        assert site.standby is not None
        receivers = standbys.receivers(site.standby) if lagging else []
        for pid in receivers:
            os.kill(pid, signal.SIGSTOP)
        time.sleep(_UNSENT)
        standbys.promote(_lose_primary(site))
        site.log_from = 0
        site.evidence.append("the primary has crashed, and the standby was promoted in its place")
        if lagging:
            site.evidence.append(f"it had received nothing for {_UNSENT:g} s")
        _next_standby(site, synchronous=not lagging)

    return strike


def _next_standby(site: Site, *, synchronous: bool) -> None:
    """So that it can happen again."""
    site.standby = standbys.add_standby(site.own)
    standbys.wait_for_standby(site.own, wait=synchronous)


def _read_only(site: Site) -> None:
    """The standby is at the primary's address before it is promoted."""
    server = _lose_primary(site)
    site.log_from = 0
    until(lambda: site.logged(*_READ_ONLY), _PATIENCE)
    standbys.promote(server)
    _next_standby(site, synchronous=True)


def _half_open(site: Site) -> None:
    """The network goes down between clients and server, which do not learn of it."""
    _network(site, "down")
    try:
        time.sleep(_LONG)
        with site.session() as session:  # by the socket, which needs no network
            believed = len(site.others(session))
    finally:
        _network(site, "up")
    if believed:
        site.evidence.append(
            f"nothing passed for {_LONG:g} s, and the server still believed in {believed} sessions"
        )


def _network(site: Site, state: str) -> None:
    inside = ["nsenter", f"--net=/proc/{site.own.pid}/ns/net"]
    subprocess.run([*inside, "ip", "link", "set", "lo", state], check=True, capture_output=True)


def programs_for_networks() -> bool:
    """Are there those that enter a network and take it down, and may we use them?"""
    return os.geteuid() == 0 and all(map(shutil.which, ("nsenter", "ip")))


_PAIR = frozenset({Need.SERVER, Need.STANDBY})

ELSEWHERE = (
    Outage(
        "read-only-standby",
        "the primary is lost, and its address leads to a standby that was not promoted yet",
        "a fail-over, half way through",
        _read_only,
        told(*_READ_ONLY),
        _PAIR,
        synchronous=True,
    ),
    Outage(
        "promote-synchronous",
        "the primary is lost, and a standby is promoted that confirmed every commit",
        "a fail-over as it should be",
        _promote(lagging=False),
        seen,
        _PAIR,
        synchronous=True,
    ),
    Outage(
        "half-open",
        "the network between clients and server is cut, and nobody is told",
        "a cable, a firewall that forgets its connections",
        _half_open,
        seen,
        frozenset({Need.SERVER, Need.NETWORK}),
        way=Way.NETWORK,
    ),
)

LOSING = (
    Outage(
        "promote-asynchronous",
        "the primary is lost, and a standby is promoted that was behind",
        "a fail-over without synchronous replication: confirmed bookings are lost",
        _promote(lagging=True),
        seen,
        _PAIR,
        synchronous=False,
    ),
)
"""What no implementation survives: it shows that a soak convicts whatever loses bookings."""
