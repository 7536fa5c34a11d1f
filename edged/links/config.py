"""Settings of the links."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta


class UnixConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The Unix socket `<run>/mcp.sock`. Group and mode do not apply to a socket that systemd hands over."""

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
    descriptors_max: Annotated[int, Meta(ge=0, le=64)] = 8
    """File descriptors a peer may have passed that nothing has taken yet. Default: a ring of mappings."""
    linger_s: Annotated[float, Meta(gt=0)] = 30.0
    """Seconds a peer that stopped sending has to take its last answers. Default: slow pipes over ssh."""
    grace_s: Annotated[float, Meta(ge=0)] = 5.0
    """Seconds that running calls get to finish when the daemon stops. Default: longer than any inference."""
