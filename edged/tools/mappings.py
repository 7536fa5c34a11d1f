"""Memory that a local peer shares once and then names by handle.

`edged/mapping/register` takes one descriptor sent with it over SCM_RIGHTS. The memory must be sealed against
shrinking, else its owner could truncate it and kill this process with SIGBUS on the next read. The owner may
go on writing: a frame read while it is written is torn, never dangerous, since raw frames are only arithmetic.
"""

from __future__ import annotations

import fcntl
import mmap
import os
from functools import partial
from typing import Annotated

import msgspec
from msgspec import Meta

from edged.errors import BadArgument, NotFound, TooLarge
from edged.mcp.catalog import Call, Method, Peer, Tier

PER_PEER = 16
MAX_BYTES = 1 << 28


class Register(msgspec.Struct, frozen=True, kw_only=True):
    """What the owner says of the memory it shares."""

    bytes: Annotated[int, Meta(ge=1, le=MAX_BYTES)]


class Registered(msgspec.Struct, frozen=True, kw_only=True):
    """The name to use from now on, on this connection only."""

    handle: str
    bytes: int


class Mappings:
    """Every peer's mappings; they die with its connection."""

    def __init__(self) -> None:
        self._of_peer: dict[Peer, dict[str, mmap.mmap]] = {}

    def method(self) -> Method:
        """The method that registers one."""
        return Method(params=Register, handler=self._register, tier=Tier.ACT)

    def view(self, peer: Peer, handle: str, offset: int, length: int | None) -> memoryview:
        """Return `length` bytes (all that follow, where None) of a registered mapping, read-only."""
        mapping = self._of_peer.get(peer, {}).get(handle)
        if mapping is None:
            raise NotFound(
                f"no mapping {handle!r} on this connection; register one with edged/mapping/register"
            )
        end = len(mapping) if length is None else offset + length
        if end > len(mapping) or offset > end:
            raise BadArgument(
                f"$.offset: bytes {offset} to {end} lie outside the mapping of {len(mapping)} bytes"
            )
        return memoryview(mapping)[offset:end]

    def _register(self, call: Call, params: Register) -> Registered:
        descriptor = call.peer.take_descriptor()
        if descriptor is None:
            raise BadArgument("no descriptor came with the request; send a sealed memfd with SCM_RIGHTS")
        try:
            mapping = _map(descriptor, params.bytes)
        finally:
            os.close(descriptor)
        if call.peer not in self._of_peer:
            self._of_peer[call.peer] = {}
            call.peer.on_close(partial(self._forget, call.peer))
        own = self._of_peer[call.peer]
        if len(own) >= PER_PEER:
            raise TooLarge(f"{PER_PEER} mappings on one connection are the most; reuse one, or reconnect")
        handle = f"m{len(own) + 1}"
        own[handle] = mapping
        return Registered(handle=handle, bytes=params.bytes)

    def _forget(self, peer: Peer) -> None:
        self._of_peer.pop(peer, None)


def _map(descriptor: int, length: int) -> mmap.mmap:
    try:
        seals = fcntl.fcntl(descriptor, fcntl.F_GET_SEALS)
    except OSError as exc:
        raise BadArgument("the descriptor is not a memfd made with MFD_ALLOW_SEALING") from exc
    if not seals & fcntl.F_SEAL_SHRINK:
        raise BadArgument("the memfd is not sealed with F_SEAL_SHRINK; seal it before registering")
    if os.fstat(descriptor).st_size < length:
        raise BadArgument(f"$.bytes: the memfd holds fewer than {length} bytes")
    try:
        return mmap.mmap(descriptor, length, prot=mmap.PROT_READ)
    except (OSError, ValueError) as exc:
        raise BadArgument(f"the memfd cannot be mapped: {exc}") from exc
