"""What callers may say about an input, as Structs that are also the tools' JSON Schemas."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from edged.errors import BadArgument, NotAllowed, NotFound, TooLarge
from edged.mcp.catalog import Blob, Call
from edged.tools.mappings import Mappings

Handle = Annotated[str, Meta(max_length=32)]
FilePath = Annotated[str, Meta(max_length=4096)]
Count = Annotated[int, Meta(ge=1)]
Rate = Annotated[int, Meta(ge=8000, le=192_000)]
Side = Annotated[int, Meta(ge=1, le=16384)]


class Bytes(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where bytes are: in `data`, in a registered `mapping`, or in a file at `path`; exactly one."""

    data: Annotated[Blob | None, Meta(description="The bytes, base64")] = None
    mapping: Annotated[
        Handle | None, Meta(description="Handle of a mapping registered on this connection")
    ] = None
    offset: Annotated[int, Meta(ge=0, description="Where the bytes begin in the mapping")] = 0
    length: Annotated[
        Count | None, Meta(description="How many bytes of the mapping; default: to its end")
    ] = None
    path: Annotated[
        FilePath | None, Meta(description="A file on the device, under a root its config allows")
    ] = None


class ImageArgument(Bytes, frozen=True, kw_only=True):
    """A picture: JPEG, PNG, WebP, BMP or GIF; or raw pixels, with layout, width and height."""

    layout: Annotated[
        Literal["rgb", "bgr", "rgba", "gray", "nv12", "yuyv"] | None,
        Meta(description="Of raw pixels, C order, 8 bit; absent for an encoded picture"),
    ] = None
    width: Side | None = None
    height: Side | None = None


class AudioArgument(Bytes, frozen=True, kw_only=True):
    """A recording: WAV; or raw signed 16-bit little-endian mono samples, with rate_hz."""

    rate_hz: Annotated[Rate | None, Meta(description="Of raw samples; absent for WAV")] = None


class Sources:
    """Resolves where bytes are, within what the config and the peer's connection allow."""

    def __init__(self, mappings: Mappings, roots: list[str], file_max_bytes: int) -> None:
        self._mappings = mappings
        self._roots = [Path(root).resolve() for root in roots]
        self._file_max_bytes = file_max_bytes

    def resolve(
        self, call: Call, argument: Bytes, path: str, length: int | None = None
    ) -> bytes | memoryview:
        """Return the bytes an argument names; `path` is the argument's own, for the error.

        Bytes in a mapping are a read-only view that its owner can still change: copy before parsing.
        """
        given = [name for name in ("data", "mapping", "path") if getattr(argument, name) is not None]
        if len(given) != 1:
            raise BadArgument(
                f"{path}: give exactly one of data, mapping, path; got {', '.join(given) or 'none'}"
            )
        if argument.data is not None:
            return argument.data.data
        if argument.mapping is not None:
            return self._mappings.view(
                call.peer, argument.mapping, argument.offset, argument.length or length
            )
        return self._read(str(argument.path), path)

    def _read(self, name: str, path: str) -> bytes:
        try:
            real = Path(name).resolve(strict=True)
        except (OSError, ValueError, RuntimeError) as exc:
            raise NotFound(f"{path}.path: no such file under the allowed roots") from exc
        if not any(real.is_relative_to(root) for root in self._roots):
            raise NotAllowed(f"{path}.path: outside inference.input_roots of the config")
        return _read_regular(real, self._file_max_bytes, path)


def _read_regular(real: Path, max_bytes: int, path: str) -> bytes:
    try:
        descriptor = os.open(real, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as exc:
        raise NotFound(f"{path}.path: cannot be read: {exc.strerror}") from exc
    with os.fdopen(descriptor, "rb") as file:
        if not os.path.isfile(f"/proc/self/fd/{file.fileno()}"):  # noqa: PTH113 - the descriptor, not the name
            raise NotAllowed(f"{path}.path: not a regular file")
        raw = file.read(max_bytes + 1)
    if len(raw) > max_bytes:
        raise TooLarge(f"{path}.path: larger than {max_bytes} bytes")
    return raw
