"""The command line of MQTT's client side."""

from __future__ import annotations

import argparse


def mqtt(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """`edged bridge` and `edged discover`."""
    bridge = commands.add_parser(
        "bridge", help="connect standard input and output to a device across MQTT, for MCP hosts"
    )
    bridge.add_argument("url", metavar="URL", help="mqtts://broker/DEVICE")
    bridge.add_argument(
        "--wait",
        type=float,
        default=10.0,
        metavar="S",
        help="seconds to wait for an absent device (default 10)",
    )
    bridge.set_defaults(run="edged.cli.mqtt:bridge")
    discover = commands.add_parser("discover", help="list the devices on an MQTT broker")
    discover.add_argument("url", metavar="URL", help="mqtts://broker")
    discover.add_argument(
        "--wait",
        type=float,
        default=0.5,
        metavar="S",
        help="seconds of silence after the last one (default 0.5)",
    )
    discover.add_argument("--json", action="store_true", help="print as JSON")
    discover.set_defaults(run="edged.cli.mqtt:discover")
    for command in (bridge, discover):
        _broker(command)


def across(command: argparse.ArgumentParser) -> None:
    """What a command takes to ask a device across a broker instead of the daemon here."""
    command.add_argument(
        "--mqtt", default=None, metavar="URL", help="a device across MQTT: mqtts://broker/DEVICE"
    )
    _broker(command)


def _broker(command: argparse.ArgumentParser) -> None:
    group = command.add_argument_group("the MQTT broker")
    group.add_argument("--ca", metavar="FILE", help="PEM of the authority that signed its certificate")
    group.add_argument("--cert", metavar="FILE", help="PEM of your certificate")
    group.add_argument("--key", metavar="FILE", help="PEM of its key, where it is not in the same file")
    group.add_argument("--username", metavar="NAME", help="default: none; a certificate says who you are")
    group.add_argument("--password-file", metavar="FILE", help="where the password is")
    group.add_argument(
        "--client-id", metavar="NAME", help="your id in the topics (default: as in --cert, or --username)"
    )
    group.add_argument(
        "--prefix", default="$", metavar="TEXT", help="what the topics of MCP begin with (default $)"
    )
    group.add_argument("--plaintext", action="store_true", help="let mqtt:// and ws:// leave this machine")
