"""`edged bridge` as hosts start it: the official client in either era, and lines typed by hand."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from mcp import Client, StdioServerParameters

from edged.links.mqtt.config import MqttConfig
from edged.mcp.config import AccessConfig
from tests.rig.broker import OpenBroker, running
from tests.rig.desk import MODERN
from tests.rig.mqtt_device import serving
from tests.rig.shipped import ShippedBroker

CHECKOUT = Path(__file__).parents[3]
ACCESS = AccessConfig(principals={"mqtt:agent-7": "act"})
HELLO = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "hand", "version": "1"}}


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ShippedBroker]:
    made = ShippedBroker(tmp_path_factory.mktemp("broker"))
    with running(made), serving(made.device(), "dev-42", ACCESS):
        yield made


@pytest.mark.parametrize("mode", ["legacy", "auto", "2026-07-28"])
def test_the_official_client_talks_to_a_device_across_the_shipped_broker(
    shipped: ShippedBroker, mode: Any
) -> None:
    config = shipped.client()
    options = ["--ca", config.ca, "--cert", config.cert, "--key", config.key]
    bridge = StdioServerParameters(
        command=sys.executable,
        args=["-m", "edged", "bridge", f"{config.brokers[0]}/dev-42", *options],
        cwd=CHECKOUT,
    )

    async def scenario() -> None:
        async with Client(bridge, mode=mode) as client:
            assert {"echo", "paint"} <= {tool.name for tool in (await client.list_tools()).tools}
            said = await client.call_tool("echo", {"text": "hello"})
            assert said.structured_content == {"text": "hello"}
            painted = await client.call_tool("paint", {})
            assert [block.type for block in painted.content] == ["text", "image"]
            assert (await client.call_tool("refuse", {})).is_error

    asyncio.run(asyncio.wait_for(scenario(), 60))


class Typed:
    """A bridge with somebody at its standard input."""

    def __init__(self, url: str, *options: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "edged", "bridge", url, "--client-id", "hand", *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=CHECKOUT,
        )

    def __enter__(self) -> Typed:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()

    def say(
        self, method: str, params: dict[str, Any] | None = None, request_id: int | str | None = None
    ) -> None:
        message = {"jsonrpc": "2.0", "method": method, "params": params or {}}
        self.line(json.dumps(message if request_id is None else {**message, "id": request_id}).encode())

    def line(self, text: bytes) -> None:
        assert self.process.stdin
        self.process.stdin.write(text + b"\n")
        self.process.stdin.flush()

    def hear(self) -> dict[str, Any]:
        assert self.process.stdout
        heard: dict[str, Any] = json.loads(self.process.stdout.readline())
        return heard

    def end(self) -> tuple[int, list[dict[str, Any]]]:
        """Say no more: the exit code, and what came until then."""
        out, _ = self.process.communicate(timeout=60)
        return self.process.returncode, [json.loads(line) for line in out.splitlines()]


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[OpenBroker]:
    made = OpenBroker(tmp_path)
    with running(made):
        yield made


def config(broker: OpenBroker) -> MqttConfig:
    return MqttConfig(brokers=(broker.url,), grace_s=0.2)


def test_a_handshake_is_made_again_with_a_device_that_started_anew(broker: OpenBroker) -> None:
    with Typed(f"{broker.url}/cam") as host:
        with serving(config(broker), "cam"):
            host.say("initialize", HELLO, 1)
            assert host.hear()["result"]["protocolVersion"] == "2025-06-18"
            host.say("notifications/initialized")
            host.say("tools/call", {"name": "echo", "arguments": {"text": "before"}}, 2)
            assert host.hear()["result"]["structuredContent"] == {"text": "before"}
            host.say("tools/call", {"name": "wait", "arguments": {}}, "late")
            host.say("tools/call", {"name": "echo", "arguments": {"text": "x"}}, 3)
            assert host.hear()["id"] == 3
        lost = host.hear()
        assert (lost["id"], lost["error"]["data"]["retryable"]) == ("late", True)
        with serving(config(broker), "cam"):
            host.say("tools/call", {"name": "echo", "arguments": {"text": "after"}}, 4)
            answer = host.hear()
            assert (answer["id"], answer["result"]["structuredContent"]) == (4, {"text": "after"})
            assert host.end() == (0, [])


def test_what_a_broker_takes_with_it_is_answered_and_the_bridge_goes_on(broker: OpenBroker) -> None:
    with serving(config(broker), "cam"), Typed(f"{broker.url}/cam") as host:
        host.say("tools/call", {"name": "wait", "arguments": {}, "_meta": MODERN}, 1)
        host.say("tools/call", {"name": "echo", "arguments": {"text": "x"}, "_meta": MODERN}, 2)
        assert host.hear()["id"] == 2
        broker.kill()
        assert "connection to the broker is gone" in host.hear()["error"]["message"]
        broker.start()
        host.say("tools/call", {"name": "echo", "arguments": {"text": "back"}, "_meta": MODERN}, 3)
        assert host.hear()["result"]["structuredContent"] == {"text": "back"}


def test_at_the_end_of_input_what_is_due_is_waited_for(broker: OpenBroker) -> None:
    with serving(config(broker), "cam"), Typed(f"{broker.url}/cam") as host:
        for n in range(50):
            host.say("tools/call", {"name": "echo", "arguments": {"text": str(n)}, "_meta": MODERN}, n)
        code, heard = host.end()
        assert code == 0
        assert sorted(one["id"] for one in heard) == list(range(50))


def test_a_listener_does_not_keep_the_bridge_from_ending(broker: OpenBroker) -> None:
    with serving(config(broker), "cam"), Typed(f"{broker.url}/cam") as host:
        wanted = {"notifications": {"toolsListChanged": True}, "_meta": MODERN}
        host.say("subscriptions/listen", wanted, "ears")
        assert host.hear()["method"] == "notifications/subscriptions/acknowledged"
        assert host.end()[0] == 0


def test_who_starts_anew_with_the_same_numbers_hears_no_old_answers(broker: OpenBroker) -> None:
    def asked(host: Typed) -> Any:
        host.say("tools/call", {"name": "waiting", "arguments": {}, "_meta": MODERN}, 1)
        return host.hear()["result"]["structuredContent"]

    with serving(config(broker), "cam"), ExitStack() as stack:
        with Typed(f"{broker.url}/cam") as host:
            assert asked(host) == {"text": "0"}
            assert host.end()[0] == 0
        busy = stack.enter_context(Typed(f"{broker.url}/cam", "--client-id", "busy"))
        busy.say("tools/call", {"name": "wait", "arguments": {}, "_meta": MODERN}, 1)
        busy.say("tools/list", {"_meta": MODERN}, 2)
        busy.hear()
        with Typed(f"{broker.url}/cam") as host:
            assert asked(host) == {"text": "1"}


def test_nobody_there_is_said_and_not_kept_silent(broker: OpenBroker, tmp_path: Path) -> None:
    brief = ("--wait", "1.5")
    with Typed(f"{broker.url}/cam", *brief) as nobody, Typed(f"unix://{tmp_path}/x/cam", *brief) as nothing:
        for host in (nobody, nothing):
            host.say("tools/list", {"_meta": MODERN}, 1)
        assert "cam is not on this broker" in nobody.hear()["error"]["message"]
        assert "no connection to a broker" in nothing.hear()["error"]["message"]


def test_a_message_too_large_for_the_broker_is_refused_by_its_id(tmp_path: Path) -> None:
    made = OpenBroker(tmp_path, "max_packet_size 20000")
    with running(made), serving(config(made), "cam"), Typed(f"{made.url}/cam") as host:
        host.say("tools/call", {"name": "echo", "arguments": {"text": "x" * 30000}, "_meta": MODERN}, 1)
        assert host.hear()["error"]["data"]["error"] == "TooLarge"
        host.line(b"this is no message")
        assert host.hear()["error"]["code"] == -32700
