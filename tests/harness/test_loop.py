"""The loop that serves sockets and pipes."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from lastseat.harness.gate.pipe import Pipe
from lastseat.harness.loop import Loop


@pytest.fixture
def loop() -> Iterator[Loop]:
    with Loop() as opened:
        yield opened


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


class Heard:
    """What a pipe has heard."""

    def __init__(self, sock: socket.socket, loop: Loop) -> None:
        self.data = bytearray()
        self.ended = 0
        self.pipe = Pipe(sock, loop, came=self.data.extend, ended=self._end)

    def _end(self) -> None:
        self.ended += 1
        self.pipe.close()


def test_nothing_to_do_is_told(loop: Loop, pair: tuple[socket.socket, socket.socket]) -> None:
    heard = Heard(pair[0], loop)
    assert not loop.poll(0)
    pair[1].sendall(b"x")
    assert loop.poll(10)
    assert heard.data == b"x"
    assert not loop.poll(0)


def test_a_handler_may_end_the_watch_of_another_file_that_is_ready(
    loop: Loop, pair: tuple[socket.socket, socket.socket]
) -> None:
    """Both are ready in one round; whoever comes first forgets and closes the other."""
    one, two = pair
    served = []

    def serve(mine: socket.socket, other: socket.socket) -> None:
        served.append(mine)
        loop.forget(other)
        other.close()

    one.sendall(b"x")
    two.sendall(b"x")
    loop.watch(one, lambda: serve(one, two))
    loop.watch(two, lambda: serve(two, one))
    assert loop.poll(10)
    assert len(served) == 1


def test_what_a_peer_does_not_take_yet_is_kept_and_the_end_comes_behind_it(
    loop: Loop, pair: tuple[socket.socket, socket.socket]
) -> None:
    heard = Heard(pair[0], loop)
    data = bytes(range(256)) * 20_000
    heard.pipe.send(data)
    heard.pipe.send(b"and more")
    heard.pipe.finish()
    heard.pipe.send(b"too late")
    pair[1].setblocking(False)
    taken = bytearray()
    while True:
        loop.poll(0)
        try:
            part = pair[1].recv(100_000)
        except BlockingIOError:
            continue
        if not part:
            break
        taken += part
    assert taken == data + b"and more"
    pair[1].sendall(b"I still speak")
    assert loop.poll(10)
    assert heard.data == b"I still speak"


def test_last_words_are_heard_although_the_peer_takes_nothing_any_more(
    loop: Loop, pair: tuple[socket.socket, socket.socket]
) -> None:
    heard = Heard(pair[0], loop)
    pair[1].sendall(b"farewell")
    pair[1].close()
    heard.pipe.send(b"are you there?")
    heard.pipe.send(b"hello?")
    while not heard.ended:
        assert loop.poll(10)
    assert heard.data == b"farewell"
    assert heard.ended == 1
