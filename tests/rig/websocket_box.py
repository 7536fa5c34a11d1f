"""A broker with a WebSocket listener and a client, alone in a network of their own: `unshare --net` runs this.

mosquitto 2.0 ignores the address such a listener is told to bind to, so it must have no other network to listen on.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import socket
import struct
import sys
from pathlib import Path

from edged.links.mqtt.config import MqttConfig
from edged.links.mqtt.values import Publication
from tests.rig.broker import OpenBroker, running
from tests.rig.certs import Authority
from tests.rig.mqtt import online

_SIOCSIFFLAGS, _IFF_UP = 0x8914, 0x1  # linux/sockios.h, linux/if.h
SIZES = [0, 1, 125, 126, 127, 65536]


def loopback_up() -> None:
    """A new network has a loopback interface that is down."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        fcntl.ioctl(sock, _SIOCSIFFLAGS, struct.pack("16sH22x", b"lo", _IFF_UP))


async def echo(config: MqttConfig) -> dict[str, object]:
    """Everything of every size, there and back at once; what came back, and what the connection says of itself."""
    async with online(config, "x", name="webby") as line:
        sent = [Publication(topic="x", payload=bytes(size)) for size in SIZES]
        await asyncio.gather(*(line.connection.publish(one) for one in sent))
        heard = await line.ear.messages(len(SIZES))
        return {"sizes": [len(one.payload) for one in heard], "connects": line.connection.health.connects}


def main(home: Path) -> None:
    loopback_up()
    authority = Authority(home / "ca", "ca")
    server = authority.server("127.0.0.1")
    conf = (
        "listener 8080\nprotocol websockets\nallow_anonymous true\n"
        f"listener 8443\nprotocol websockets\nallow_anonymous true\ncertfile {server.cert}\nkeyfile {server.key}\n"
    )
    with running(OpenBroker(home / "broker", conf)):
        plain = MqttConfig(brokers=("ws://127.0.0.1:8080/mqtt",))
        encrypted = MqttConfig(brokers=("wss://127.0.0.1:8443/mqtt",), ca=str(authority.cert))
        print(json.dumps([asyncio.run(echo(config)) for config in (plain, encrypted)]))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
