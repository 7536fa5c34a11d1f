"""Devices across a broker: who is there (`edged discover`), one of them on standard streams (`edged bridge`)."""

from __future__ import annotations

import argparse
import secrets
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from edged.cli.tables import show, table
from edged.errors import BadArgument, BadConfig

if TYPE_CHECKING:
    from edged.links.mqtt.client import MqttClient
    from edged.links.mqtt.config import MqttConfig


def client(arguments: argparse.Namespace) -> MqttClient:
    """A connection to the device that --mqtt names."""
    from edged.links.mqtt.client import MqttClient

    config, device = _target(arguments, arguments.mqtt)
    return MqttClient(config, _named(device, arguments.mqtt), identity(arguments))


def bridge(arguments: argparse.Namespace) -> int:
    """Carry MCP between standard streams and a device, until the host says no more."""
    import logging

    from edged.links.mqtt.pump import pump

    logging.basicConfig(stream=sys.stderr, format="edged: %(message)s")
    config, device = _target(arguments, arguments.url)
    return pump(config, _named(device, arguments.url), identity(arguments), arguments.wait)


def discover(arguments: argparse.Namespace) -> int:
    """Show every device that is on a broker now."""
    import msgspec

    from edged.links.mqtt import client as mqtt

    config, device = _target(arguments, arguments.url)
    found = mqtt.discover(config, identity(arguments), arguments.wait)
    if device:
        found = [one for one in found if one.id == device]
    if arguments.json:
        show(msgspec.to_builtins(found), as_json=True)
        return 0
    rows = [[one.id, one.name, one.description, _span(one.versions)] for one in found]
    table("", ["device", "server", "what it is", "speaks"], rows)
    if not rows:
        print(
            "nobody is there, or you may not see who is: compare the broker's access rules", file=sys.stderr
        )
    return 0


def identity(arguments: argparse.Namespace) -> str:
    """Our MCP client id: --client-id, the name in --cert, --username, or one made up."""
    if arguments.client_id:
        return str(arguments.client_id)
    if arguments.cert:
        return _common_name(Path(arguments.cert))
    return str(arguments.username or f"edged-cli-{secrets.token_hex(4)}")


def _target(arguments: argparse.Namespace, url: str) -> tuple[MqttConfig, str]:
    from edged.links.mqtt.address import Address
    from edged.links.mqtt.config import MqttConfig

    try:
        broker, device = Address.parse(url).split()
        return MqttConfig(
            brokers=(broker,),
            ca=_absolute(arguments.ca),
            cert=_absolute(arguments.cert),
            key=_absolute(arguments.key),
            username=arguments.username or "",
            password_file=_absolute(arguments.password_file),
            plaintext=arguments.plaintext,
            prefix=arguments.prefix,
        ), device
    except ValueError as exc:
        raise BadConfig(f"edged: {exc}") from exc


def _named(device: str, url: str) -> str:
    if not device:
        raise BadArgument(
            f"{url} names no device: write {url.rstrip('/')}/DEVICE, one of `edged discover {url}`"
        )
    return device


def _absolute(file: str | None) -> str:
    return str(Path(file).absolute()) if file else ""


def _common_name(cert: Path) -> str:
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    try:
        subject = x509.load_pem_x509_certificate(cert.read_bytes()).subject
        return str(subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)
    except OSError as exc:
        raise BadConfig(f"edged: cannot read {cert}: {exc.strerror}") from exc
    except (ValueError, IndexError) as exc:
        raise BadConfig(f"edged: {cert} is no certificate with a common name") from exc


def _span(versions: list[str]) -> str:
    return f"{min(versions)} to {max(versions)}" if versions else ""
