"""mosquitto as systemd/mosquitto has it, on loopback, with certificates of a test's own authorities."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from edged.links.mqtt.config import MqttConfig
from tests.rig.broker import Broker, free_port
from tests.rig.certs import Authority, Identity

SHIPPED = Path(__file__).parents[2] / "systemd" / "mosquitto"
DEBIAN = "persistence true\npersistence_location {home}/\ninclude_dir {home}/conf.d\n"
"""What Debian's own mosquitto.conf says, less its log and its paths."""


class Ports(NamedTuple):
    """Where what listens: the door for devices, that for clients, and one that stands open to look at what happens."""

    device: int
    client: int
    admin: int


def lay_out(home: Path, certificates: Mapping[str, Path]) -> Ports:
    """Put the shipped files, and the certificates by their names there, into `home`: only paths and ports are others."""
    ports = Ports(free_port(), free_port(), free_port())
    etc = home / "edged"
    etc.mkdir()
    (home / "conf.d").mkdir()
    for name, source in (
        {name: SHIPPED / name for name in ("devices.acl", "clients.acl")} | dict(certificates)
    ).items():
        shutil.copy(source, etc / name)
    conf = (SHIPPED / "edged.conf").read_text().replace("/etc/mosquitto", str(home))
    conf = conf.replace("listener 8883", f"listener {ports.device} 127.0.0.1")
    conf = conf.replace("listener 8884", f"listener {ports.client} 127.0.0.1")
    conf += f"listener {ports.admin} 127.0.0.1\nallow_anonymous true\n"
    (home / "conf.d" / "edged.conf").write_text(conf)
    return ports


class ShippedBroker(Broker):
    """With authorities of its own."""

    def __init__(self, home: Path) -> None:
        self.devices = Authority(home / "ca", "devices-ca")
        self.clients = Authority(home / "ca", "clients-ca")
        own = Authority(home / "ca", "broker-ca")
        self.ca = own.cert
        server = own.server("127.0.0.1", "localhost")
        certificates = {
            "devices-ca.crt": self.devices.cert,
            "clients-ca.crt": self.clients.cert,
            "broker.crt": server.cert,
            "broker.key": server.key,
        }
        self._ports = lay_out(home, certificates)
        super().__init__(home, DEBIAN, self._ports.admin)

    @property
    def device_port(self) -> int:
        return self._ports.device

    @property
    def client_port(self) -> int:
        return self._ports.client

    def device(self, name: str = "dev-42") -> MqttConfig:
        """How the device of that name connects."""
        return self._config(self.device_port, self.devices, name)

    def client(self, name: str = "agent-7") -> MqttConfig:
        """How that client does."""
        return self._config(self.client_port, self.clients, name)

    @property
    def admin(self) -> MqttConfig:
        return MqttConfig(brokers=(f"mqtt://127.0.0.1:{self._ports.admin}",))

    def _config(self, port: int, authority: Authority, name: str) -> MqttConfig:
        identity = issued(authority, name)
        return MqttConfig(
            brokers=(f"mqtts://127.0.0.1:{port}",),
            ca=str(self.ca),
            cert=str(identity.cert),
            key=str(identity.key),
        )


@functools.cache
def issued(authority: Authority, name: str) -> Identity:
    """One certificate a name."""
    return authority.client(name)
