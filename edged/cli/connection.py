"""Where the daemon's socket is, and the commands that only need that."""

from __future__ import annotations

import argparse
import os
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

from edged.cli.main import DEFAULT_CONFIG
from edged.errors import BadConfig

if TYPE_CHECKING:
    from edged.links.unix_client import UnixClient


def socket_path(arguments: argparse.Namespace) -> Path:
    """The MCP socket by --socket, $EDGED_SOCKET, the config's [paths] run, or the default."""
    if named := arguments.socket or os.environ.get("EDGED_SOCKET"):
        return Path(named)
    file = Path(arguments.config or DEFAULT_CONFIG)
    try:
        run = tomllib.loads(file.read_text()).get("paths", {}).get("run", "/run/edged")
    except (OSError, tomllib.TOMLDecodeError, AttributeError) as exc:
        if arguments.config:
            raise BadConfig(f"{file}: {exc}") from exc
        run = "/run/edged"
    return Path(str(run)) / "mcp.sock"


def client(arguments: argparse.Namespace) -> UnixClient:
    """A connection to the daemon."""
    from edged.links.unix_client import UnixClient

    return UnixClient(socket_path(arguments))


def stdio(arguments: argparse.Namespace) -> int:
    """Carry bytes between standard input, standard output and the daemon until either side ends."""
    from edged.links.stdio import pump

    return pump(socket_path(arguments))
