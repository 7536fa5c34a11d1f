"""CBOR in and out: what JSON says in base64 is bytes here, and everything else is the same.

Pure. The protocol itself is JSON-RPC and stays so: a message that came as CBOR is handed on as JSON text with its
large byte strings set aside, and an answer is put into CBOR from its text. Peers choose by Content Type.
"""

from __future__ import annotations

import binascii
from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple

import msgspec
import pybase64

from edged import cborwalk
from edged.errors import BadCbor
from edged.mcp.splice import LARGE_BYTES, Held, Splices, Unspent, splice

CONTENT_TYPE: Final = "application/cbor"
ITEMS_MAX: Final = 2048
"""Items of one message, rows of numbers aside: far more than any tool takes."""


class Incoming(NamedTuple):
    """A message to read: its text, the large strings set aside, and how to have it whole."""

    text: bytes
    splices: Splices | None
    whole: Callable[[], bytes]


def from_json(payload: bytes) -> Incoming:
    """A message that came as JSON."""
    text, splices = splice(payload, 0, len(payload)) or (payload, None)
    return Incoming(text, splices, lambda: payload)


def from_cbor(payload: bytes) -> Incoming:
    """A message that came as CBOR; raises BadCbor."""
    held = Held()

    def set_aside(members: dict[str, Any]) -> None:
        for key, value in members.items():
            if type(value) is bytes and len(value) > LARGE_BYTES:
                members[key] = held.hold(value)

    large = len(payload) > LARGE_BYTES
    message = _decoded(payload, set_aside if large else None)
    return Incoming(_text(message), held or None, lambda: _text(_decoded(payload, None)))


def to_cbor(text: bytes) -> bytes:
    """A message of ours, as CBOR."""
    import cbor2  # noqa: PLC0415 - a device to which nobody speaks CBOR does without

    return cbor2.dumps(_with_bytes(text))


def _decoded(payload: bytes, each_map: Callable[[dict[str, Any]], None] | None) -> Any:
    return cborwalk.decode(payload, items_max=ITEMS_MAX, text_keys=True, each_map=each_map)


def _text(message: object) -> bytes:
    try:
        return msgspec.json.encode(message)
    except (OverflowError, msgspec.MsgspecError, ValueError) as exc:
        raise BadCbor(f"not JSON: {exc}") from exc


def _with_bytes(text: bytes) -> Any:
    """The message in a text, bytes where it has base64; large strings are decoded where they lie."""
    if spliced := splice(text, 0, len(text)):
        short, splices = spliced
        message = msgspec.json.decode(short)
        try:
            _replace(message, lambda string: splices.spend(string) or _decode(string))
        except Unspent:
            pass
        else:
            if not splices:
                return message
    message = msgspec.json.decode(text)
    _replace(message, _decode)
    return message


def _decode(string: str) -> bytes:
    try:
        return pybase64.b64decode(string, validate=True)
    except (binascii.Error, ValueError):
        raise Unspent from None


def _replace(message: Any, decode: Callable[[str], bytes]) -> None:
    for holder in _holders(message.get("result") if isinstance(message, dict) else None):
        for key in ("data", "blob"):
            if isinstance(holder.get(key), str):
                holder[key] = decode(holder[key])


def _holders(result: Any) -> Iterable[dict[str, Any]]:
    """Every object in a result whose `data` or `blob` is base64."""
    if not isinstance(result, dict):
        return
    yield from _objects(result.get("contents"))
    blocks = [*_objects(result.get("content"))]
    blocks += [
        turn["content"] for turn in _objects(result.get("messages")) if isinstance(turn["content"], dict)
    ]
    for block in blocks:
        if block.get("type") in ("image", "audio"):
            yield block
        elif isinstance(block.get("resource"), dict):
            yield block["resource"]
    yield from _holders(result.get("result"))  # a task's


def _objects(items: Any) -> list[dict[str, Any]]:
    return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []
