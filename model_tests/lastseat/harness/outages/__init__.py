"""What can happen to a server and its sessions, for real: each outage by its name.

Nothing here knows what the clients do; `outage` says what an outage is.
"""

from __future__ import annotations

from collections.abc import Mapping

from lastseat.harness.outages.elsewhere import ELSEWHERE, LOSING
from lastseat.harness.outages.outage import Need, Outage, Site, Way
from lastseat.harness.outages.processes import PROCESSES
from lastseat.harness.outages.scarcity import SCARCITY
from lastseat.harness.outages.sessions import SESSIONS

__all__ = ["LOSSES", "OUTAGES", "Need", "Outage", "Site", "Way"]

OUTAGES: Mapping[str, Outage] = {
    outage.name: outage for outage in (*SESSIONS, *PROCESSES, *SCARCITY, *ELSEWHERE)
}
"""Those that an implementation must survive."""

LOSSES: Mapping[str, Outage] = {outage.name: outage for outage in LOSING}
