"""mosquitto as systemd/mosquitto has it, on loopback, with certificates of a test's own authorities."""

from __future__ import annotations

import functools
import shutil
from pathlib import Path

from edged.links.mqtt.config import MqttConfig
from tests.rig.broker import Broker, free_port
from tests.rig.certs import Authority, Identity

SHIPPED = Path(__file__).parents[2] / "systemd" / "mosquitto"
DEBIAN = "persistence true\npersistence_location {home}/\ninclude_dir {home}/conf.d\n"
"""What Debian's own mosquitto.conf says, less its log and its paths."""


class ShippedBroker(Broker):
    """One door for devices, one for clients, and a third, `admin`, that stands open, to look at what happens."""

    def __init__(self, home: Path) -> None:
        self.devices = Authority(home / "ca", "devices-ca")
        self.clients = Authority(home / "ca", "clients-ca")
        own = Authority(home / "ca", "broker-ca")
        self.ca = own.cert
        self.device_port, self.client_port, self.admin_port = (free_port() for _ in range(3))
        self._lay_out(home, own.server("127.0.0.1", "localhost"))
        super().__init__(home, DEBIAN, self.admin_port)

    def device(self, name: str = "dev-42") -> MqttConfig:
        """How the device of that name connects."""
        return self._config(self.device_port, self.devices, name)

    def client(self, name: str = "agent-7") -> MqttConfig:
        """How that client does."""
        return self._config(self.client_port, self.clients, name)

    @property
    def admin(self) -> MqttConfig:
        return MqttConfig(brokers=(f"mqtt://127.0.0.1:{self.admin_port}",))

    def _config(self, port: int, authority: Authority, name: str) -> MqttConfig:
        identity = issued(authority, name)
        return MqttConfig(
            brokers=(f"mqtts://127.0.0.1:{port}",),
            ca=str(self.ca),
            cert=str(identity.cert),
            key=str(identity.key),
        )

    def _lay_out(self, home: Path, server: Identity) -> None:
        """Copy what is shipped: only the paths and the ports are others."""
        etc = home / "edged"
        etc.mkdir()
        (home / "conf.d").mkdir()
        for name in ("devices.acl", "clients.acl"):
            shutil.copy(SHIPPED / name, etc / name)
        for source, name in (
            (self.devices.cert, "devices-ca.crt"),
            (self.clients.cert, "clients-ca.crt"),
            (server.cert, "broker.crt"),
            (server.key, "broker.key"),
        ):
            shutil.copy(source, etc / name)
        conf = (SHIPPED / "edged.conf").read_text().replace("/etc/mosquitto", str(home))
        conf = conf.replace("listener 8883", f"listener {self.device_port} 127.0.0.1")
        conf = conf.replace("listener 8884", f"listener {self.client_port} 127.0.0.1")
        conf += f"listener {self.admin_port} 127.0.0.1\nallow_anonymous true\n"
        (home / "conf.d" / "edged.conf").write_text(conf)


@functools.cache
def issued(authority: Authority, name: str) -> Identity:
    """One certificate a name."""
    return authority.client(name)
