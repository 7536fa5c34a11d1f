"""Whatever is asked and answered in whatever order: a repeat within the time gets its answer, and memory has a bound."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from edged.links.mqtt.mcp.answers import Answers, Before, key
from edged.links.mqtt.values import Publication

KEEP_S, MAX_BYTES = 60.0, 16 * 1024
CLIENTS = st.sampled_from(["a", "b"])
PAYLOADS = st.sampled_from([b"1", b"2", b"3"])


class Book(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.answers = Answers(KEEP_S, MAX_BYTES)
        self.now = 0.0
        self.running: set[tuple[str, bytes]] = set()
        self.known: dict[tuple[str, bytes], tuple[float, Publication | None]] = {}

    def fresh(self, asked: tuple[str, bytes]) -> bool:
        return asked in self.known and self.now - self.known[asked][0] <= KEEP_S

    @rule(client=CLIENTS, payload=PAYLOADS)
    def ask(self, client: str, payload: bytes) -> None:
        asked = (client, payload)
        got = self.answers.begin(key(client, payload), self.now)
        if self.fresh(asked):
            assert got in (self.known[asked][1] or Before.TOO_LARGE, Before.NEVER)
            if got is not Before.NEVER:
                return
            del self.known[asked]  # it made room
        elif asked in self.running:
            assert got is Before.RUNNING
            return
        assert got is Before.NEVER
        self.running.add(asked)

    @rule(client=CLIENTS, payload=PAYLOADS, size=st.sampled_from([10, 1000, 5000]))
    def answer(self, client: str, payload: bytes, size: int) -> None:
        answer = Publication(topic="t", payload=b"x" * size)
        self.answers.answered(key(client, payload), answer, self.now)
        if (client, payload) in self.running:
            self.running.remove((client, payload))
            self.known[client, payload] = (self.now, answer if size < MAX_BYTES // 4 else None)

    @rule(client=CLIENTS, payload=PAYLOADS)
    def drop(self, client: str, payload: bytes) -> None:
        self.answers.dropped(key(client, payload))
        self.running.discard((client, payload))

    @rule(client=CLIENTS)
    def forget(self, client: str) -> None:
        self.answers.forget(client)
        self.running = {asked for asked in self.running if asked[0] != client}
        self.known = {asked: known for asked, known in self.known.items() if asked[0] != client}

    @rule(client=CLIENTS)
    def stop(self, client: str) -> None:
        self.answers.stopped(client)
        self.running = {asked for asked in self.running if asked[0] != client}

    @rule(seconds=st.sampled_from([1.0, 30.0, 61.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @invariant()
    def memory_has_a_bound(self) -> None:
        assert 0 <= self.answers.bytes <= MAX_BYTES


TestBook = Book.TestCase
TestBook.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)


def test_one_client_cannot_push_out_what_others_were_answered() -> None:
    answers = Answers(KEEP_S, MAX_BYTES)
    honest = Publication(topic="t", payload=b"honest")
    answers.begin(key("honest", b"1"), 0)
    answers.answered(key("honest", b"1"), honest, 0)
    for n in range(1000):
        asked = key("flood", str(n).encode())
        answers.begin(asked, 1)
        answers.answered(asked, Publication(topic="t", payload=b"x" * 1000), 1)
    assert answers.begin(key("honest", b"1"), 2) == honest
    assert answers.bytes <= MAX_BYTES // 4 + 1024


def test_an_answer_larger_than_a_share_is_remembered_without_its_text() -> None:
    answers = Answers(KEEP_S, MAX_BYTES)
    asked = key("a", b"1")
    answers.begin(asked, 0)
    answers.answered(asked, Publication(topic="t", payload=b"x" * MAX_BYTES), 0)
    assert answers.begin(asked, 1) is Before.TOO_LARGE


def test_nothing_is_kept_where_that_is_configured() -> None:
    answers = Answers(0.0, MAX_BYTES)
    asked = key("a", b"1")
    answers.begin(asked, 0)
    answers.answered(asked, Publication(topic="t"), 0)
    assert answers.begin(asked, 0) is Before.NEVER
