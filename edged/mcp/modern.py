"""The stateless era: 2026-07-28, chosen by each request's own envelope in `params._meta`.

Pure. Nothing is inferred from an earlier request or from the connection.
Source: basic/index.mdx ("Per-request protocol fields", error codes), basic/patterns/subscriptions.mdx.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
from msgspec import UNSET, UnsetType

from edged.mcp.jsonrpc import INVALID_PARAMS, Failure, Id
from edged.mcp.offers import LogLevel
from edged.mcp.revision import V2026_07_28

REVISION: Final = V2026_07_28
SUPPORTED: Final = (REVISION.version,)

VERSION_KEY: Final = "io.modelcontextprotocol/protocolVersion"
CAPABILITIES_KEY: Final = "io.modelcontextprotocol/clientCapabilities"
CLIENT_KEY: Final = "io.modelcontextprotocol/clientInfo"
SERVER_KEY: Final = "io.modelcontextprotocol/serverInfo"
LOG_LEVEL_KEY: Final = "io.modelcontextprotocol/logLevel"
SUBSCRIPTION_KEY: Final = "io.modelcontextprotocol/subscriptionId"

UNSUPPORTED_VERSION: Final = -32022
TASKS_EXTENSION: Final = "io.modelcontextprotocol/tasks"


class Implementation(msgspec.Struct, frozen=True, gc=False):
    """Who a client says it is; shown, never trusted."""

    name: str
    version: str


class Meta(
    msgspec.Struct,
    frozen=True,
    rename={
        "version": VERSION_KEY,
        "capabilities": CAPABILITIES_KEY,
        "client": CLIENT_KEY,
        "log_level": LOG_LEVEL_KEY,
        "progress_token": "progressToken",
    },
):
    """A request's `_meta`, in either era; the first three keys are the modern envelope."""

    version: str | UnsetType = UNSET
    capabilities: dict[str, Any] | UnsetType = UNSET
    client: Implementation | UnsetType = UNSET
    log_level: LogLevel | UnsetType = UNSET
    progress_token: Id | UnsetType = UNSET
    traceparent: str | None = None
    tracestate: str | None = None
    baggage: str | None = None


def check(meta: Meta) -> None:
    """Raise the Failure the specification gives for an envelope that is incomplete or of another version."""
    if meta.version not in SUPPORTED:
        data = {"supported": SUPPORTED, "requested": meta.version}
        raise Failure(UNSUPPORTED_VERSION, f"protocol version {meta.version!r} is not supported", data)
    if meta.capabilities is UNSET:
        raise Failure(INVALID_PARAMS, f"$._meta: {CAPABILITIES_KEY} is required, and missing")


def knows_tasks(meta: Meta) -> bool:
    """Whether this request declared the tasks extension."""
    if meta.version is UNSET or meta.capabilities is UNSET:
        return False
    extensions = meta.capabilities.get("extensions")
    return isinstance(extensions, dict) and TASKS_EXTENSION in extensions
