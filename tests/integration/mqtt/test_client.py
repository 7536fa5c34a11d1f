"""`edged call --mqtt`, `edged discover` and what they stand on, through the shipped broker."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from edged.cli.main import main
from edged.errors import DeadlineExceeded, NotAllowed, NotFound, Unreachable
from edged.links.mqtt.client import MqttClient, discover
from edged.links.mqtt.config import MqttConfig
from edged.mcp.client import RpcError
from edged.mcp.config import AccessConfig
from tests.rig.broker import OpenBroker, free_port, running
from tests.rig.mqtt_device import serving
from tests.rig.shipped import ShippedBroker

ACCESS = AccessConfig(principals={"mqtt:agent-7": "act"})


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ShippedBroker]:
    made = ShippedBroker(tmp_path_factory.mktemp("broker"))
    with running(made), serving(made.device(), "dev-42", ACCESS), serving(made.device("dev-43"), "dev-43"):
        yield made


@pytest.fixture
def device(broker: ShippedBroker) -> Iterator[MqttClient]:
    with MqttClient(broker.client(), "dev-42", "agent-7") as client:
        yield client


def test_a_tool_is_called_with_the_tier_that_the_certificate_has(
    broker: ShippedBroker, device: MqttClient
) -> None:
    assert "paint" in {tool["name"] for tool in device.list_tools()}
    painted = device.call_tool("paint")
    assert painted.images[0][1] == "image/png"
    with MqttClient(broker.client("agent-8"), "dev-42", "agent-8") as other:
        assert "paint" not in {tool["name"] for tool in other.list_tools()}
        assert other.call_tool("echo", {"text": "hi"}).text == "hi"


def test_progress_comes_before_the_answer(device: MqttClient) -> None:
    steps: list[float] = []
    device.call_tool("count", {"steps": 3}, on_progress=lambda progress: steps.append(progress.done))
    assert steps == sorted(steps)
    assert len(steps) > 0


def test_errors_are_those_that_the_device_says(device: MqttClient) -> None:
    with pytest.raises(RpcError):
        device.request("no/such/method")
    assert device.call_tool("refuse").is_error


def test_a_call_that_takes_too_long_is_cancelled_there(device: MqttClient) -> None:
    with pytest.raises(DeadlineExceeded):
        device.call_tool("wait", timeout_s=0.3)
    while device.call_tool("waiting").text != "0":
        pass


def test_two_calls_that_say_the_same_are_two_calls(device: MqttClient, broker: ShippedBroker) -> None:
    with MqttClient(broker.client(), "dev-42", "agent-7") as other:
        first, second = (one._client.request("ping", {})[0] for one in (device, other))
        assert first != second
        assert [one.call_tool("echo", {"text": "x"}).text for one in (device, other)] == ["x", "x"]


def test_whoever_speaks_under_another_name_is_told_so(broker: ShippedBroker) -> None:
    with MqttClient(broker.client(), "dev-42", "boss") as forger, pytest.raises(NotAllowed, match="as boss"):
        forger.list_tools()


def test_a_device_that_is_not_there_is_named(broker: ShippedBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edged.links.mqtt.client.FIND_S", 0.2)
    with pytest.raises(NotFound, match="dev-99"):
        MqttClient(broker.client(), "dev-99", "agent-7")


def test_a_broker_that_is_not_there_is_named() -> None:
    url = f"mqtt://127.0.0.1:{free_port()}"
    with pytest.raises(Unreachable, match=url):
        MqttClient(MqttConfig(brokers=(url,)), "dev-42", "agent-7")


def test_a_device_that_goes_away_while_it_is_asked_is_no_silence(tmp_path: Path) -> None:
    made = OpenBroker(tmp_path)
    config = MqttConfig(brokers=(made.url,), grace_s=0.1)
    with running(made):
        with serving(config, "cam"):
            client = MqttClient(config, "cam", "me")
        with client, pytest.raises(Unreachable, match="went away"):
            client.list_tools()


def test_an_answer_too_large_for_the_broker_arrives_in_parts(tmp_path: Path) -> None:
    made = OpenBroker(tmp_path, "max_packet_size 6000")
    config = MqttConfig(brokers=(made.url,))
    with running(made), serving(config, "cam"), MqttClient(config, "cam", "me") as client:
        said = client.call_tool("echo", {"text": "0123456789" * 300, "times": 9})
        assert not said.is_error
        assert said.text == "0123456789" * 2700
        assert said.structured == {"text": "0123456789" * 2700}


def test_everybody_on_the_broker_is_found(broker: ShippedBroker) -> None:
    found = discover(broker.client(), "agent-7")
    assert [(one.id, one.name) for one in found] == [("dev-42", "edged/vision"), ("dev-43", "edged/vision")]
    assert "2026-07-28" in found[0].versions


def options(broker: ShippedBroker, name: str = "agent-7") -> list[str]:
    config = broker.client(name)
    return ["--ca", config.ca, "--cert", config.cert, "--key", config.key]


def test_the_commands_take_their_name_from_the_certificate(
    broker: ShippedBroker, capsys: pytest.CaptureFixture[str]
) -> None:
    url = broker.client().brokers[0]
    assert main(["discover", url, "--json", *options(broker)]) == 0
    assert [one["id"] for one in json.loads(capsys.readouterr().out)] == ["dev-42", "dev-43"]
    assert main(["discover", f"{url}/dev-43", *options(broker)]) == 0
    assert "dev-43" in (shown := capsys.readouterr().out)
    assert "dev-42" not in shown
    call = ["call", "--mqtt", f"{url}/dev-42", "echo", "--arg", "text=hello", "--json", *options(broker)]
    assert main(call) == 0
    assert json.loads(capsys.readouterr().out) == {"text": "hello"}


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("mqtt://broker.lan/dev-42", "not encrypted"),
        ("http://broker.lan/dev-42", "not one of"),
        ("mqtts://me:secret@broker.lan/x", "settings of their own"),
        ("mqtts://broker.lan", "names no device"),
    ],
)
def test_a_url_of_no_use_is_refused_before_anything_is_tried(
    url: str, complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["call", "--mqtt", url, "echo"]) in {1, 2}
    said = capsys.readouterr().err
    assert complaint in said
    assert "secret" not in said


def test_a_certificate_that_is_none_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x.crt").write_text("nothing")
    for file in ("x.crt", "y.crt"):
        given = ["call", "--mqtt", "mqtts://127.0.0.1/dev-42", "--cert", str(tmp_path / file)]
        assert main(given) == 2
        assert file in capsys.readouterr().err
