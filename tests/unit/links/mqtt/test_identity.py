"""Whatever order devices of one id come, go, sleep and meet in: in the end one serves, and the broker shows which."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from edged.links.mqtt.mcp import identity
from edged.links.mqtt.mcp.identity import Claim, Heard, Identity, State, Step

A, B, C = "boot-a", "boot-b", "boot-c"


class Topic:
    """The presence topic: total order, retained, one queue a subscriber."""

    def __init__(self) -> None:
        self.retained: Heard | None = None
        self.devices: list[Device] = []
        self.published = 0

    def publish(self, presence: Heard | None) -> None:
        self.retained = presence
        self.published += 1
        for device in self.devices:
            if device.online:
                device.inbox.append((presence, False))


@dataclass
class Device:
    topic: Topic
    boot: str
    inbox: deque[tuple[Heard | None, bool]] = field(default_factory=deque)
    online: bool = False
    due_s: float | None = None

    def __post_init__(self) -> None:
        self.identity = Identity(self.boot)

    def connect(self, now: float) -> None:
        self.online = True
        self.inbox.clear()
        if self.topic.retained:
            self.inbox.append((self.topic.retained, True))
        self.act(self.identity.connected(now), now)

    def lose(self) -> None:
        """The connection breaks; its will is the test's to publish, now or late."""
        self.online, self.due_s = False, None
        self.identity.disconnected()

    def hear(self, now: float) -> None:
        presence, retained = self.inbox.popleft()
        if presence is None:
            self.act(self.identity.withdrawn(now), now)
        else:
            self.act(self.identity.heard(presence, now, retained=retained), now)

    def act(self, step: Step, now: float) -> None:
        if step.publish:
            self.topic.publish(Heard(self.boot, step.publish))
        if step.tick_in_s is not None:
            self.due_s = now + step.tick_in_s

    def tick(self, now: float) -> None:
        self.due_s = None
        self.act(self.identity.tick(now), now)


def settle(devices: list[Device], now: float) -> float:
    """Deliver everything at once, and let a time pass in which everybody who yielded asked at least once more."""
    end = now + 3 * identity.AGAIN_MAX_S
    while True:
        while any(device.inbox for device in devices):
            for device in devices:
                if device.inbox:
                    device.hear(now)
        due = [device.due_s for device in devices if device.due_s is not None]
        if not due or min(due) > end:
            return now
        now = max(now, min(due))
        for device in devices:
            if device.due_s is not None and device.due_s <= now:
                device.tick(now)


def pair() -> tuple[Topic, Device, Device]:
    topic = Topic()
    devices = Device(topic, A), Device(topic, B)
    topic.devices.extend(devices)
    return topic, *devices


def deliver(*devices: Device, now: float = 0.0) -> None:
    while any(device.inbox for device in devices):
        for device in devices:
            if device.inbox:
                device.hear(now)


def test_a_device_alone_serves_at_once() -> None:
    topic, one, _ = pair()
    one.connect(0)
    assert one.identity.serving
    deliver(one)
    assert one.identity.serving
    assert topic.retained == Heard(A, Claim.NEW)
    assert one.identity.conflicts == 0


def test_a_newcomer_yields_to_whoever_answers_and_neither_publishes_on() -> None:
    topic, one, two = pair()
    one.connect(0)
    deliver(one)
    two.connect(1)
    deliver(one, two, now=1)
    assert one.identity.serving
    assert two.identity.state is State.YIELDED
    assert topic.retained == Heard(A, Claim.KEPT)
    assert topic.published == 3
    assert (one.identity.rival, two.identity.rival) == (B, A)
    assert one.identity.conflicts == two.identity.conflicts == 1


def test_a_newcomer_that_finds_a_dead_ones_presence_serves_after_a_while() -> None:
    topic, _, two = pair()
    topic.retained = Heard(A, Claim.NEW)
    two.connect(0)
    deliver(two)
    assert two.identity.state is State.ASKING
    two.tick(identity.ANSWER_S)
    assert two.identity.serving
    assert topic.retained == Heard(B, Claim.KEPT)
    assert two.identity.conflicts == 0


def test_a_late_will_is_repaired_and_a_prankster_is_not_followed_faster_than_once_a_second() -> None:
    topic, one, _ = pair()
    one.connect(0)
    deliver(one)
    topic.publish(None)
    deliver(one, now=10)
    assert one.due_s == 10
    one.tick(10)
    assert topic.retained == Heard(A, Claim.KEPT)
    for _ in range(5):
        topic.publish(None)
        deliver(one, now=10)
    assert one.due_s == 10 + identity.RESTORE_S


def test_who_yielded_claims_again_a_minute_after_the_other_withdrew() -> None:
    topic, one, two = pair()
    one.connect(0)
    deliver(one)
    two.connect(1)
    deliver(one, two, now=1)
    one.lose()
    topic.publish(None)
    deliver(two, now=5)
    assert two.identity.state is State.YIELDED
    assert two.due_s == 5 + identity.AGAIN_MIN_S
    two.tick(5 + identity.AGAIN_MIN_S)
    deliver(two, now=70)
    assert two.identity.serving


def test_who_yielded_does_not_ask_again_the_moment_it_reconnects() -> None:
    topic, one, two = pair()
    one.connect(0)
    deliver(one)
    two.connect(1)
    deliver(one, two, now=1)
    before = topic.published
    two.lose()
    two.connect(2)
    deliver(one, two, now=2)
    assert two.identity.state is State.YIELDED
    assert topic.published == before


def test_of_two_that_both_serve_the_greater_boot_id_yields() -> None:
    topic, one, two = pair()
    for device in (one, two):  # each on a broker of its own
        topic.retained = None
        device.connect(0)
        deliver(device)
    one.online = two.online = True
    topic.publish(Heard(A, Claim.KEPT))
    deliver(one, two, now=1)
    assert one.identity.serving
    assert two.identity.state is State.YIELDED
    assert topic.retained == Heard(A, Claim.KEPT)


class Devices(RuleBasedStateMachine):
    """Three devices, one id; deliveries in any interleaving, wills late or never, time passing as it likes."""

    def __init__(self) -> None:
        super().__init__()
        self.topic = Topic()
        self.devices = [Device(self.topic, boot) for boot in (A, B, C)]
        self.topic.devices.extend(self.devices)
        self.now = 0.0
        self.wills = 0

    @rule(data=st.data())
    def connect(self, data: st.DataObject) -> None:
        device = data.draw(st.sampled_from(self.devices))
        if not device.online:
            device.connect(self.now)

    @rule(data=st.data())
    def lose(self, data: st.DataObject) -> None:
        device = data.draw(st.sampled_from(self.devices))
        if device.online:
            device.lose()
            self.wills += 1

    @precondition(lambda self: self.wills > 0)
    @rule()
    def fire_a_will(self) -> None:
        self.wills -= 1
        self.topic.publish(None)

    @rule(data=st.data(), count=st.integers(1, 4))
    def hear(self, data: st.DataObject, count: int) -> None:
        device = data.draw(st.sampled_from(self.devices))
        for _ in range(min(count, len(device.inbox))):
            device.hear(self.now)

    @rule(seconds=st.sampled_from([0.1, 2.0, 61.0, 4000.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        for device in self.devices:
            if device.due_s is not None and device.due_s <= self.now:
                device.tick(self.now)

    def teardown(self) -> None:
        online = [device for device in self.devices if device.online]
        settle(self.devices, self.now)
        serving = [device for device in online if device.identity.serving]
        assert len(serving) == bool(online)
        if serving:
            assert self.topic.retained is not None
            assert self.topic.retained.boot == serving[0].boot


TestDevices = Devices.TestCase
TestDevices.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
