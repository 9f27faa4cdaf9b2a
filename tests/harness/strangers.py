"""What somebody else on the machine does to ports: scans, guesses, garbage, half-open connections.

Run in a process of its own, as another user where the tests are root: strangers for a right run.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import pytest

UID = 65534
"""A user that owns nothing."""

_LISTENS, _LOOPBACK = "0A", "0100007F"  # in the kernel's words

CODE = r"""
import json, os, select, socket, struct, sys, time

uid, ports, deed, arguments = json.loads(sys.argv[1])
if uid is not None:
    os.setgroups([]); os.setgid(uid); os.setuid(uid)

def packet(code, payload=b""):
    return struct.pack("!ii", len(payload) + 8, code) + payload

def message(kind, payload):
    return kind + struct.pack("!i", len(payload) + 4) + payload

START_UP = packet(196608, b"user\0postgres\0database\0postgres\0\0")
PASSWORD = message(b"p", b"guess\0")
QUERY = message(b"Q", b"SELECT 'got in'\0")
NOISE = [
    b"",
    b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),
    bytes(8),
    b"\xff" * 9000,
    packet(80877103) + b"\x16\x03\x01",
    packet(80877103) * 5000,
    packet(80877102, struct.pack("!ii", 1, 2)),
    packet(0x00020000, bytes(280)),
    START_UP,
    START_UP + QUERY,
    START_UP + PASSWORD + QUERY,
    START_UP + message(b"p", b"\0") + QUERY,
    START_UP + b"p" + struct.pack("!i", 2_000_000_000),
]

def connect(port):
    peer = socket.socket()
    peer.settimeout(5)
    peer.connect(("127.0.0.1", port))
    return peer

def says(port, noise):
    heard = b""
    with connect(port) as peer:
        try:
            peer.sendall(noise)
            peer.shutdown(socket.SHUT_WR)
            while data := peer.recv(65536):
                heard += data
        except OSError:
            pass
    return heard

def talk():
    # Everything a stranger may say, at every port; what it was told.
    return [says(port, noise).decode("latin-1") for port in ports for noise in NOISE]

def cancel(key):
    return [says(port, packet(80877102, bytes.fromhex(key))).decode("latin-1") for port in ports]

def half_open(number):
    # As many connections as that to each port, which say nothing, until standard input ends.
    peers = [connect(port) for _ in range(number) for port in ports]
    print("open", flush=True)
    sys.stdin.read()
    return len(peers)

def hammer():
    # All of it again and again, until standard input ends; how many connections it made.
    made, kept = 0, []
    print("begun", flush=True)
    while not select.select([sys.stdin], [], [], 0)[0]:
        for port in ports:
            for noise in NOISE:
                try:
                    with connect(port) as peer:
                        peer.sendall(noise)
                    kept.append(connect(port))
                except OSError:
                    continue
                made += 2
        for peer in kept[:-100]:
            peer.close()
        del kept[:-100]
        time.sleep(1)
    return made

print(json.dumps(globals()[deed](*arguments)))
"""


def _command(uid: int | None, ports: list[int], deed: str, *arguments: object) -> list[str]:
    told = json.dumps([uid, ports, deed, arguments])
    return [sys.executable, "-I", "-c", CODE, told]


def do(uid: int | None, ports: list[int], deed: str, *arguments: object) -> object:
    """Have this done as that user; None: as we are."""
    done = subprocess.run(
        _command(uid, ports, deed, *arguments),
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        timeout=60,
    )
    return json.loads(done.stdout)


class Beside:
    """A stranger that is at it while the block runs; ``result`` is what it says in the end."""

    def __init__(self, uid: int | None, ports: list[int], deed: str, *arguments: object) -> None:
        self.result: object = None
        self._process = subprocess.Popen(
            _command(uid, ports, deed, *arguments),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        assert self._process.stdout is not None
        assert self._process.stdout.readline()
        return self

    def __exit__(self, *_: object) -> None:
        said, _ = self._process.communicate("\n", timeout=60)
        self.result = json.loads(said)


def listening(pids: set[int]) -> list[int]:
    """The TCP ports on which these processes listen; all of them must be on the loopback."""
    inodes = {inode for pid in pids for inode in _sockets(pid)}
    found = []
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        address, port = fields[1].split(":")
        if fields[3] == _LISTENS and fields[9] in inodes:
            assert address == _LOOPBACK, f"{line} listens to the world"
            found.append(int(port, 16))
    return found


def _sockets(pid: int) -> Iterator[str]:
    """The inodes of a process's sockets; of one that has ended there are none."""
    with contextlib.suppress(OSError):
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                target = str(entry.readlink())
                if target.startswith("socket:["):
                    yield target[8:-1]


EVERY_USER = [UID, None] if os.geteuid() == 0 else [None]
"""As whom strangers come here: another user, where the tests are root, and as we are."""

another_user = pytest.param(
    UID,
    marks=pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another user"),
    id="another user",
)
same_user = pytest.param(None, id="the same user, without the password")
