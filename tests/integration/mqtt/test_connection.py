"""A connection against a real mosquitto: what it grants, keeps, refuses and gets over."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from edged.errors import Overloaded, Rejected, TooLarge, Unreachable
from edged.links.mqtt.config import MqttConfig
from edged.links.mqtt.connection import Connection
from edged.links.mqtt.values import Properties, Publication, Subscription
from tests.rig.broker import OpenBroker, running
from tests.rig.mqtt import Ear, Line, online, until
from tests.rig.wire import Proxy


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[OpenBroker]:
    made = OpenBroker(tmp_path / "broker")
    with running(made):
        yield made


def config(*urls: str, **settings: object) -> MqttConfig:
    return MqttConfig(brokers=urls, **settings)  # type: ignore[arg-type] # any of its fields


NOBODY_LISTENS = 0x10  # MQTT 5, 3.4.2.1: all is well


def session(line: Line) -> object:
    assert line.connection._session
    return line.connection._session


def test_what_is_published_arrives_with_every_property(broker: OpenBroker) -> None:
    properties = Properties(
        content_type="application/json",
        text=True,
        expiry_s=300,
        response_topic="answers/here",
        correlation=b"\x00\xff",
        user=(("MCP-COMPONENT-TYPE", "mcp-server"), ("a", "1"), ("a", "2")),
    )

    async def scenario() -> None:
        async with online(config(broker.url), "x/#") as line:
            assert await line.say("x/äöü/€", b"\x00" * 300_000, properties=properties) == 0
            (heard,) = await line.ear.messages(1)
            assert heard == Publication(topic="x/äöü/€", payload=b"\x00" * 300_000, properties=properties)

    asyncio.run(scenario())


def test_no_local_keeps_our_own_messages_from_us(broker: OpenBroker) -> None:
    async def scenario() -> None:
        own = Subscription(filter="rpc/+", no_local=True)
        async with online(config(broker.url), own, name="a") as a, online(config(broker.url), name="b") as b:
            await a.say("rpc/x", b"own")
            await b.say("rpc/x", b"other")
            assert [heard.payload for heard in await a.ear.messages(1)] == [b"other"]

    asyncio.run(scenario())


def test_after_a_broker_was_killed_everything_is_subscribed_again_before_the_user_is_told(
    broker: OpenBroker,
) -> None:
    async def scenario() -> None:
        async with online(config(broker.url), "x/#", "y/#") as line:
            broker.kill()
            await line.ear.losses(1)
            broker.start()
            await line.ear.connections(2)
            await line.say("x/1")
            await line.say("y/1")
            await line.ear.messages(2)
            assert line.ear.order == ["connected", "disconnected", "connected", "received", "received"]

    asyncio.run(scenario())


def test_what_is_published_without_a_connection_fails_and_is_never_sent_later(broker: OpenBroker) -> None:
    async def scenario() -> None:
        async with online(config(broker.url), "x/#") as line:
            broker.kill()
            await line.ear.losses(1)
            with pytest.raises(Unreachable, match="no connection"):
                await line.say("x/lost")
            assert line.connection.terms is None
            broker.start()
            await line.ear.connections(2)
            await line.say("x/sent")
            assert [heard.topic for heard in await line.ear.messages(1)] == ["x/sent"]

    asyncio.run(scenario())


def test_what_was_not_acknowledged_when_the_broker_died_fails(broker: OpenBroker) -> None:
    async def scenario() -> None:
        async with online(config(broker.url)) as line:
            broker.freeze()
            on_its_way = [line.connection.publish(Publication(topic="x")) for _ in range(50)]
            broker.kill()
            results = await asyncio.gather(*on_its_way, return_exceptions=True)
            assert {type(result) for result in results} == {Unreachable}
            broker.start()
            await line.ear.connections(2)

    asyncio.run(scenario())


def test_no_more_is_in_flight_than_the_broker_takes_and_order_is_kept(tmp_path: Path) -> None:
    async def scenario(broker: OpenBroker) -> None:
        async with online(config(broker.url), "x") as line:
            assert line.ear.terms[0].receive_max == 5
            broker.freeze()
            sent = [line.connection.publish(Publication(topic="x", payload=b"%d" % n)) for n in range(100)]
            outgoing = session(line)._outgoing  # type: ignore[attr-defined] # what is counted is no one's business else
            assert (len(outgoing._in_flight), len(outgoing._waiting)) == (5, 95)
            assert line.connection.health.under_way == 100
            broker.thaw()
            assert set(await asyncio.gather(*sent)) <= {0, NOBODY_LISTENS}
            assert [int(heard.payload) for heard in await line.ear.messages(100)] == list(range(100))

    with running(made := OpenBroker(tmp_path, "max_inflight_messages 5")):
        asyncio.run(scenario(made))


def test_too_much_that_waits_is_refused_with_a_time_to_come_back(broker: OpenBroker) -> None:
    async def scenario() -> None:
        async with online(config(broker.url, waiting_max=10)) as line:
            broker.freeze()
            sent = [line.connection.publish(Publication(topic="x")) for _ in range(31)]
            with pytest.raises(Overloaded) as caught:
                await sent.pop()
            assert caught.value.retry_after_s > 0
            broker.thaw()
            assert set(await asyncio.gather(*sent)) <= {0, NOBODY_LISTENS}

    asyncio.run(scenario())


def test_memory_is_bounded_by_bytes_too_for_either_quality_of_service(broker: OpenBroker) -> None:
    async def scenario(qos: int) -> None:
        async with online(config(broker.url, waiting_max_bytes=1 << 20)) as line:
            broker.freeze()
            large = Publication(topic="x", payload=bytes(400_000), qos=qos)
            sent = [line.connection.publish(large) for _ in range(40)]
            refused = [one for one in sent if one.done() and one.exception()]
            assert 20 < len(refused) < 40
            assert all(isinstance(one.exception(), Overloaded) for one in refused)
            broker.thaw()
            assert set(await asyncio.gather(*(one for one in sent if one not in refused))) <= {
                0,
                NOBODY_LISTENS,
            }

    asyncio.run(scenario(0))
    asyncio.run(scenario(1))


def test_a_packet_is_as_large_as_the_broker_takes_and_one_byte_more_is_refused_here(tmp_path: Path) -> None:
    most = 10_000
    body = most - 1 - 2
    payload = bytes(body - 2 - len("x") - 2 - 1)

    async def scenario(broker: OpenBroker) -> None:
        async with online(config(broker.url), "x") as line:
            assert line.ear.terms[0].packet_max_bytes == most
            assert await line.say("x", payload) == 0
            with pytest.raises(TooLarge, match="10001 bytes"):
                await line.say("x", payload + b"1")
            await line.say("x", b"alive")
            assert len(await line.ear.messages(2)) == 2
            assert len(line.ear.terms) == 1

    with running(made := OpenBroker(tmp_path, f"max_packet_size {most}")):
        asyncio.run(scenario(made))


@pytest.mark.parametrize("topic", ["", "a/+", "#", "x" * 65536, "a\x00b"])
def test_a_topic_that_is_none_is_refused_and_the_connection_lives(broker: OpenBroker, topic: str) -> None:
    async def scenario() -> None:
        async with online(config(broker.url)) as line:
            with pytest.raises(Rejected):
                await line.say(topic)
            assert await line.say("x") == NOBODY_LISTENS

    asyncio.run(scenario())


def test_a_message_larger_than_we_take_does_not_reach_us_and_the_next_one_does(broker: OpenBroker) -> None:
    async def scenario() -> None:
        small = config(broker.url, packet_max_bytes=65536)
        async with online(small, "x", name="a") as a, online(config(broker.url), name="b") as b:
            await b.say("x", bytes(100_000))
            await b.say("x", b"small")
            assert [heard.payload for heard in await a.ear.messages(1)] == [b"small"]
            assert len(a.ear.terms) == 1

    asyncio.run(scenario())


def test_an_exception_of_who_uses_it_is_counted_and_the_connection_lives(broker: OpenBroker) -> None:
    def trip(publication: Publication) -> None:
        raise ValueError(publication.topic)

    async def scenario() -> None:
        async with online(config(broker.url), "x") as line:
            line.ear.on_received = trip
            for count in (1, 2):
                await line.say("x")
                await line.ear.messages(count)
            assert line.connection.health.faults == 2
            assert len(line.ear.terms) == 1

    asyncio.run(scenario())


def test_who_is_answered_in_the_middle_of_hearing_gets_one_answer_each(broker: OpenBroker) -> None:
    async def scenario() -> None:
        async with (
            online(config(broker.url), "ask", name="a") as a,
            online(config(broker.url), "say", name="b") as b,
        ):
            a.ear.on_received = lambda heard: void(
                a.connection.publish(Publication(topic="say", payload=heard.payload, qos=heard.qos))
            )
            for n in range(200):
                b.connection.publish(Publication(topic="ask", payload=b"%d" % n, qos=n % 2))
            heard = await b.ear.messages(200)
            assert sorted(int(one.payload) for one in heard) == list(range(200))

    asyncio.run(scenario())


def void(_: object) -> None:
    """Nobody waits for it."""


def test_other_threads_may_publish(broker: OpenBroker) -> None:
    async def scenario() -> None:
        async with online(config(broker.url), "x") as line:
            loop = asyncio.get_running_loop()
            for n in range(100):
                message = Publication(topic="x", payload=b"%d" % n)
                await loop.run_in_executor(None, line.connection.publish_from_thread, message)
            assert [int(heard.payload) for heard in await line.ear.messages(100)] == list(range(100))

    asyncio.run(scenario())


def test_what_is_published_just_before_the_end_arrives_and_the_will_stays_unsaid(broker: OpenBroker) -> None:
    async def scenario() -> None:
        will = Publication(topic="x/will", retain=True)
        async with online(config(broker.url), "x/#", name="a") as other:
            async with online(config(broker.url), name="b", will=will) as line:
                for n in range(300):
                    line.connection.publish(Publication(topic="x/said", payload=b"%d" % n))
            await other.say("x/after")
            heard = await other.ear.messages(301)
            assert [one.topic for one in heard[-2:]] == ["x/said", "x/after"]
            assert line.ear.reasons == ["stopped"]

    asyncio.run(scenario())


@pytest.mark.parametrize("way", ["cut_up_after", "cut_down_after"])
def test_a_connection_cut_in_the_middle_of_a_packet_is_sought_again_and_the_will_is_said(
    broker: OpenBroker, way: str
) -> None:
    async def scenario(proxy: Proxy) -> None:
        will = Publication(topic="x/will", payload=b"gone")
        async with online(config(broker.url), "x/#", name="a") as other:
            async with online(config(proxy.url), "y/#", name="b", will=will) as line:
                setattr(proxy, way, 70_000)
                large = Publication(topic="y/1", payload=bytes(50_000))
                await asyncio.gather(
                    *(line.connection.publish(large) for _ in range(3)), return_exceptions=True
                )
                await line.ear.connections(2)
                assert await line.say("x/after") == 0
            assert [one.topic for one in await other.ear.messages(2)] == ["x/will", "x/after"]

    with Proxy(broker.port) as proxy:
        asyncio.run(scenario(proxy))


def test_a_name_taken_by_another_is_not_fought_over(broker: OpenBroker) -> None:
    """Debian's mosquitto closes the older connection and gives no reason."""

    async def scenario() -> None:
        async with online(config(broker.url), name="same") as a, online(config(broker.url), name="same") as b:
            await until(lambda: any(line.connection.health.taken_over for line in (a, b)))
            gone, there = (a, b) if a.connection.health.taken_over else (b, a)
            assert "another connection has the client id same" in gone.connection.health.reason
            await there.ear.until(lambda _: there.connection.terms is not None)
            for _ in range(20):
                await there.say("x")
            assert gone.connection.terms is None

    asyncio.run(scenario())


def test_a_broker_that_says_the_name_is_taken_is_believed_at_once() -> None:
    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1000)
        writer.write(CONNACK + b"\xe0\x02\x8e\x00")

    async def scenario() -> None:
        async with scripted(behave) as url, online(config(url)) as line:
            assert "Session taken over" in await line.ear.losses(1)
            await until(lambda: line.connection.health.taken_over == 1)
            assert len(line.ear.terms) == 1

    asyncio.run(scenario())


def test_what_an_impatient_caller_gave_up_is_not_sent_after_all(broker: OpenBroker) -> None:
    async def scenario() -> None:
        async with online(config(broker.url), "x/#") as line:
            broker.freeze()
            sent = [line.connection.publish(Publication(topic=f"x/{n}")) for n in range(40)]
            sent[39].cancel()
            broker.thaw()
            await asyncio.gather(*sent[:39])
            await line.say("x/after")
            assert [heard.topic for heard in await line.ear.messages(40)][-1] == "x/after"

    asyncio.run(scenario())


def test_a_unix_socket_is_a_broker_too(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with online(config(f"unix://{tmp_path}/mqtt.sock"), "x") as line:
            await line.say("x", bytes(300_000))
            assert len((await line.ear.messages(1))[0].payload) == 300_000

    with running(OpenBroker(tmp_path, "listener 0 {home}/mqtt.sock\nallow_anonymous true")):
        asyncio.run(scenario())


Scenario = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
CONNACK = b"\x20\x03\x00\x00\x00"


@contextlib.asynccontextmanager
async def scripted(behave: Scenario) -> AsyncIterator[str]:
    """A broker that does what it should not; its URL."""
    async with asyncio.TaskGroup() as tasks:

        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(ConnectionError):
                await behave(reader, writer)
                await reader.read()
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

        def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            tasks.create_task(talk(reader, writer))

        server = await asyncio.start_server(take, "127.0.0.1", 0)
        try:
            yield f"mqtt://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        finally:
            server.close()


@pytest.mark.parametrize(
    ("sent", "complaint"),
    [
        (b"\x30\xff\xff\xff\x7f", "more than we said we take"),
        (b"\x30\xff\xff\xff\xff\xff", "broke"),
        (b"\x30\x01\x00", "broke|cannot go on"),
        (b"\x32\x04\x00\x09ab", "broke|cannot go on"),
        (b"\x30\x06\x00\x01a\x02\xfe\x00", "broke|cannot go on"),
        (b"\xf0\x00", "broke|cannot go on"),
        (b"\x10\x00", "broke"),
        (b"\x20\x02\x00", "closed"),
        (b"\xe0\x02\x8b\x00", "Server shutting down"),
    ],
)
def test_a_broker_that_talks_nonsense_is_left_and_nothing_else_happens(sent: bytes, complaint: str) -> None:
    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1000)
        writer.write(CONNACK + sent)
        writer.write_eof()

    async def scenario() -> None:
        async with scripted(behave) as url:
            ear = Ear()
            connection = Connection(config(url), "me", ear)
            async with asyncio.TaskGroup() as group:
                task = group.create_task(connection.run())
                reason = await ear.losses(1)
                task.cancel()
            assert any(part in reason for part in complaint.split("|"))
            assert connection.health.faults == 0

    asyncio.run(scenario())


@pytest.mark.parametrize("code", [0x85, 0x86, 0x87, 0x88, 0x9F])
def test_a_broker_that_refuses_is_named_with_its_reason(code: int) -> None:
    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1000)
        writer.write(b"\x20\x03\x00" + bytes((code, 0)))
        writer.write_eof()

    async def scenario() -> None:
        async with scripted(behave) as url:
            connection = Connection(config(url), "me", Ear())
            with pytest.raises(Unreachable, match="refuses the connection"):
                await connection._connect(0, connection._hello, (), void)

    asyncio.run(scenario())


def test_a_forbidden_subscription_is_no_connection_unless_it_is_optional() -> None:
    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1000)
        writer.write(CONNACK)
        subscribe = await reader.read(1000)
        writer.write(b"\x90\x04" + subscribe[2:4] + b"\x00\x87")

    async def scenario() -> None:
        async with scripted(behave) as url:
            connection = Connection(config(url), "me", Ear())
            optional, needed = (Subscription(filter="x/#", optional=yes) for yes in (True, False))
            made, _ = await connection._connect(0, connection._hello, (optional,), void)
            await made.close(0)
            with pytest.raises(Unreachable, match="x/#: Not authorized"):
                await connection._connect(0, connection._hello, (needed,), void)

    asyncio.run(scenario())
