"""The daemon's whole config: each room's Struct, composed; loaded and checked in one place.

`edged check-config --defaults` prints it as a commented TOML file, made from these Structs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import msgspec

from edged.audit.config import AuditConfig
from edged.checking import Problem, parse
from edged.errors import BadConfig
from edged.inference.config import InferenceConfig
from edged.jobs import JobsConfig
from edged.keys.config import KeysConfig
from edged.links.config import HttpConfig, UnixConfig
from edged.links.mqtt.config import MqttConfig
from edged.mcp.config import AccessConfig, McpConfig
from edged.power.config import PowerConfig

FILE_MAX_BYTES = 1 << 20

LIVE = frozenset({"access", "log"})
"""Tables that a running daemon takes over at a reload; the others wait for a restart."""

Absolute = Annotated[str, msgspec.Meta(pattern="^/")]


class PathsConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the daemon keeps things; systemd makes these directories."""

    state: Absolute = "/var/lib/edged"
    """Models and everything that must survive: backed up, never cleaned."""
    cache: Absolute = "/var/cache/edged"
    """Compiled kernels: rebuilt when missing."""
    run: Absolute = "/run/edged"
    """The MCP socket, mcp.sock; http.sock where it is enabled; and nothing that outlives a boot."""


class LogConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What goes to standard error, and so to the journal."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """debug also logs every refused call."""


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Every table of edged.toml."""

    paths: PathsConfig = PathsConfig()
    unix: UnixConfig = UnixConfig()
    http: HttpConfig = HttpConfig()
    mqtt: MqttConfig = MqttConfig()
    mcp: McpConfig = McpConfig()
    access: AccessConfig = AccessConfig()
    jobs: JobsConfig = JobsConfig()
    inference: InferenceConfig = InferenceConfig()
    power: PowerConfig = PowerConfig()
    keys: KeysConfig = KeysConfig()
    audit: AuditConfig = AuditConfig()
    log: LogConfig = LogConfig()

    @property
    def socket(self) -> Path:
        """The MCP socket."""
        return Path(self.paths.run) / "mcp.sock"

    @property
    def http_socket(self) -> Path:
        """Where MCP is spoken over HTTP."""
        return Path(self.paths.run) / "http.sock"


def load(path: Path) -> Config:
    """The config in a file; BadConfig with every problem, each with its path and line."""
    config, problems = parse(_read(path), Config)
    if config is None:
        raise BadConfig("\n".join(f"{path}: {problem}" for problem in problems))
    return config


def check(path: Path) -> list[Problem]:
    """Every problem of a config file; empty where it is right."""
    return parse(_read(path), Config)[1]


def changes(before: Config, after: Config) -> set[str]:
    """The tables in which two configs differ."""
    return {name for name in Config.__struct_fields__ if getattr(before, name) != getattr(after, name)}


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            raw = file.read(FILE_MAX_BYTES + 1)
    except OSError as exc:
        raise BadConfig(f"{path}: cannot be read: {exc.strerror}") from exc
    if len(raw) > FILE_MAX_BYTES:
        raise BadConfig(f"{path}: larger than {FILE_MAX_BYTES} bytes, so not a config")
    try:
        return raw.decode()
    except UnicodeDecodeError as exc:
        raise BadConfig(f"{path}: not UTF-8 at byte {exc.start}") from exc
