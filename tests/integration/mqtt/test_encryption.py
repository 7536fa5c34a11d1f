"""Who is let in, whom we trust, and MQTT inside TLS and WebSocket."""

from __future__ import annotations

import asyncio
import json
import ssl
import subprocess
import sys
from pathlib import Path

import pytest

from edged.errors import EdgedError
from edged.links.mqtt.config import MqttConfig
from edged.links.mqtt.connection import Connection
from edged.links.mqtt.tls import PemFiles
from edged.links.mqtt.values import Publication
from tests.rig.broker import OpenBroker, free_port, running
from tests.rig.certs import Authority
from tests.rig.mqtt import Ear, online
from tests.rig.websocket_box import SIZES

CHECKOUT = Path(__file__).parents[3]


def refusal(config: MqttConfig) -> str:
    """Why one try does not succeed."""

    async def scenario() -> None:
        connection = Connection(config, "me", Ear())
        session, _ = await connection._connect(0, connection._hello, (), print)
        await session.close(0)

    with pytest.raises(EdgedError) as caught:
        asyncio.run(scenario())
    return caught.value.message


class Encrypted(OpenBroker):
    """Asks for a certificate, and has one for `hosts`."""

    def __init__(self, home: Path, *hosts: str) -> None:
        self.authority = Authority(home / "ca", "ca")
        self.identity = self.authority.server(*hosts)
        self.tls_port = free_port()
        super().__init__(
            home,
            f"listener {self.tls_port} 127.0.0.1\nallow_anonymous true\ncafile {self.authority.cert}\n"
            f"certfile {self.identity.cert}\nkeyfile {self.identity.key}\nrequire_certificate true",
        )

    def config(self, host: str, cert: str = "", key: str = "") -> MqttConfig:
        url = f"mqtts://{host}:{self.tls_port}"
        return MqttConfig(brokers=(url,), ca=str(self.authority.cert), cert=cert, key=key)


def test_with_the_right_certificates_everything_passes_in_tls(tmp_path: Path) -> None:
    broker = Encrypted(tmp_path, "127.0.0.1", "localhost")
    device = broker.authority.client("dev-42")

    async def scenario(host: str) -> None:
        config = broker.config(host, cert=str(device.cert), key=str(device.key))
        async with online(config, "x") as line:
            for size in (0, 16384, 900_000):
                line.connection.publish_from_thread(Publication(topic="x", payload=bytes(size)))
            assert [len(one.payload) for one in await line.ear.messages(3)] == [0, 16384, 900_000]
            assert line.connection._session
            assert line.connection._session._wire._sock.version() == "TLSv1.3"  # type: ignore[attr-defined] # TLS

    with running(broker):
        asyncio.run(scenario("127.0.0.1"))
        asyncio.run(scenario("localhost"))


def test_whoever_is_not_who_it_should_be_is_refused_and_said_so(tmp_path: Path) -> None:
    broker = Encrypted(tmp_path / "a", "localhost")
    stranger = Authority(tmp_path / "b", "ca")
    device, forged = broker.authority.client("dev-42"), stranger.client("dev-42")
    with running(broker):
        assert "IP address mismatch" in refusal(
            broker.config("127.0.0.1", cert=str(device.cert), key=str(device.key))
        )
        assert "certificate required" in refusal(broker.config("localhost"))
        assert "unknown ca" in refusal(broker.config("localhost", cert=str(forged.cert), key=str(forged.key)))
        other = MqttConfig(brokers=broker.config("localhost").brokers, ca=str(stranger.cert))
        assert "not to be trusted" in refusal(other)
        public = MqttConfig(brokers=broker.config("localhost").brokers)
        assert "not to be trusted" in refusal(public)


def test_older_encryption_is_refused(tmp_path: Path) -> None:
    authority = Authority(tmp_path, "ca")
    identity = authority.server("127.0.0.1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(identity.cert, identity.key)
    context.maximum_version = ssl.TLSVersion.TLSv1_2

    async def scenario() -> None:
        async with await asyncio.start_server(lambda *_: None, "127.0.0.1", 0, ssl=context) as server:
            port = server.sockets[0].getsockname()[1]
            config = MqttConfig(brokers=(f"mqtts://127.0.0.1:{port}",), ca=str(authority.cert))
            connection = Connection(config, "me", Ear())
            with pytest.raises(EdgedError, match="EOF|protocol version"):
                await connection._connect(0, connection._hello, (), print)

    asyncio.run(scenario())


def test_files_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    device = Authority(tmp_path, "ca").client("dev-42")
    other = Authority(tmp_path / "other", "ca").client("dev-42")
    for files, name in (
        (PemFiles(ca=tmp_path / "nothing"), "nothing"),
        (PemFiles(ca=device.key), "dev-42.key"),
        (PemFiles(ca=tmp_path / "ca.crt", cert=device.cert, key=other.key), "dev-42.crt"),
    ):
        with pytest.raises(EdgedError, match=name):
            files.context()


def test_a_password_lets_in_and_a_wrong_one_does_not(tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text("correct horse\n")
    subprocess.run(
        ["mosquitto_passwd", "-b", "-c", str(tmp_path / "passwords"), "dev-42", "correct horse"],
        check=True, capture_output=True,
    )  # fmt: skip
    port = free_port()
    conf = f"per_listener_settings true\nlistener {port} 127.0.0.1\nallow_anonymous false\npassword_file {{home}}/../passwords"

    async def scenario(config: MqttConfig) -> None:
        async with online(config, "x") as line:
            await line.say("x")

    with running(OpenBroker(tmp_path / "broker", conf)):
        config = MqttConfig(
            brokers=(f"mqtt://127.0.0.1:{port}",), username="dev-42", password_file=str(secret)
        )
        asyncio.run(scenario(config))
        secret.write_text("wrong")
        assert "Not authorized" in refusal(config)
        secret.unlink()
        assert str(secret) in refusal(config)


def test_everything_of_every_size_passes_in_websockets_plain_and_encrypted(tmp_path: Path) -> None:
    done = subprocess.run(
        ["unshare", "--net", "--map-root-user", sys.executable, "-m", "tests.rig.websocket_box", str(tmp_path)],
        check=False, capture_output=True, text=True, timeout=100, cwd=CHECKOUT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [{"sizes": SIZES, "connects": 1}] * 2
