"""An answer that is more than the broker or its client takes: made to fit, or replaced by one that says so.

Pure. What a tool returned beside its structured result (pictures above all) becomes links, the largest first. Where
that is not enough the answer says that it is too large and where its text lies. Brokers drop what is too large
without a word to either side, so nothing like that may be sent.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

import msgspec
import pybase64

from edged.errors import TooLarge
from edged.links.mqtt.mcp.results import Held
from edged.mcp.jsonrpc import Failure, error_body

TOO_LARGE: Final = -31001
"""Our own code, beside `jsonrpc.BUSY`."""
LIMIT_PROPERTY: Final = "EDGED-MAX-PACKET-BYTES"
"""User property of a request: the Maximum Packet Size that its client told the broker."""
LIMIT_MIN_BYTES: Final = 4096
OVERHEAD_BYTES: Final = 256
"""What the head of a PUBLISH takes beside its topic, at most: properties of ours and correlation data."""

_SMALL_BYTES: Final = 1024  # content that stays where it is
_ENVELOPE_BYTES: Final = 1024  # a resource's URI, type, and the answer around it
_encode = msgspec.json.Encoder().encode


class Room(NamedTuple):
    """What an answer has to fit in."""

    size_bytes: int
    encode: Callable[[bytes], bytes]
    """From JSON text to what is sent."""
    keep: Callable[[bytes, str, int], Held | None]
    """Sets data of that MIME type down, to be read in parts of that many bytes."""
    links: bool
    """Whether the client knows links as content."""

    @property
    def part_bytes(self) -> int:
        """How much of a result fits in an answer of its own, in base64."""
        return max(0, self.size_bytes - _ENVELOPE_BYTES) * 3 // 4


def declared(user: tuple[tuple[str, str], ...]) -> int | None:
    """The packet size a client says it takes; None where it says none, or nonsense."""
    for name, value in user:
        if name == LIMIT_PROPERTY:
            if value.isascii() and value.isdecimal() and len(value) < 10:
                return max(int(value), LIMIT_MIN_BYTES)
            return None
    return None


def room_bytes(broker_bytes: int | None, client_bytes: int | None, default_bytes: int, topic: str) -> int:
    """The largest payload on a topic that broker and client take; `default_bytes` where the client says nothing."""
    packet = default_bytes if client_bytes is None else client_bytes
    if broker_bytes is not None:
        packet = min(packet, broker_bytes)
    return packet - len(topic.encode()) - OVERHEAD_BYTES


def fit(text: bytes, room: Room) -> bytes:
    """The answer in `text`, which is too large, as one that fits."""
    answer: dict[str, Any] = msgspec.json.decode(text)
    result = answer.get("result")
    if not isinstance(result, dict) or not isinstance(result.get("content"), list):
        return _refused(answer, len(text), room)
    return _with_links(answer, result["content"], room) or _moved(answer, result, text, room)


def _with_links(answer: dict[str, Any], content: list[Any], room: Room) -> bytes | None:
    """The answer with its largest content as links; None where that does not make it fit."""
    for index in sorted(range(len(content)), key=lambda i: -_weight(content[i])):
        if _weight(content[index]) < _SMALL_BYTES:
            break
        data, mime = _bulk(content[index])
        held = room.keep(data, mime, room.part_bytes)
        if held is None:
            break
        content[index] = _link(held, room)
        if len(sent := room.encode(_encode(answer))) <= room.size_bytes:
            return sent
    return None


def _moved(answer: dict[str, Any], result: dict[str, Any], text: bytes, room: Room) -> bytes:
    """An error result that says where the whole of it lies."""
    whole = msgspec.json.decode(text, type=dict[str, msgspec.Raw])["result"]
    held = room.keep(bytes(whole), "application/json", room.part_bytes)
    problem = TooLarge(_said(len(text), room, held))
    content: list[Any] = [{"type": "text", "text": problem.message}]
    if held:
        content.append(_link(held, room))
    answer["result"] = {
        **{name: result[name] for name in ("resultType", "_meta") if name in result},
        "content": content,
        "structuredContent": problem.details(),
        "isError": True,
    }
    return room.encode(_encode(answer))


def _refused(answer: dict[str, Any], size_bytes: int, room: Room) -> bytes:
    problem = TooLarge(_said(size_bytes, room, None))
    failure = Failure(TOO_LARGE, problem.message, problem.details())
    members = {"jsonrpc": "2.0", "id": answer.get("id"), "error": msgspec.Raw(error_body(failure))}
    return room.encode(_encode({name: value for name, value in members.items() if value is not None}))


def _said(size_bytes: int, room: Room, held: Held | None) -> str:
    said = f"the answer has {size_bytes} bytes and may have {room.size_bytes}"
    if held:
        return f"{said}: read {held.uri}/0 to {held.uri}/{held.parts - 1}, its JSON in {held.parts} parts"
    return f"{said}: ask for less, read it in parts where it has any, or declare more in {LIMIT_PROPERTY}"


def _link(held: Held, room: Room) -> dict[str, Any]:
    if not room.links:
        return {"type": "text", "text": f"{held.mime}: {held.uri} ({held.how})"}
    return {
        "type": "resource_link",
        "uri": held.uri,
        "name": held.uri.rpartition("/")[2],
        "description": held.how,
        "mimeType": held.mime,
        "size": len(held.data),
    }


def _weight(block: Any) -> int:
    """Bytes of text or base64 in a block of content."""
    if not isinstance(block, dict):
        return 0
    resource = block.get("resource")
    holder = resource if isinstance(resource, dict) else block
    return max(
        (len(holder[name]) for name in ("data", "blob", "text") if isinstance(holder.get(name), str)),
        default=0,
    )


def _bulk(block: dict[str, Any]) -> tuple[bytes, str]:
    holder = block.get("resource", block)
    mime = holder.get("mimeType", "")
    for name in ("data", "blob"):
        if name in holder:
            return pybase64.b64decode(holder[name]), mime or "application/octet-stream"
    return holder["text"].encode(), mime or "text/plain"
