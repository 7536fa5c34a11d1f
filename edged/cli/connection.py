"""Where the daemon's socket is, and the commands that only need that."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING

from edged.cli.main import DEFAULT_CONFIG
from edged.errors import BadConfig

DEFAULT_RUN = "/run/edged"

if TYPE_CHECKING:
    from edged.links.unix_client import UnixClient
    from edged.mcp.client import Caller


def socket_path(arguments: argparse.Namespace) -> str:
    """The MCP socket by --socket, $EDGED_SOCKET, the config's [paths] run, or the default."""
    return (
        arguments.socket or os.environ.get("EDGED_SOCKET") or f"{_run_directory(arguments.config)}/mcp.sock"
    )


def _run_directory(config: str | None) -> str:
    file = config or DEFAULT_CONFIG
    if not config and not os.path.exists(file):  # noqa: PTH110 - pathlib costs the pump a tenth of its start
        return DEFAULT_RUN
    import tomllib

    try:
        with open(file, "rb") as opened:  # noqa: PTH123 - likewise
            return str(tomllib.load(opened).get("paths", {}).get("run", DEFAULT_RUN))
    except (OSError, tomllib.TOMLDecodeError, AttributeError) as exc:
        raise BadConfig(f"{file}: {exc}") from exc


def caller(arguments: argparse.Namespace) -> Caller:
    """A connection to the daemon here, or with --mqtt to a device across a broker."""
    if arguments.mqtt:
        from edged.cli import mqtt

        return mqtt.client(arguments)
    return client(arguments)


def client(arguments: argparse.Namespace) -> UnixClient:
    """A connection to the daemon here."""
    from edged.links.unix_client import UnixClient

    return UnixClient(socket_path(arguments))


def stdio(arguments: argparse.Namespace) -> int:
    """Carry bytes between standard input, standard output and the daemon until either side ends."""
    from edged.links.stdio import pump

    return pump(socket_path(arguments))
