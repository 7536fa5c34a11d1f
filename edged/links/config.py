"""Settings of the links."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

HostName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9._\[\]:-]+$(?!\n)", max_length=255)]


class SocketConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A socket under `<run>`. Group and mode do not apply to a socket that systemd hands over."""

    group: str = "edged"
    """Group that owns the socket; its members get the tier `act`. Where there is no such group, or the daemon
    may not give it the socket, the socket is its own user's alone. Default: the group the package creates."""
    mode: Annotated[int, Meta(ge=0, le=0o777)] = 0o660
    """Permission bits. Default: the daemon's user and the group."""
    backlog: Annotated[int, Meta(ge=1, le=4096)] = 128
    """Connections the kernel keeps waiting. Default: what a burst of local clients needs."""
    peers_max: Annotated[int, Meta(ge=1, le=4096)] = 128
    """Connections at once; one more is told so and closed. Default: far above what one board's agents use."""
    reserved_peers: Annotated[int, Meta(ge=0, le=64)] = 4
    """How many of those only operators may take, so that they always can. Default: a few shells."""
    grace_s: Annotated[float, Meta(ge=0)] = 5.0
    """Seconds that running calls get to finish when the daemon stops. Default: longer than any inference."""


class UnixConfig(SocketConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The Unix socket `<run>/mcp.sock`. Group and mode do not apply to a socket that systemd hands over."""

    descriptors_max: Annotated[int, Meta(ge=0, le=64)] = 8
    """File descriptors a peer may have passed that nothing has taken yet. Default: a ring of mappings."""
    linger_s: Annotated[float, Meta(gt=0)] = 30.0
    """Seconds a peer that stopped sending has to take its last answers. Default: slow pipes over ssh."""


class HttpConfig(SocketConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """MCP's Streamable HTTP on the Unix socket `<run>/http.sock`, for hosts that speak nothing else.

    A socket that systemd hands over is served whether or not `enabled` says so.
    """

    enabled: bool = False
    """Whether to listen. Default: no; hosts that speak stdio need only `edged stdio`."""
    hosts: tuple[HostName, ...] = ()
    """Names beside localhost that a Host or Origin header may carry, without a port: those of a proxy in
    front. Default: none, so that no web page can reach the device by rebinding a name."""
    head_max_bytes: Annotated[int, Meta(ge=4096, le=1_048_576)] = 32 * 1024
    """Request line and header fields together. Default: far above what MCP's own headers need."""
    request_s: Annotated[float, Meta(gt=0)] = 30.0
    """Seconds from a request's first byte to its last. Default: a camera frame over a slow tunnel."""
    idle_s: Annotated[float, Meta(gt=0)] = 75.0
    """Seconds a connection may stay without a request. Default: above what clients keep theirs for."""
    keepalive_s: Annotated[float, Meta(gt=0)] = 15.0
    """Seconds of silence after which a stream says that it lives. Default: below every common time-out."""
    sessions_max: Annotated[int, Meta(ge=1, le=4096)] = 128
    """Sessions of handshake clients, of all principals. Default: as many as connections."""
    sessions_per_principal: Annotated[int, Meta(ge=1, le=4096)] = 32
    """Sessions of one principal; the one idle longest makes room. Default: a developer's many hosts."""
    session_idle_s: Annotated[float, Meta(gt=0)] = 1800.0
    """Seconds after which a session nobody uses ends. Default: half an hour, then hosts begin a new one."""
    replay_max_bytes: Annotated[int, Meta(ge=0, le=67_108_864)] = 1024 * 1024
    """Bytes of sent messages that one session keeps for a client that lost its connection. Default: the
    answers of a few calls."""
    poll_after_s: Annotated[float, Meta(ge=0)] = 0.0
    """Seconds after which a handshake client's waiting stream is closed, for it to ask again. Default: 0,
    never: an open Unix socket costs little."""
    retry_ms: Annotated[int, Meta(ge=0, le=60_000)] = 500
    """Milliseconds such a client is told to wait before it asks again. Default: hardly noticed, no load."""
