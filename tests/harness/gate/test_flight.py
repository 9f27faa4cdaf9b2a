"""What is sent for a turn, when it is answered, and what the client is shown."""

from __future__ import annotations

from tests.harness.gate.scene import FLUSH, SYNC, bind, describe, execute, extended, parse, query

from lastseat.harness.gate.flight import Flight
from lastseat.harness.gate.messages import Message, cut, error, message
from lastseat.harness.gate.turns import Cutter, Turn

COMPLETE = message("C", b"INSERT 0 1\0")
IDLE, IN_TRANSACTION, FAILED = (message("Z", status) for status in (b"I", b"T", b"E"))
CONFLICT = error("ERROR", "40001", "could not serialize")
WARNING = message("N", b"SWARNING\0\0")


def turn(*stream: bytes) -> Turn:
    cutter = Cutter()
    (found,) = [t for m in cut(bytearray(b"".join(stream))) if (t := cutter.feed(m))]
    return found


def feed(flight: Flight, *said: bytes) -> None:
    for part in cut(bytearray(b"".join(said))):
        flight.feed(part)


def shown(flight: Flight) -> bytes:
    return b"".join(part.raw for part in flight.take_shown())


def client_says(data: bytes) -> Message:
    (found,) = cut(bytearray(data))
    return found


def test_ready_for_query_ends_the_answer() -> None:
    flight = Flight(turn(query("INSERT")))
    assert flight.next_request() == query("INSERT")
    feed(flight, WARNING, COMPLETE)
    assert not flight.done
    feed(flight, IDLE)
    assert flight.done
    assert shown(flight) == WARNING + COMPLETE + IDLE
    assert shown(flight) == b""
    answer = flight.answer()
    assert (answer.tags, answer.error, answer.status) == (("INSERT 0 1",), None, "I")


def test_after_flush_the_last_expected_message_ends_it() -> None:
    flight = Flight(turn(parse("INSERT"), bind(), describe(), execute(), FLUSH))
    flight.next_request()
    for said in (b"1", b"2", b"n"):
        feed(flight, message(said.decode()))
        assert not flight.done
    feed(flight, COMPLETE)
    assert flight.done
    assert flight.answer().status is None


def test_rows_and_copied_data_are_not_taken_for_descriptions() -> None:
    flight = Flight(turn(describe(), execute(), FLUSH))
    flight.next_request()
    feed(flight, message("d", b"x"), message("D", b"\0\0"), message("c"))
    assert not flight.done
    feed(flight, message("T", b"\0\0"), message("C", b"COPY 1\0"))
    assert flight.done


def test_flush_alone_is_answered_at_once() -> None:
    assert not Flight(turn(FLUSH)).done  # it is still to be sent
    flight = Flight(turn(FLUSH))
    flight.next_request()
    assert flight.done


def test_an_error_ends_the_answer_to_flush_but_not_to_sync() -> None:
    flushed, synced = Flight(turn(extended("X") + FLUSH)), Flight(turn(extended("X") + SYNC))
    for flight in (flushed, synced):
        flight.next_request()
        feed(flight, CONFLICT)
    assert flushed.done
    assert flushed.failed_until_sync
    assert not synced.done
    assert not synced.failed_until_sync


def test_a_fatal_error_is_no_answer() -> None:
    flight = Flight(turn(extended("X") + FLUSH))
    flight.next_request()
    feed(flight, error("FATAL", "57P01", "terminated"))
    assert not flight.done
    assert shown(flight) != b""


def test_of_a_batch_that_has_failed_only_its_sync_is_sent() -> None:
    flight = Flight(turn(extended("X") + FLUSH), skipped=True)
    assert flight.next_request() == b""
    assert flight.done
    flight = Flight(turn(extended("X") + SYNC), skipped=True)
    assert flight.next_request() == SYNC
    assert not flight.done
    feed(flight, FAILED)
    assert flight.done
    assert (flight.answer().tags, flight.answer().status) == ((), "E")


def test_a_substitute_shows_its_first_error_and_the_last_status() -> None:
    flight = Flight(turn(query("COMMIT")), instead=["DO", "ROLLBACK"])
    assert flight.next_request() == query("DO")
    feed(flight, WARNING, CONFLICT)
    assert not flight.answered
    feed(flight, FAILED)
    assert flight.answered
    assert not flight.done
    assert flight.next_request() == query("ROLLBACK")
    feed(flight, WARNING, message("C", b"ROLLBACK\0"), IDLE)
    assert flight.done
    assert shown(flight) == CONFLICT + IDLE
    answer = flight.answer()
    assert answer.error is not None
    assert (answer.tags, answer.error.sqlstate, answer.status) == ((), "40001", "I")


def test_a_substitute_for_flush_leaves_ready_for_query_to_the_sync_that_follows() -> None:
    flight = Flight(turn(extended("COMMIT") + FLUSH), instead=["DO"])
    flight.next_request()
    feed(flight, CONFLICT)
    assert not flight.done  # the server's own ReadyForQuery must not be left over
    feed(flight, IN_TRANSACTION)
    assert flight.done
    assert flight.failed_until_sync
    assert shown(flight) == CONFLICT
    assert flight.answer().status is None


def test_between_two_substitutes_the_client_is_shown_no_status() -> None:
    flight = Flight(turn(query("COMMIT")), instead=["DO", "ROLLBACK"])
    flight.next_request()
    feed(flight, CONFLICT, FAILED)
    flight.next_request()
    assert shown(flight) == CONFLICT


def test_rows_of_a_copy_belong_to_its_turn() -> None:
    flight = Flight(turn(extended("COPY") + SYNC))
    flight.next_request()
    row, over = client_says(message("d", b"x")), client_says(message("c"))
    sync, flush = client_says(SYNC), client_says(FLUSH)
    assert not any(map(flight.takes, (row, sync, flush, over)))
    feed(flight, message("G", b"\0\0\0"))
    assert all(map(flight.takes, (row, sync, flush, row, over)))
    assert flight.takes(sync)  # the turn's own, sent again
    assert not flight.takes(sync)  # the next turn's
    assert not flight.takes(client_says(query("SELECT 1")))


def test_behind_the_rows_of_a_simple_copy_a_new_turn_begins() -> None:
    flight = Flight(turn(query("COPY")))
    flight.next_request()
    feed(flight, message("G", b"\0\0\0"))
    assert flight.takes(client_says(message("f", b"enough\0")))
    assert not flight.takes(client_says(SYNC))
