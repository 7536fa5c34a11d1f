"""The demo's broker: mosquitto on loopback, with the shipped access rules, where it is installed.

On loopback nobody asks for certificates: a user name alone says who is who.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from edged import data
from edged.errors import EdgedError, Unreachable

if TYPE_CHECKING:
    from edged.links.mqtt.client import Device, MqttClient
    from edged.links.mqtt.config import MqttConfig

DEVICE: Final = "demo-device"
CLIENT: Final = "demo-agent"
START_TIMEOUT_S: Final = 20.0


class DemoBroker:
    """Its two doors, and who goes through them."""

    def __init__(self, device_port: int, client_port: int) -> None:
        self._device_port = device_port
        self._client_port = client_port

    @property
    def client_url(self) -> str:
        """Where clients connect."""
        return f"mqtt://127.0.0.1:{self._client_port}"

    @property
    def device_url(self) -> str:
        """What `--mqtt` takes."""
        return f"{self.client_url}/{DEVICE}"

    @property
    def settings(self) -> str:
        """What the device's config says of it."""
        return (
            f'[mqtt]\nbrokers = ["mqtt://127.0.0.1:{self._device_port}"]\n'
            f'id = "{DEVICE}"\nusername = "{DEVICE}"\n[access.principals]\n"mqtt:{CLIENT}" = "act"\n'
        )

    def discover(self) -> list[Device]:
        """Who is there."""
        from edged.links.mqtt.client import discover

        until = time.monotonic() + START_TIMEOUT_S
        while not (found := discover(self._config, CLIENT)):
            if time.monotonic() > until:
                raise Unreachable(f"the device did not appear on {self.client_url}")
        return found

    def client(self) -> MqttClient:
        """A connection to the device."""
        from edged.links.mqtt.client import MqttClient

        return MqttClient(self._config, DEVICE, CLIENT)

    @property
    def _config(self) -> MqttConfig:
        from edged.links.mqtt.config import MqttConfig

        return MqttConfig(brokers=(self.client_url,), username=CLIENT)


@contextlib.contextmanager
def running(home: Path, *, keep: bool) -> Iterator[DemoBroker | None]:
    """Run one in `home`; None, and why, where there is no mosquitto."""
    path = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/usr/local/sbin"
    if (program := shutil.which("mosquitto", path=path)) is None:
        print("· no mosquitto here, so nothing is asked across MQTT: apt-get install mosquitto", flush=True)
        yield None
        return
    home.mkdir(parents=True)
    ports = _free_port(), _free_port()
    print("· starting mosquitto on loopback, with the shipped access rules", flush=True)
    (home / "mosquitto.conf").write_text(_conf(*ports))
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(  # noqa: S603 - Debian's own mosquitto, on our own config
            [program, "-c", str(home / "mosquitto.conf")],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=keep,
        )
    try:
        _wait_until_up(process, ports[1], home / "log")
        yield DemoBroker(*ports)
        if keep:
            print(f"The broker runs on as process {process.pid}.")
    finally:
        if not keep or sys.exc_info()[0]:
            process.terminate()
            process.wait(timeout=START_TIMEOUT_S)


def _conf(device_port: int, client_port: int) -> str:
    rules = data.folder("systemd") / "mosquitto"
    doors = (
        f"listener {port} 127.0.0.1\nallow_anonymous true\nacl_file {rules / acl}\n"
        for port, acl in ((device_port, "devices.acl"), (client_port, "clients.acl"))
    )
    user = "" if os.getuid() else "user root\n"  # who else could not read the rules
    return f"{user}per_listener_settings true\nset_tcp_nodelay true\npersistence false\n{''.join(doors)}"


def _wait_until_up(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    until = time.monotonic() + START_TIMEOUT_S
    while process.poll() is None and time.monotonic() < until:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.02)
    raise EdgedError(f"mosquitto did not start:\n{log.read_text()[-2000:]}")


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port
