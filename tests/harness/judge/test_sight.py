"""What the model is told of what the gate saw: exchanges, commits, and what reached an attempt."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from attrs import Factory, define
from tests.harness.gate.scene import FLUSH, SYNC, extended, query

from lastseat.harness.gate.events import (
    Answered,
    Arrived,
    Broken,
    HungUp,
    Ignored,
    Opened,
    Refused,
    Sent,
    Undelivered,
    Withheld,
)
from lastseat.harness.gate.messages import ServerError, cut
from lastseat.harness.gate.turns import Answer, Cutter, Turn
from lastseat.harness.judge.sight import Sight
from lastseat.spec import visibility
from lastseat.spec.events import CommitSent, Phase, Seen, What
from lastseat.spec.visibility import Does, Exchange
from lastseat.spec.vocabulary import (
    BOOKED,
    IN_DOUBT,
    INFRASTRUCTURE,
    REJECTED,
)
from lastseat.spec.vocabulary import (
    CONFLICT as OVERTAKEN,
)
from lastseat.spec.vocabulary import Answer as Told

CONFLICT = ServerError("ERROR", "40001", "could not serialize")
TERMINATED = ServerError("FATAL", "57P01", "terminating connection")
KNOWN = frozenset({"as", "now", "pg_advisory_unlock", "pg_advisory_unlock_all"})


@define
class Watch:
    """Alice's connections as the gate reports them, and what Sight has told so far."""

    wrote: bool | None = True
    told: list[Seen | CommitSent] = Factory(list)
    sight: Sight = None  # type: ignore[assignment]
    now: int = 0
    _cutters: dict[int, Cutter] = Factory(dict)

    def __attrs_post_init__(self) -> None:
        self.sight = Sight(self._tick, lambda pid: self.wrote, KNOWN)

    def _tick(self) -> int:
        self.now += 1
        return self.now

    def turn(self, said: bytes | str, connection: int = 1) -> Turn:
        data = query(said) if isinstance(said, str) else said
        cutter = self._cutters.setdefault(connection, Cutter())
        (found,) = [t for m in cut(bytearray(data)) if (t := cutter.feed(m))]
        return found

    def begin(self, attempt: str = "a1") -> None:
        self.told += self.sight.invoked("alice", attempt)

    def end(self) -> None:
        self.sight.emitted("alice")

    def sent(self, said: bytes | str, connection: int = 1) -> Turn:
        """A turn passes, and is not answered yet."""
        turn = self.turn(said, connection)
        self.see(Sent("alice", connection, turn))
        return turn

    def said(
        self,
        said: bytes | str,
        *tags: str,
        status: str | None = "T",
        error: ServerError | None = None,
        delivered: bool = True,
        connection: int = 1,
    ) -> None:
        """A turn passes, and is answered."""
        turn = self.sent(said, connection)
        self.see(Answered("alice", connection, turn, Answer(tags, error, status), delivered))

    def undelivered(self, said: bytes | str, by: str = "gate", connection: int = 1) -> None:
        self.see(Undelivered("alice", connection, self.turn(said, connection), by))

    def withheld(self, said: bytes | str, connection: int = 1) -> Turn:
        turn = self.turn(said, connection)
        self.see(Withheld("alice", connection, turn))
        return turn

    def hung_up(self, connection: int = 1) -> None:
        self.see(HungUp("alice", connection))

    def broken(
        self,
        by: str = "gate",
        turn: Turn | None = None,
        error: ServerError | None = None,
        connection: int = 1,
    ) -> None:
        self.see(Broken("alice", connection, 4711, by, turn, error))

    def see(self, event: object) -> None:
        self.told += self.sight.see(event)  # type: ignore[arg-type]

    def book(self) -> None:
        """A booking up to its COMMIT."""
        self.said("BEGIN", "BEGIN")
        self.said("SELECT 1 FROM seat", "SELECT 1")
        self.said("UPDATE seat SET taken = 1", "UPDATE 1")

    @property
    def seen(self) -> list[tuple[What, str | None, Phase | None]]:
        return [(e.what, e.sqlstate, e.phase) for e in self.told if isinstance(e, Seen)]

    @property
    def commits(self) -> list[str]:
        return [e.attempt for e in self.told if isinstance(e, CommitSent)]

    def __getitem__(self, text: str) -> Exchange:
        """The last exchange whose text begins so."""
        return [e for e in self.sight.exchanges if e.text.startswith(text)][-1]


@pytest.fixture
def watch() -> Watch:
    made = Watch()
    made.begin()
    return made


def does(exchanges: Iterable[Exchange]) -> list[Does]:
    return [exchange.does for exchange in exchanges]


# Exchanges and commits.


def test_a_booking(watch: Watch) -> None:
    watch.book()
    assert watch.commits == []
    watch.said("COMMIT", "COMMIT", status="I")
    assert watch.commits == ["a1"]
    assert watch.seen == []
    exchanges = watch.sight.exchanges
    assert does(exchanges) == [Does.OTHER, Does.READ, Does.WRITE, Does.COMMIT]
    assert len({exchange.transaction for exchange in exchanges}) == 1
    assert {exchange.attempt for exchange in exchanges} == {"a1"}
    assert (watch["UPDATE"].changed, watch["UPDATE"].guarded) == (1, True)
    assert (watch["COMMIT"].commits, watch["COMMIT"].applied) == (True, True)
    times = [time for e in exchanges for time in (e.sent_at, e.answered_at)]
    assert times == sorted(times)


def test_before_any_attempt_nothing_is_anybody_s() -> None:
    watch = Watch()
    watch.said("UPDATE seat SET taken = 1", "UPDATE 1", status="I")
    assert watch.sight.exchanges == []
    assert watch.told == []


def test_after_the_answer_a_turn_belongs_to_the_last_attempt(watch: Watch) -> None:
    watch.said("SELECT 1 FROM seat", "SELECT 1", status="I")
    watch.end()
    watch.said("UPDATE seat SET taken = 1", "UPDATE 1", status="I")
    assert watch["UPDATE"].attempt == "a1"
    watch.begin("a2")
    watch.said("SELECT 2 FROM seat", "SELECT 1", status="I")
    assert watch["SELECT 2"].attempt == "a2"


def test_the_commit_of_a_transaction_that_only_read_is_none(watch: Watch) -> None:
    watch.said("BEGIN", "BEGIN")
    watch.said("SELECT 1 FROM seat", "SELECT 1")
    watch.said("COMMIT", "COMMIT", status="I")
    assert watch.commits == []


def test_nor_is_that_of_a_write_that_changed_nothing_or_failed(watch: Watch) -> None:
    watch.said("BEGIN", "BEGIN")
    watch.said("UPDATE seat SET taken = 1", "UPDATE 0")
    watch.said("INSERT INTO x VALUES (1)", status="E", error=CONFLICT)
    watch.said("COMMIT", "ROLLBACK", status="I")
    assert watch.commits == []
    assert watch["UPDATE"].changed == 0
    assert watch["INSERT"].sqlstate == "40001"
    assert watch["COMMIT"].swallowed
    assert watch["COMMIT"].applied is False


def test_an_autocommit_write_is_its_own_commit(watch: Watch) -> None:
    watch.said("INSERT INTO x VALUES (1)", "INSERT 0 1", status="I")
    watch.said("INSERT INTO y VALUES (1)", status="I", error=CONFLICT)
    assert watch.commits == ["a1", "a1"]
    first, second = watch.sight.exchanges
    assert (first.commits, first.applied) == (True, True)
    assert (second.commits, second.applied) == (True, False)
    assert first.transaction != second.transaction
    assert watch.sight.commit_refused == {"a1"}


def test_an_upsert_that_inserts_nothing_is_no_guard_that_failed(watch: Watch) -> None:
    watch.said("INSERT INTO x VALUES (1) ON CONFLICT DO NOTHING", "INSERT 0 0", status="I")
    assert not watch["INSERT"].guarded


def test_a_function_is_a_write_unless_the_server_knows_better() -> None:
    for wrote, expected in ((True, Does.WRITE), (False, Does.READ)):
        watch = Watch(wrote=wrote)
        watch.see(Opened("alice", 1, 4711))
        watch.begin()
        watch.said("BEGIN", "BEGIN")
        watch.said("SELECT attempt(1)", "SELECT 1")
        assert watch["SELECT"].does is expected
        watch.said(extended("SELECT again(1)") + FLUSH, "SELECT 1", status=None)
        assert watch["SELECT again"].does is expected
        watch.said("COMMIT", "COMMIT", status="I")
        assert watch.commits == (["a1"] if wrote else [])


def test_a_function_of_which_nobody_can_tell_any_more_whether_it_wrote() -> None:
    """Its connection was lost right behind its answer; only its client knows what that said."""
    watch = Watch(wrote=None)
    watch.see(Opened("alice", 1, 4711))
    watch.begin()
    watch.said("BEGIN", "BEGIN")
    watch.said("SELECT attempt(1)", "SELECT 1")
    watch.broken()
    watch.undelivered("COMMIT")
    assert watch["SELECT"].does is Does.WRITE
    assert watch.commits == ["a1"]
    assert {phase for _, _, phase in watch.seen} == {Phase.CLEANUP}
    assert told(watch, a1=IN_DOUBT) == told(watch, a1=REJECTED) == set()
    assert told(watch, a1=BOOKED) == {visibility.Rule.NOTHING_BEFORE_THE_COMMIT}


def test_a_function_that_is_declared_not_to_write_reads() -> None:
    watch = Watch()
    watch.sight = Sight(watch._tick, lambda pid: True, KNOWN, frozenset({"find"}))
    watch.begin()
    watch.said("SELECT find(1)", "SELECT 1", status="I")
    watch.said("SELECT attempt(1)", "SELECT 1", status="I")
    assert does(watch.sight.exchanges) == [Does.READ, Does.WRITE]
    assert watch.commits == ["a1"]


def test_what_prepare_kept_tells_what_execute_does(watch: Watch) -> None:
    watch.said("PREPARE own (text) AS SELECT 1 FROM seat WHERE id = $1", "PREPARE", status="I")
    watch.said("PREPARE book AS INSERT INTO x VALUES ($1)", "PREPARE", status="I")
    watch.said("EXECUTE own ('1')", "SELECT 1", status="I")
    assert does(watch.sight.exchanges) == [Does.OTHER, Does.OTHER, Does.READ]
    assert watch.commits == []
    watch.said("EXECUTE book ('1')", "INSERT 0 1", status="I")
    assert watch["EXECUTE book"].does is Does.WRITE
    assert watch.commits == ["a1"]


@pytest.mark.parametrize(
    ("error", "status"),
    [(CONFLICT, "I"), (CONFLICT, "E"), (None, "I")],
    ids=["an error", "an error in a batch", "skipped for an earlier error"],
)
def test_a_commit_that_the_server_refused(
    watch: Watch, error: ServerError | None, status: str
) -> None:
    watch.book()
    watch.said("COMMIT", error=error, status=status)
    assert watch["COMMIT"].applied is False
    assert watch.sight.commit_refused == {"a1"}


def test_a_commit_whose_answer_was_lost_is_undecided(watch: Watch) -> None:
    watch.book()
    watch.said("COMMIT", "COMMIT", status="I", delivered=False)
    watch.broken()
    assert watch.commits == ["a1"]
    assert watch["COMMIT"].answered_at is None


# Batches.


def test_a_pipeline_in_one_turn(watch: Watch) -> None:
    watch.said(
        extended("BEGIN")
        + extended("UPDATE seat SET taken = 1")
        + extended("COMMIT")
        + SYNC,
        "BEGIN", "UPDATE 1", "COMMIT",
        status="I",
    )  # fmt: skip
    assert watch.commits == ["a1"]
    assert len({exchange.transaction for exchange in watch.sight.exchanges}) == 1
    assert watch["COMMIT"].applied is True


def test_behind_an_error_a_pipeline_is_not_executed(watch: Watch) -> None:
    watch.said(
        extended("BEGIN")
        + extended("UPDATE seat SET taken = 1")
        + extended("INSERT INTO x VALUES (1)")
        + extended("COMMIT")
        + SYNC,
        "BEGIN", "UPDATE 1",
        status="E",
        error=CONFLICT,
    )  # fmt: skip
    assert [exchange.sqlstate for exchange in watch.sight.exchanges] == [
        None, None, "40001", "40001",
    ]  # fmt: skip
    assert not watch["INSERT"].wrote
    assert watch["COMMIT"].applied is False
    assert watch.seen == [(What.ERROR, "40001", Phase.COMMIT)]


def test_what_stands_behind_a_commit_does_not_undo_it(watch: Watch) -> None:
    watch.book()
    watch.said("COMMIT; SELECT 1 / 0 FROM x", "COMMIT", status="I", error=CONFLICT)
    assert watch["COMMIT"].applied is True


@pytest.mark.parametrize(
    "said",
    [
        "UPDATE seat SET taken = 1; INSERT INTO x VALUES (1)",
        extended("UPDATE seat SET taken = 1") + extended("INSERT INTO x VALUES (1)") + SYNC,
    ],
)
def test_writes_of_a_batch_are_one_transaction(watch: Watch, said: bytes | str) -> None:
    watch.said(said, "UPDATE 1", "INSERT 0 1", status="I")
    assert watch["UPDATE"].transaction == watch["INSERT"].transaction
    assert watch["UPDATE"].applied is True
    watch.said("INSERT INTO y VALUES (1)", "INSERT 0 1", status="I")
    assert watch["INSERT INTO y"].transaction != watch["UPDATE"].transaction


def test_writes_of_a_batch_fail_together(watch: Watch) -> None:
    watch.said(
        "UPDATE seat SET taken = 1; INSERT INTO x VALUES (1)",
        "UPDATE 1",
        status="I",
        error=CONFLICT,
    )
    assert watch["UPDATE"].applied is False


def test_after_flush_a_commit_is_decided_by_the_ready_for_query_that_follows(watch: Watch) -> None:
    watch.book()
    watch.said(extended("COMMIT") + FLUSH, "COMMIT", status=None)
    assert (watch["COMMIT"].applied, watch["COMMIT"].answered_at) == (None, None)
    watch.said(SYNC, status="I")
    assert watch["COMMIT"].applied is True
    assert watch["COMMIT"].answered_at is not None


def test_and_is_undecided_where_that_is_lost(watch: Watch) -> None:
    watch.book()
    watch.said(extended("COMMIT") + FLUSH, "COMMIT", status=None)
    watch.said(SYNC, status="I", delivered=False)
    assert watch["COMMIT"].answered_at is None


def test_after_an_error_at_flush_the_commit_is_refused(watch: Watch) -> None:
    watch.book()
    watch.said(extended("COMMIT") + FLUSH, status=None, error=CONFLICT)
    watch.said(SYNC, status="I")
    assert watch["COMMIT"].applied is False
    assert watch["COMMIT"].sqlstate == "40001"
    assert watch.seen == [(What.ERROR, "40001", Phase.COMMIT)]


def test_what_a_failed_batch_skips_was_not_written(watch: Watch) -> None:
    watch.said("BEGIN", "BEGIN")
    watch.said(extended("UPDATE seat SET taken = 1") + FLUSH, status=None, error=CONFLICT)
    watch.said(extended("INSERT INTO x VALUES (1)") + SYNC, status="E")
    assert watch["INSERT"].sqlstate == "40001"
    watch.said("ROLLBACK", "ROLLBACK", status="I")
    watch.said(extended("SELECT 1 FROM x") + SYNC, "SELECT 1", status="I")
    assert watch["SELECT"].sqlstate is None


# What reaches an attempt, and in which phase of its life.


@pytest.mark.parametrize(
    ("before", "met", "phase"),
    [
        ([], "BEGIN", Phase.CONNECT),
        ([], "SELECT 1", Phase.CONNECT),
        (["BEGIN"], "SELECT 1 FROM seat", Phase.STATEMENT),
        (["BEGIN", "SELECT 1 FROM seat"], "UPDATE seat SET taken = 1", Phase.STATEMENT),
        (["BEGIN", "UPDATE seat SET taken = 1"], "COMMIT", Phase.COMMIT),
        (["BEGIN", "SELECT 1 FROM seat"], "COMMIT", Phase.CLEANUP),
        (["BEGIN", "SELECT 1 FROM seat"], "ROLLBACK", Phase.CLEANUP),
        ([], "INSERT INTO x VALUES (1)", Phase.COMMIT),
    ],
)
def test_the_phase_is_that_of_the_turn_that_it_meets(
    before: list[str], met: str, phase: Phase
) -> None:
    for fault in ("error", "lost request", "lost answer", "gives up", "terminated"):
        watch = Watch()
        watch.begin()
        for statement in before:
            watch.said(statement, statement.split()[0] + " 1")
        match fault:
            case "error":
                watch.said(met, status="E", error=CONFLICT)
                expected = (What.ERROR, "40001", phase)
            case "lost request":
                watch.undelivered(met)
                watch.broken()
                expected = (What.LOST, None, phase)
            case "lost answer":
                watch.said(met, delivered=False)
                watch.broken()
                expected = (What.LOST, None, phase)
            case "gives up":
                watch.undelivered(met, by="client")
                watch.broken(by="client")
                expected = (What.DEADLINE, None, phase)
            case _:
                watch.broken(by="server", turn=watch.sent(met), error=TERMINATED)
                expected = (What.LOST, "57P01", phase)
        assert watch.seen == [expected], fault
        lost = expected[0] is What.LOST and phase is not Phase.CONNECT
        assert ("a1" in watch.sight.lost_at) == lost, fault


RESET = "SELECT pg_advisory_unlock_all(); CLOSE ALL; RESET ALL"


@pytest.mark.parametrize(
    ("end", "then", "phase"),
    [
        ("COMMIT", RESET, Phase.CLEANUP),
        ("COMMIT", "SELECT 1 FROM seat", Phase.CLEANUP),
        ("COMMIT", "INSERT INTO x VALUES (1)", Phase.COMMIT),
        ("ROLLBACK", RESET, Phase.CLEANUP),
        ("ROLLBACK", "SELECT 1 FROM seat", Phase.STATEMENT),
    ],
)
def test_what_a_pool_says_between_a_transaction_s_end_and_the_answer_decides_nothing(
    watch: Watch, end: str, then: str, phase: Phase
) -> None:
    watch.book()
    watch.said(end, end, status="I")
    watch.said(then, status="I", error=CONFLICT)
    assert watch.seen == [(What.ERROR, "40001", phase)]


def test_a_loss_after_a_confirmed_commit_decides_nothing(watch: Watch) -> None:
    watch.book()
    watch.said("COMMIT", "COMMIT", status="I")
    watch.broken(by="server", error=TERMINATED)
    assert watch.seen == [(What.LOST, "57P01", Phase.CLEANUP)]


def test_a_client_gives_up_on_a_turn_in_flight(watch: Watch) -> None:
    watch.book()
    turn = watch.sent("COMMIT")
    watch.broken(by="client", turn=turn)
    assert watch.seen == [(What.DEADLINE, None, Phase.COMMIT)]
    assert watch["COMMIT"].answered_at is None


def test_a_client_that_closes_a_connection_at_rest_has_seen_nothing(watch: Watch) -> None:
    watch.said("SELECT 1 FROM seat", "SELECT 1", status="I")
    watch.see(HungUp("alice", 1))
    watch.broken(by="client")
    assert watch.seen == []


def test_a_refusal_is_told_with_its_code(watch: Watch) -> None:
    full = ServerError("FATAL", "53300", "too many clients")
    watch.see(Refused("alice", 1, "FATAL 53300: too many clients", full))
    watch.see(Refused("alice", 2, "connection refused"))
    assert watch.seen == [
        (What.REFUSED, "53300", Phase.CONNECT),
        (What.REFUSED, None, Phase.CONNECT),
    ]


def test_a_commit_answered_by_rollback_is_an_error_without_a_code(watch: Watch) -> None:
    watch.book()
    watch.said("INSERT INTO x VALUES (1)", status="E", error=CONFLICT)
    watch.said("COMMIT", "ROLLBACK", status="I")
    assert watch.seen[-1] == (What.ERROR, None, Phase.COMMIT)


def test_but_not_where_the_transaction_had_written_nothing(watch: Watch) -> None:
    watch.said("BEGIN", "BEGIN")
    watch.said("SELECT 1 FROM seat FOR UPDATE", "SELECT 1")
    watch.said("COMMIT", "ROLLBACK", status="I")
    assert watch.seen == [(What.ERROR, None, Phase.CLEANUP)]


def test_what_was_lost_did_not_reach_it(watch: Watch) -> None:
    watch.said("SELECT 1 FROM seat", status="E", error=CONFLICT, delivered=False)
    assert watch.seen == []


def test_a_commit_said_on_a_connection_that_is_gone_was_sent(watch: Watch) -> None:
    """The client had not noticed yet; its transaction is the one that it speaks of."""
    watch.book()
    watch.broken()
    watch.undelivered("COMMIT")
    assert watch.commits == ["a1"]
    assert watch["COMMIT"].transaction == watch["UPDATE"].transaction
    assert watch["COMMIT"].applied is None


def test_to_end_what_was_prepared_on_another_connection_is_clean_up(watch: Watch) -> None:
    """An error there answers that, and not the second phase that was sent before."""
    watch.begin()
    watch.book()
    watch.said("PREPARE TRANSACTION 'p'", "PREPARE TRANSACTION", status="I")
    watch.said("COMMIT PREPARED 'p'", "COMMIT PREPARED", status="I", delivered=False)
    gone = ServerError("ERROR", "42704", "prepared transaction does not exist")
    watch.said("ROLLBACK PREPARED 'p'", status="I", error=gone, connection=2)
    assert watch.commits == ["a1"]
    assert watch.seen == [(What.ERROR, "42704", Phase.CLEANUP)]


def test_a_second_phase_on_another_connection_commits(watch: Watch) -> None:
    watch.begin()
    watch.book()
    watch.said("PREPARE TRANSACTION 'p'", "PREPARE TRANSACTION", status="I")
    refused = ServerError("ERROR", "53200", "out of memory")
    watch.said("COMMIT PREPARED 'p'", status="I", error=refused, connection=2)
    assert watch.commits == ["a1"]
    assert watch.seen == [(What.ERROR, "53200", Phase.COMMIT)]


def test_on_another_connection_it_is_another_transaction(watch: Watch) -> None:
    watch.book()
    watch.broken()
    watch.said("COMMIT", "COMMIT", status="I", connection=2)
    assert watch.commits == []
    assert watch["COMMIT"].transaction != watch["UPDATE"].transaction


def test_a_loss_at_rest_reaches_the_next_attempt_as_a_matter_of_connecting(watch: Watch) -> None:
    watch.book()
    watch.said("COMMIT", "COMMIT", status="I")
    watch.end()
    watch.broken(by="server", error=TERMINATED)
    assert watch.seen == []
    watch.begin("a2")
    assert set(watch.seen) == {(What.LOST, None, Phase.CONNECT)}
    watch.undelivered("BEGIN", by="server")
    watch.see(HungUp("alice", 1))
    assert set(watch.seen) == {(What.LOST, None, Phase.CONNECT)}
    # It may be replaced, which is no retry.
    assert watch.sight.lost_at == {}


def test_a_loss_before_the_first_statement_of_a_later_attempt(watch: Watch) -> None:
    watch.book()
    watch.said("COMMIT", "COMMIT", status="I")
    watch.end()
    watch.begin("a2")
    watch.broken(by="server", error=TERMINATED)
    assert watch.seen == [(What.LOST, "57P01", Phase.CONNECT)]


# At rest.


def test_a_transaction_left_open_is_found(watch: Watch) -> None:
    watch.see(Opened("alice", 1, 4711))
    watch.book()
    assert list(watch.sight.at_rest()) == []  # its attempt still runs
    watch.end()
    assert list(watch.sight.at_rest()) == [("a1", 4711)]
    watch.broken(by="server")
    assert list(watch.sight.at_rest()) == []


def test_a_transaction_that_was_ended_is_not(watch: Watch) -> None:
    watch.book()
    watch.said("ROLLBACK", "ROLLBACK", status="I")
    watch.end()
    assert list(watch.sight.at_rest()) == []


# What is stuck, cut, or lost while nobody waits.


def test_a_commit_that_is_stuck_counts_as_sent_when_it_was_said(watch: Watch) -> None:
    watch.book()
    turn = watch.withheld("COMMIT")
    assert watch.commits == ["a1"]
    watch.hung_up()
    assert watch.seen == [(What.DEADLINE, None, Phase.COMMIT)]
    watch.end()
    watch.begin("a2")
    watch.see(Sent("alice", 1, turn))
    watch.see(Answered("alice", 1, turn, Answer(("COMMIT",), None, "I"), delivered=False))
    watch.broken("client")
    # It arrives when its attempt is over: it is that attempt's, it is no second commit, and it does
    # not concern the next one.
    assert watch.commits == ["a1"]
    assert [e.attempt for e in watch.told if isinstance(e, Seen)] == ["a1"]
    assert [e.text for e in watch.sight.exchanges].count("COMMIT") == 1
    assert (watch["COMMIT"].applied, watch["COMMIT"].answered_at) == (True, None)


def test_a_commit_that_was_stuck_and_is_lost_for_good(watch: Watch) -> None:
    watch.book()
    turn = watch.withheld("COMMIT")
    watch.hung_up()
    watch.end()
    watch.begin("a2")
    watch.see(Undelivered("alice", 1, turn, "client"))
    watch.broken("client")
    assert watch.commits == ["a1"]
    assert [e.attempt for e in watch.told if isinstance(e, Seen)] == ["a1"]
    assert watch["COMMIT"].applied is None


@pytest.mark.parametrize("stuck", ["request", "answer", "connecting"])
def test_who_fails_without_hanging_up_has_given_up_waiting(watch: Watch, stuck: str) -> None:
    """Some close the connection after they have answered: the evidence came before."""
    watch.said("SELECT 1 FROM seat", "SELECT 1")
    if stuck == "request":
        watch.withheld("UPDATE seat SET taken = 1")
    elif stuck == "answer":
        watch.said("UPDATE seat SET taken = 1", "UPDATE 1", delivered=False)
    else:
        watch.see(Ignored("alice", 2))
    watch.told += watch.sight.gave_up("alice")
    phase = Phase.CONNECT if stuck == "connecting" else Phase.STATEMENT
    assert watch.seen == [(What.DEADLINE, None, phase)]
    watch.hung_up(2 if stuck == "connecting" else 1)
    assert len(watch.seen) == 1, "it gives up once"


def test_who_waits_for_nothing_has_not_given_up(watch: Watch) -> None:
    watch.book()
    watch.told += watch.sight.gave_up("alice")
    watch.hung_up()
    assert watch.seen == []


def test_an_answer_that_is_lost_is_a_loss_and_no_deadline(watch: Watch) -> None:
    watch.book()
    watch.said("COMMIT", "COMMIT", status="I", delivered=False)
    watch.broken("gate")
    watch.hung_up()
    assert watch.seen == [(What.LOST, None, Phase.COMMIT)]


def test_of_an_answer_that_was_cut_the_error_was_read(watch: Watch) -> None:
    turn = watch.sent("SELECT 1 FROM seat")
    answer = Answer((), CONFLICT, "E")
    watch.see(Answered("alice", 1, turn, answer, delivered=False, told=True))
    watch.broken("gate")
    assert watch.seen == [
        (What.ERROR, "40001", Phase.STATEMENT),
        (What.LOST, None, Phase.STATEMENT),
    ]


def test_an_error_that_was_read_is_no_definite_answer_to_a_commit(watch: Watch) -> None:
    """Without ReadyForQuery nobody knows whether the session goes on."""
    watch.book()
    turn = watch.sent("COMMIT")
    answer = Answer((), CONFLICT, "I")
    watch.see(Answered("alice", 1, turn, answer, delivered=False, told=True))
    watch.broken("gate")
    assert watch.seen == [(What.LOST, None, Phase.COMMIT)]


def test_a_loss_behind_the_answer_need_not_be_noticed(watch: Watch) -> None:
    watch.book()
    watch.said("COMMIT", "COMMIT", status="I")
    watch.broken("gate")
    assert watch.seen == [(What.LOST, None, Phase.CLEANUP)]
    assert watch.sight.lost_at == {}


def test_it_is_noticed_when_the_client_speaks_again(watch: Watch) -> None:
    watch.book()
    watch.broken("gate")
    watch.undelivered("INSERT INTO booking VALUES (1)")
    assert watch.seen[-1] == (What.LOST, None, Phase.STATEMENT)
    (at,) = watch.sight.lost_at["a1"]
    # It wrote before it could know: that is no retry.
    assert watch["INSERT"].sent_at < at


def test_it_is_noticed_when_the_client_lets_go(watch: Watch) -> None:
    watch.book()
    watch.broken("gate")
    watch.hung_up()
    watch.said("UPDATE seat SET taken = 1", "UPDATE 1", connection=2)
    (at,) = watch.sight.lost_at["a1"]
    assert watch["UPDATE"].sent_at > at


# Clearing up.


@pytest.mark.parametrize(
    ("before", "then", "phase"),
    [
        # Nothing was written behind the savepoint, or it is taken back: all was decided before.
        (["SELECT 1 FROM seat"], "ROLLBACK TO SAVEPOINT s", Phase.CLEANUP),
        (["SELECT 1 FROM seat"], "RELEASE SAVEPOINT s", Phase.CLEANUP),
        (["UPDATE seat SET taken = 1"], "ROLLBACK TO s", Phase.CLEANUP),
        (["UPDATE seat SET taken = 1", "ROLLBACK TO s"], "RELEASE s", Phase.CLEANUP),
        (["UPDATE seat SET taken = 1", "ROLLBACK TO s"], "COMMIT", Phase.CLEANUP),
        (["SELECT 1 FROM seat"], "CLOSE c", Phase.CLEANUP),
        (["SELECT 1 FROM seat"], "SELECT pg_advisory_unlock(1)", Phase.CLEANUP),
        # What was written stands, so the attempt goes on.
        (["UPDATE seat SET taken = 1"], "RELEASE SAVEPOINT s", Phase.STATEMENT),
        (["UPDATE seat SET taken = 1", "RELEASE s"], "COMMIT", Phase.COMMIT),
        (["UPDATE seat SET taken = 1", 'ROLLBACK TO "S"'], "COMMIT", Phase.COMMIT),
        (["SELECT 1 FROM seat"], "SAVEPOINT t", Phase.STATEMENT),
        (["SELECT 1 FROM seat"], "SET LOCAL lock_timeout = 1", Phase.STATEMENT),
        (["SELECT 1 FROM seat", "ROLLBACK TO s"], "SELECT 2 FROM seat", Phase.STATEMENT),
        (["SELECT 1 FROM seat", "ROLLBACK TO s"], "UPDATE seat SET taken = 2", Phase.STATEMENT),
    ],
)
@pytest.mark.parametrize("fault", ["error", "loss", "deadline"])
def test_what_clears_up_behind_a_savepoint_decides_nothing(
    before: list[str], then: str, phase: Phase, fault: str
) -> None:
    watch = Watch()
    watch.begin()
    for statement in ("BEGIN", "SAVEPOINT s", *before):
        watch.said(statement, statement.split()[0] + " 1")
    if fault == "error":
        watch.said(then, status="E", error=CONFLICT)
    elif fault == "loss":
        watch.broken(turn=watch.sent(then))
    else:
        watch.sent(then)
        watch.hung_up()
    assert [seen[2] for seen in watch.seen] == [phase]


def test_a_savepoint_inside_another_one_ends_with_it(watch: Watch) -> None:
    """As nested atomic blocks say it; a name hides the same name further out."""
    watch.said("BEGIN", "BEGIN")
    watch.said("SAVEPOINT s", "SAVEPOINT")
    watch.said("UPDATE seat SET taken = 1", "UPDATE 1")
    watch.said("SAVEPOINT s", "SAVEPOINT")
    watch.said("INSERT INTO x VALUES (1)", "INSERT 0 1")
    watch.said("ROLLBACK TO SAVEPOINT s", "ROLLBACK")
    watch.said("RELEASE SAVEPOINT s", "RELEASE")
    assert (watch["INSERT"].reverted, watch["UPDATE"].reverted) == (True, False)
    watch.said("ROLLBACK TO SAVEPOINT s", "ROLLBACK")
    watch.said("RELEASE SAVEPOINT s", "RELEASE")
    assert watch["UPDATE"].reverted
    watch.said("COMMIT", "COMMIT", status="I")
    assert watch.commits == []


def test_of_a_commit_of_what_was_taken_back_there_is_no_doubt(watch: Watch) -> None:
    watch.said("BEGIN", "BEGIN")
    watch.said("SAVEPOINT s", "SAVEPOINT")
    watch.said("UPDATE seat SET taken = 1", "UPDATE 1")
    watch.said("ROLLBACK TO SAVEPOINT s", "ROLLBACK")
    watch.broken(turn=watch.sent("COMMIT"))
    assert told(watch, a1=REJECTED) == set()
    assert told(watch, a1=IN_DOUBT) == {visibility.Rule.DOUBT_WHERE_DUE}


def test_of_what_stands_before_the_savepoint_there_is(watch: Watch) -> None:
    watch.said("BEGIN", "BEGIN")
    watch.said("UPDATE seat SET taken = 1", "UPDATE 1")
    watch.said("SAVEPOINT s", "SAVEPOINT")
    watch.said("INSERT INTO x VALUES (1)", "INSERT 0 1")
    watch.said("ROLLBACK TO SAVEPOINT s", "ROLLBACK")
    watch.broken(turn=watch.sent("COMMIT"))
    assert told(watch, a1=IN_DOUBT) == set()
    assert told(watch, a1=REJECTED) == {visibility.Rule.DOUBT_WHERE_DUE}


def test_an_error_that_a_savepoint_hides_is_still_seen(watch: Watch) -> None:
    watch.said("BEGIN", "BEGIN")
    watch.said("SAVEPOINT s", "SAVEPOINT")
    watch.said("UPDATE seat SET taken = 1", status="E", error=CONFLICT)
    watch.said("ROLLBACK TO SAVEPOINT s", "ROLLBACK")
    watch.said("UPDATE seat SET taken = 1", "UPDATE 1")
    watch.said("COMMIT", "COMMIT", status="I")
    assert watch.seen == [(What.ERROR, "40001", Phase.STATEMENT)]
    assert told(watch, a1=BOOKED) == {visibility.Rule.NO_HIDDEN_RETRY}


def test_a_pool_s_reset_behind_statements_of_their_own_decides_nothing(watch: Watch) -> None:
    watch.said("SELECT 1 FROM seat", "SELECT 1", status="I")
    watch.broken(turn=watch.sent("DISCARD ALL"))
    assert watch.seen == [(What.LOST, None, Phase.CLEANUP)]


def test_each_attempt_has_its_own_savepoints() -> None:
    """Alice's first attempt is alone when its savepoint ends, the second one is not."""
    watch = Watch()
    watch.told += watch.sight.invoked("alice", "a1", "b-1")
    watch.told += watch.sight.invoked("bob", "b1", "b-2")
    for attempt, booking in (("a1", "b-1"), ("a2", "b-3")):
        if attempt == "a2":
            watch.sight.emitted("alice")
            watch.told += watch.sight.invoked("alice", "a2", "b-3")
            watch.told += watch.sight.invoked("bob", "b2", "b-2")
        watch.said("BEGIN", "BEGIN")
        watch.said("SAVEPOINT s", "SAVEPOINT")
        watch.said(f"INSERT INTO booking VALUES ('{booking}')", "INSERT 0 1")
        if attempt == "a1":
            watch.sight.emitted("bob")
        watch.said("RELEASE SAVEPOINT s", "RELEASE")
        watch.said("COMMIT", "COMMIT", status="I")
    assert [e.attempt for e in watch.sight.exchanges] == ["a1"] * 5 + ["a2"] * 5
    assert told(watch, a1=BOOKED, a2=BOOKED) == set()


# Turns that the gate holds.


def test_a_turn_is_said_when_it_arrives_and_not_when_the_gate_lets_it_through(watch: Watch) -> None:
    watch.said("BEGIN", "BEGIN")
    turn = watch.turn("UPDATE seat SET taken = 1")
    watch.see(Arrived("alice", 1, turn))
    watch.told += watch.sight.gave_up("alice")
    assert watch.seen == [(What.DEADLINE, None, Phase.STATEMENT)]
    told_now = watch.now
    watch.now += 1
    watch.end()
    watch.see(Sent("alice", 1, turn))
    watch.see(Answered("alice", 1, turn, Answer(("UPDATE 1",), None, "T")))
    assert watch["UPDATE"].sent_at < told_now
    attempt = visibility.Attempt("a1", told_now + 1, INFRASTRUCTURE, in_doubt=False)
    assert list(visibility.judge([attempt], watch.sight.exchanges)) == []


def test_a_commit_that_the_gate_still_holds_has_been_sent(watch: Watch) -> None:
    watch.book()
    turn = watch.turn("COMMIT")
    watch.see(Arrived("alice", 1, turn))
    assert watch.commits == []
    watch.told += watch.sight.gave_up("alice")
    assert watch.commits == ["a1"]
    assert watch.seen == [(What.DEADLINE, None, Phase.COMMIT)]
    assert told(watch, a1=IN_DOUBT) == set()
    assert told(watch, a1=INFRASTRUCTURE) == {visibility.Rule.DOUBT_WHERE_DUE}
    watch.see(Sent("alice", 1, turn))
    assert watch.commits == ["a1"], "it is sent once"


def test_what_is_said_after_the_answer_was_said_after_it(watch: Watch) -> None:
    watch.said("SELECT 1 FROM seat", "SELECT 1", status="I")
    answered = watch.now = watch.now + 1
    watch.end()
    turn = watch.turn("UPDATE seat SET taken = 1")
    watch.see(Arrived("alice", 1, turn))
    watch.see(Sent("alice", 1, turn))
    attempt = visibility.Attempt("a1", answered, REJECTED, in_doubt=False)
    (violation,) = visibility.judge([attempt], watch.sight.exchanges)
    assert violation.rule is visibility.Rule.NOTHING_AFTER_THE_OUTCOME


# One run after another.


def following(before: Watch, *, wrote: bool = True) -> Watch:
    """The observer of the next run on the same connections."""
    watch = Watch(wrote=wrote)
    watch._cutters = before._cutters
    watch.sight.inherit(before.sight)
    return watch


@pytest.mark.parametrize(("wrote", "commits"), [(True, ["a1"]), (False, [])])
@pytest.mark.parametrize("call", ["SELECT attempt(1)", "CALL attempt(1)"])
def test_the_server_process_of_a_lasting_connection_is_known(
    watch: Watch, call: str, wrote: bool, commits: list[str]
) -> None:
    watch.see(Opened("alice", 1, 4711))
    next_one = following(following(watch), wrote=wrote)
    next_one.begin()
    next_one.said("BEGIN", "BEGIN")
    next_one.said(call, call.split(maxsplit=1)[0])
    next_one.said("COMMIT", "COMMIT", status="I")
    assert next_one.commits == commits


def test_a_transaction_that_was_left_open_is_open_in_the_next_run(watch: Watch) -> None:
    watch.said("BEGIN", "BEGIN")
    watch.end()
    next_one = following(watch)
    next_one.begin()
    assert list(next_one.sight.at_rest()) == []
    next_one.said("INSERT INTO x VALUES (1)", "INSERT 0 1")
    assert not next_one["INSERT"].commits
    next_one.said("COMMIT", "COMMIT", status="I")
    assert next_one.commits == ["a1"]


def test_a_statement_that_was_kept_is_known_in_the_next_run(watch: Watch) -> None:
    watch.said("PREPARE own AS SELECT 1 FROM seat", "PREPARE", status="I")
    next_one = following(watch)
    next_one.begin()
    next_one.said("EXECUTE own", "SELECT 1", status="I")
    assert does(next_one.sight.exchanges) == [Does.READ]


@pytest.mark.parametrize("hangs_up", [None, "before", "between", "after"])
def test_a_loss_between_two_runs_reaches_the_first_attempt_of_the_next(
    watch: Watch, hangs_up: str | None
) -> None:
    """Whether its client has closed what was lost or not; once, if it has."""
    watch.end()
    watch.broken(by="server", error=TERMINATED)
    if hangs_up == "before":
        watch.hung_up()
    next_one = following(watch)
    if hangs_up == "between":
        next_one.hung_up()
    next_one.begin()
    if hangs_up == "after":
        next_one.hung_up()
    assert set(next_one.seen) == {(What.LOST, None, Phase.CONNECT)}
    assert next_one.sight.lost_at == {}
    next_one.end()
    next_one.told.clear()
    next_one.begin("a2")
    assert bool(next_one.seen) == (hangs_up is None)


# Several attempts in one transaction.


@pytest.fixture
def combiner() -> Watch:
    """Alice's client persists her attempt and bob's."""
    made = Watch()
    made.told += made.sight.invoked("alice", "a1", "b-1")
    made.told += made.sight.invoked("bob", "b1", "b-2")
    return made


FULL = ServerError("ERROR", "23514", "there is no room")


def told(watch: Watch, **answers: Told) -> set[visibility.Rule]:
    """What is broken if the attempts are answered so, now."""
    sight = watch.sight
    attempts = [
        visibility.Attempt(
            name, watch.now + 1, answer, answer.in_doubt, tuple(sight.lost_at.get(name, ()))
        )
        for name, answer in answers.items()
    ]
    return {violation.rule for violation in visibility.judge(attempts, sight.exchanges)}


def claims(watch: Watch, booking: str, *, error: ServerError | None = None) -> None:
    """One claim behind a savepoint; the counter is moved first, which names nobody."""
    watch.said("SAVEPOINT claim", "SAVEPOINT")
    watch.said("UPDATE seat SET taken = taken + 1", "UPDATE 1")
    insert = extended("INSERT INTO booking VALUES ($1)", booking) + SYNC
    if error is None:
        watch.said(insert, "INSERT 0 1")
        watch.said("RELEASE SAVEPOINT claim", "RELEASE")
    else:
        watch.said(insert, status="E", error=error)
        watch.said("ROLLBACK TO SAVEPOINT claim", "ROLLBACK")


def test_a_savepoint_belongs_to_the_attempt_that_it_guards(combiner: Watch) -> None:
    combiner.said("BEGIN", "BEGIN")
    claims(combiner, "b-2", error=FULL)
    claims(combiner, "b-1")
    combiner.said("COMMIT", "COMMIT", status="I")
    owners = [exchange.attempt for exchange in combiner.sight.exchanges]
    assert owners == ["a1", "b1", "b1", "b1", "b1", "a1", "a1", "a1", "a1", "a1"]
    assert [(e.attempt, e.sqlstate) for e in combiner.told if isinstance(e, Seen)] == [
        ("b1", "23514")
    ]
    assert told(combiner, a1=BOOKED, b1=REJECTED) == set()


def test_a_commit_is_that_of_all_who_wrote(combiner: Watch) -> None:
    combiner.said("BEGIN", "BEGIN")
    claims(combiner, "b-2")
    claims(combiner, "b-1")
    combiner.said("COMMIT", "COMMIT", status="I")
    assert combiner.commits == ["a1", "b1"]
    assert told(combiner, a1=BOOKED, b1=BOOKED) == set()
    assert told(combiner, a1=BOOKED, b1=IN_DOUBT) == {visibility.Rule.DOUBT_WHERE_DUE}


def test_and_so_is_its_loss(combiner: Watch) -> None:
    combiner.said("BEGIN", "BEGIN")
    claims(combiner, "b-2")
    claims(combiner, "b-1")
    combiner.broken(turn=combiner.sent("COMMIT"))
    lost = [e.attempt for e in combiner.told if isinstance(e, Seen) and e.what is What.LOST]
    assert lost == ["a1", "b1"]
    assert told(combiner, a1=IN_DOUBT, b1=IN_DOUBT) == set()
    assert told(combiner, a1=IN_DOUBT, b1=BOOKED) == {visibility.Rule.NOTHING_BEFORE_THE_COMMIT}


def test_who_is_tried_again_in_another_s_transaction_is_retried(combiner: Watch) -> None:
    combiner.said("BEGIN", "BEGIN")
    claims(combiner, "b-2", error=CONFLICT)
    claims(combiner, "b-1")
    claims(combiner, "b-2")
    combiner.said("COMMIT", "COMMIT", status="I")
    assert told(combiner, a1=BOOKED, b1=BOOKED) == {visibility.Rule.NO_HIDDEN_RETRY}
    violations = visibility.judge(
        [visibility.Attempt(name, combiner.now, BOOKED, in_doubt=False) for name in ("a1", "b1")],
        combiner.sight.exchanges,
    )
    assert {violation.attempt for violation in violations} == {"b1"}


def test_without_savepoints_ids_alone_tell(combiner: Watch) -> None:
    combiner.said("BEGIN", "BEGIN")
    combiner.said("UPDATE claim SET won = true WHERE booking = 'b-1'", "UPDATE 0")
    combiner.said("UPDATE claim SET won = true WHERE booking = 'b-2'", "UPDATE 1")
    combiner.said("COMMIT", "COMMIT", status="I")
    assert told(combiner, a1=REJECTED, b1=BOOKED) == set()


def test_nested_savepoints_belong_to_the_attempt_that_the_innermost_one_names(
    combiner: Watch,
) -> None:
    """The guarded update of each claim stands behind the outer one, and names nobody."""
    combiner.said("BEGIN", "BEGIN")
    for booking, rows in (("b-2", 0), ("b-1", 1)):
        combiner.said("SAVEPOINT outer_one", "SAVEPOINT")
        combiner.said("UPDATE seat SET taken = taken + 1 WHERE taken < 2", f"UPDATE {rows}")
        combiner.said("SAVEPOINT inner_one", "SAVEPOINT")
        combiner.said(f"SELECT 1 FROM booking WHERE id = '{booking}'", "SELECT 0")
        combiner.said("RELEASE SAVEPOINT inner_one", "RELEASE")
        if rows == 0:
            combiner.said("ROLLBACK TO SAVEPOINT outer_one", "ROLLBACK")
        combiner.said("RELEASE SAVEPOINT outer_one", "RELEASE")
    combiner.said("COMMIT", "COMMIT", status="I")
    owners = [exchange.attempt for exchange in combiner.sight.exchanges]
    assert owners == ["a1", *["b1"] * 7, *["a1"] * 7]
    assert told(combiner, a1=BOOKED, b1=OVERTAKEN) == set()


@pytest.mark.parametrize(
    "insert",
    [
        extended("INSERT INTO booking SELECT unnest($1::text[])", "{b-1,b-2}") + SYNC,
        "INSERT INTO booking VALUES ('b-1'), ('b-2')",
    ],
    ids=["an array", "rows"],
)
def test_one_statement_may_concern_several_attempts(combiner: Watch, insert: bytes | str) -> None:
    combiner.said("BEGIN", "BEGIN")
    combiner.said(insert, "INSERT 0 2")
    combiner.said("COMMIT", "COMMIT", status="I")
    assert combiner.commits == ["a1", "b1"]
    assert told(combiner, a1=BOOKED, b1=BOOKED) == set()


def test_attempts_of_one_id_are_not_told_apart_by_it() -> None:
    watch = Watch()
    watch.told += watch.sight.invoked("bob", "b1", "b-1")
    watch.told += watch.sight.invoked("alice", "a1", "b-1")
    watch.said("BEGIN", "BEGIN")
    watch.said("INSERT INTO booking VALUES ('b-1')", "INSERT 0 1")
    watch.said("COMMIT", "COMMIT", status="I")
    assert {exchange.attempts for exchange in watch.sight.exchanges} == {("a1",)}
    assert watch.commits == ["a1"]


def test_before_its_commit_none_of_them_is_booked(combiner: Watch) -> None:
    combiner.said("BEGIN", "BEGIN")
    combiner.said("INSERT INTO booking VALUES ('b-1'), ('b-2')", "INSERT 0 2")
    assert told(combiner, b1=BOOKED) == {visibility.Rule.NOTHING_BEFORE_THE_COMMIT}


@pytest.mark.parametrize("met", ["error", "deadline"])
def test_what_meets_their_commit_reaches_all_of_them(combiner: Watch, met: str) -> None:
    combiner.said("BEGIN", "BEGIN")
    claims(combiner, "b-2")
    claims(combiner, "b-1")
    if met == "error":
        combiner.said("COMMIT", status="I", error=CONFLICT)
    else:
        combiner.sent("COMMIT")
        combiner.hung_up()
    assert [e.attempt for e in combiner.told if isinstance(e, Seen)] == ["a1", "b1"]
