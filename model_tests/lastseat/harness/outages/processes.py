"""Outages of the server's processes: killed, frozen, stopped, or not ready yet."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

from lastseat.harness.outages.outage import Outage, Site, Way, seen, stopped, told, until

_PAUSE = 0.05
_LONG = 0.8
"""Seconds: longer than the deadline of whoever waits."""
_PATIENCE = 5.0


def _kill_backend(site: Site) -> None:
    with site.session() as session:
        until(lambda: site.others(session), _PATIENCE)
        pid = site.rng.choice(site.others(session, active=True) or site.others(session))
    site.own.kill_process(pid)
    site.own.await_ready()
    site.evidence.append(f"server process {pid} was killed, and the server has recovered")


def _restart(how: str) -> Outage:
    def strike(site: Site) -> None:
        before = site.own.pid
        if how == "crash":
            site.own.crash()
        else:
            site.own.stop("fast" if how == "fast" else "immediate")
        site.own.start_again()
        site.evidence.append(f"postmaster {before} has ended, {site.own.pid} was started")

    words = {
        "fast": "the server is shut down fast, and started again",
        "immediate": "the server is shut down immediately, and recovers",
        "crash": "the postmaster is killed by SIGKILL, all its processes end, and it recovers",
    }
    stands_for = {
        "fast": "an upgrade, a changed setting",
        "immediate": "a container that is stopped with no time left",
        "crash": "the kernel's out-of-memory killer",
    }
    return Outage(f"{how}-restart", words[how], stands_for[how], strike, seen, fences=True)


def _freeze(site: Site, pids: list[int], whom: str) -> None:
    """What was received before takes effect late: when they thaw."""
    try:
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
        time.sleep(_LONG)
        count = sum(map(stopped, pids))
    finally:
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
    if count:
        site.evidence.append(f"{count} {whom} stood still for {_LONG:g} s")


def _freeze_backends(site: Site) -> None:
    with site.session() as session:
        until(lambda: site.others(session), _PATIENCE)
        _freeze(site, site.others(session), "server processes")


def _freeze_server(site: Site) -> None:
    _freeze(site, site.own.processes(), "processes, the whole server,")


def _shutting_down(site: Site) -> None:
    """Our own session keeps the server from ending: it lets nobody in meanwhile."""
    with site.session() as session:
        site.own.ask_to_stop()
        end = time.monotonic() + _PATIENCE
        while not site.logged("57P03") and time.monotonic() < end:
            site.end_others(session)
            time.sleep(_PAUSE)
    until(lambda: not site.own.running(), _PATIENCE)
    if site.own.running():
        site.own.stop()
    site.own.start_again()


def _starting_up(site: Site) -> None:
    """The process that recovers is held up: the server says so to whoever comes."""
    for _ in range(_ATTEMPTS):
        site.own.kill_process(_some_backend(site))
        if _hold_recovery(site):
            return
        site.own.await_ready()


_ATTEMPTS = 10
_BRIEF = 1.0


def _some_backend(site: Site) -> int:
    with site.session() as session:
        until(lambda: site.others(session), _PATIENCE)
        return site.rng.choice(site.others(session))


def _hold_recovery(site: Site) -> bool:
    """A recovery that is over before it is seen is missed, and the next one tried."""
    end = time.monotonic() + _BRIEF
    while time.monotonic() < end:
        for pid in site.own.processes():
            if _title(pid).startswith("postgres: startup"):
                os.kill(pid, signal.SIGSTOP)
                try:
                    until(lambda: site.logged("57P03"), _PATIENCE)
                finally:
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGCONT)
                site.own.await_ready()
                return bool(site.logged("57P03"))
    return False


def _title(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except OSError:
        return ""


def _missing_socket(site: Site) -> None:
    own = site.own
    socket = own.socket_directory / f".s.PGSQL.{own.port}"
    aside = socket.with_name("aside")
    with site.session() as session:
        socket.rename(aside)
        try:
            ended = site.end_others(session)
            time.sleep(_LONG)
            inside = len(site.others(session))
        finally:
            aside.rename(socket)
    if ended and not inside:
        site.evidence.append(f"{ended} sessions were ended, and nobody could come back")


PROCESSES = (
    Outage(
        "kill-backend",
        "one server process is killed by SIGKILL: all clients fall, and the server recovers",
        "the kernel's out-of-memory killer",
        _kill_backend,
        seen,
    ),
    _restart("fast"),
    _restart("immediate"),
    _restart("crash"),
    Outage(
        "freeze-backends",
        "the clients' server processes stand still for longer than their deadline (SIGSTOP)",
        "a disk that does not answer, a virtual machine that is moved",
        _freeze_backends,
        seen,
    ),
    Outage(
        "freeze-server",
        "the whole server stands still for longer than the clients' deadline (SIGSTOP)",
        "a host that is suspended: its kernel still takes connections",
        _freeze_server,
        seen,
    ),
    Outage(
        "shutting-down",
        "the server is being shut down and lets nobody in",
        "a restart that waits for somebody",
        _shutting_down,
        told("57P03"),
        fences=True,
    ),
    Outage(
        "starting-up",
        "the server recovers after a crash and lets nobody in yet",
        "a long recovery",
        _starting_up,
        told("57P03"),
    ),
    Outage(
        "missing-socket",
        "the server's Unix socket is gone, and all sessions with it",
        "a cleaner of temporary files",
        _missing_socket,
        seen,
        way=Way.SOCKET,
    ),
)
