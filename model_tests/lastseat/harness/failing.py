"""Cases in which the server itself fails: outages one by one, and a soak under all the usual ones.

They run on servers of our own, whatever server the other cases use: nobody's own is to be killed.
"""

from __future__ import annotations

from attrs import evolve

from lastseat.harness.campaign import Convicted
from lastseat.harness.judge.verdict import finding_of
from lastseat.harness.load.outage_trials import server_faults
from lastseat.harness.load.soak import Soak, soak
from lastseat.harness.load.trial import Trial
from lastseat.harness.venue import Found, Venue

ATTEMPTS = 20_000
STRIKES = 12


def outage(name: str, venue: Venue, found: Found) -> None:
    """One outage on its own. Where there is none to be had, or it reaches nobody, that is told."""
    folder = venue.out / "outages"
    (tried,) = server_faults(venue.implementation, folder, names=[name], seed=venue.seed)
    found.applies, found.did = tried.applies, tried.words
    if tried.trial is not None:
        _take(f"outage {name}", tried.trial, found)
    venue.progress()


def soaked(venue: Venue, found: Found) -> None:
    """Free-running clients while the server is killed and restarted again and again."""
    plan = Soak(ATTEMPTS, strikes=STRIKES, seed=venue.seed)
    trial = soak(venue.implementation, plan, venue.out / "soak", lambda _: venue.progress())
    _take("soak", trial, found)
    found.did = f"{trial.emitted:,} attempts, {len(trial.strikes)} outages"


def _take(name: str, trial: Trial, found: Found) -> None:
    """Only facts convict: what clients that run freely have come to cannot be repeated."""
    found.reasons.extend(f"{name}: {reason}" for reason in trial.reasons)
    if trial.seen_once is not None:
        found.seen_once.append(evolve(trial.seen_once, scenario=name))
    if trial.checked is not None:
        found.reasons.extend(f"{name}: {words}" for words in trial.checked.undecided)
    if trial.facts:
        findings = tuple(map(finding_of, trial.facts))
        found.convicted.append(Convicted(findings, (), trial.path, name))
