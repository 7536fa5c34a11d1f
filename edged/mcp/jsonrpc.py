"""JSON-RPC 2.0 messages: read strictly, diagnose exactly, write.

Pure. A message is one JSON text without its framing. The rule for answers, whatever comes in: a request with
a readable id (a string, or an integer of up to 64 bits) gets exactly one answer carrying it; a notification
or a response gets none; everything else gets one error without an id member.
Source: JSON-RPC 2.0, and MCP 2026-07-28 basic/index.mdx (ids are never null; error codes).
"""

from __future__ import annotations

from itertools import accumulate
from typing import Any, Final, Literal, NoReturn, TypeAlias

import msgspec
from msgspec import UNSET, Raw, UnsetType

PARSE_ERROR: Final = -32700
INVALID_REQUEST: Final = -32600
METHOD_NOT_FOUND: Final = -32601
INVALID_PARAMS: Final = -32602
INTERNAL_ERROR: Final = -32603
# Our own codes keep out of -32768…-32000, which JSON-RPC and MCP reserve.
BUSY: Final = -31000

_CONTAINERS_MAX: Final = (
    1 << 18
)  # containers in one message: bounds the exact depth count and what a decode allocates
_ID_MIN, _ID_MAX = -(1 << 63), (1 << 64) - 1
_BRACE: Final = 0x7B  # {
_STEPS: Final = bytes.maketrans(b"[]", b"\x01\x00")
_NOT_BRACKETS: Final = bytes(set(range(256)) - set(b"[]"))

Id: TypeAlias = int | str


class Message(msgspec.Struct, frozen=True, gc=False):
    """A request (with an id) or a notification (without)."""

    jsonrpc: Literal["2.0"]
    method: str
    id: Id | UnsetType = UNSET
    params: Raw = Raw(b"{}")


class Response(msgspec.Struct, frozen=True, gc=False):
    """A peer's answer to a request of ours: a result, or else what went wrong."""

    id: Id
    result: Raw | UnsetType = UNSET
    error: Raw | UnsetType = UNSET


class Failure(Exception):
    """What the `error` member of an answer will say."""

    def __init__(self, code: int, message: str, data: object = UNSET) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.data = data


class Malformed(Failure):
    """Not a message; `id` is what could be read of it, or UNSET."""

    def __init__(self, code: int, message: str, request_id: Id | UnsetType = UNSET) -> None:
        super().__init__(code, message)
        self.id = request_id


class _Result(msgspec.Struct, frozen=True, gc=False):
    id: Id
    result: Any
    jsonrpc: Literal["2.0"] = "2.0"


class _ErrorBody(msgspec.Struct, frozen=True, gc=False):
    code: int
    message: str
    data: Any = UNSET


class _Error(msgspec.Struct, frozen=True, gc=False):
    error: _ErrorBody
    id: Id | UnsetType = UNSET
    jsonrpc: Literal["2.0"] = "2.0"


class _Request(msgspec.Struct, frozen=True, gc=False):
    method: str
    id: Id
    params: Any
    jsonrpc: Literal["2.0"] = "2.0"


class _Notification(msgspec.Struct, frozen=True, gc=False):
    method: str
    params: Any
    jsonrpc: Literal["2.0"] = "2.0"


_decode_message = msgspec.json.Decoder(Message).decode
_decode_members = msgspec.json.Decoder(dict[str, Raw]).decode
_decode_id = msgspec.json.Decoder(Id).decode
_decode_elements = msgspec.json.Decoder(list[Raw]).decode
_encode = msgspec.json.Encoder().encode


def parse(text: bytes, depth_max: int) -> Message | Response | None:
    """The request, notification or response in `text`; None for a response that answers no id.

    Raises Malformed for everything else.
    """
    check_text(text, depth_max)
    try:
        message = _decode_message(text)
    except (msgspec.DecodeError, RecursionError):
        return _response(text)
    if type(message.id) is int and not _ID_MIN <= message.id <= _ID_MAX:
        raise Malformed(INVALID_REQUEST, "id: an integer of more than 64 bits")
    if memoryview(message.params)[0] != _BRACE:
        raise Malformed(INVALID_PARAMS, "params: expected an object", message.id)
    return message


def split_batch(text: bytes, depth_max: int) -> list[Raw]:
    """The elements of a batch array; raises Malformed when it is not one, or is empty."""
    check_text(text, depth_max + 1)
    try:
        elements = _decode_elements(text)
    except (msgspec.DecodeError, RecursionError) as exc:
        raise Malformed(PARSE_ERROR, f"not JSON: {_lower(str(exc))}") from None
    if not elements:
        raise Malformed(INVALID_REQUEST, "an empty batch")
    return elements


def is_array(text: bytes) -> bool:
    """Whether the text can only be an array."""
    return not text.startswith(b"{") and text.lstrip()[:1] == b"["


def result(request_id: Id, body: object) -> bytes:
    """An answer carrying `body` (anything msgspec encodes; Raw is taken as it is)."""
    return _encode(_Result(request_id, body))


def error(failure: Failure, request_id: Id | UnsetType = UNSET) -> bytes:
    """An answer that says what went wrong, without an id member where none could be read."""
    return _encode(_Error(_ErrorBody(failure.code, failure.message, failure.data), request_id))


def error_body(failure: Failure) -> bytes:
    """The `error` member alone."""
    return _encode(_ErrorBody(failure.code, failure.message, failure.data))


def request(request_id: Id, method: str, params: object) -> bytes:
    """A message of ours that wants an answer."""
    return _encode(_Request(method, request_id, params))


def notification(method: str, params: object) -> bytes:
    """A message that wants no answer."""
    return _encode(_Notification(method, params))


def check_text(text: bytes, depth_max: int) -> None:
    """Raise Malformed unless text is UTF-8 and at most `depth_max` deep; the decoder judges the rest.

    So few brackets cannot nest deeper, hence most messages cost two counts. The exact count strips strings
    and runs over brackets alone, of which no more are allowed than two a container.
    """
    if not text.isascii():
        try:
            str(text, "utf-8")
        except UnicodeDecodeError as exc:
            raise Malformed(PARSE_ERROR, f"not UTF-8 at byte {exc.start}") from None
    if text.count(b"{") + text.count(b"[") > depth_max and (problem := _too_deep(text, depth_max)):
        raise Malformed(INVALID_REQUEST, problem, _id_of(text))


def _too_deep(text: bytes, depth_max: int) -> str | None:
    if b"\\" in text:
        text = text.replace(b"\\\\", b"").replace(b'\\"', b"")
    outside = b"".join(text.split(b'"')[::2])
    brackets = outside.replace(b"{", b"[").replace(b"}", b"]").translate(None, _NOT_BRACKETS)
    if len(brackets) > 2 * _CONTAINERS_MAX:
        return f"more than {_CONTAINERS_MAX} arrays and objects"
    steps = (1 if step else -1 for step in brackets.translate(_STEPS))
    return f"nested deeper than {depth_max}" if max(accumulate(steps), default=0) > depth_max else None


def _response(text: bytes) -> Response | None:
    """Take a text that is no Message for a response, or say what is wrong with it."""
    try:
        members = _decode_members(text)
    except msgspec.ValidationError:
        raise Malformed(INVALID_REQUEST, "not an object") from None
    except (msgspec.DecodeError, RecursionError) as exc:
        raise Malformed(PARSE_ERROR, f"not JSON: {_lower(str(exc))}") from None
    if "method" in members or not ("result" in members or "error" in members):
        _refuse(members, _id_in(members))
    answered = _id_in(members)
    if answered is UNSET:
        return None
    return Response(answered, members.get("result", UNSET), members.get("error", UNSET))


def _refuse(members: dict[str, Raw], request_id: Id | UnsetType) -> NoReturn:
    if "id" in members and request_id is UNSET:
        raise Malformed(INVALID_REQUEST, "id: expected a string or a 64-bit integer")
    if bytes(members.get("jsonrpc", Raw(b""))) != b'"2.0"':
        raise Malformed(INVALID_REQUEST, 'jsonrpc: expected "2.0"', request_id)
    if bytes(members.get("method", Raw(b"")))[:1] != b'"':
        raise Malformed(INVALID_REQUEST, "method: expected a string", request_id)
    raise Malformed(INVALID_PARAMS, "params: expected an object", request_id)


def _id_of(text: bytes) -> Id | UnsetType:
    try:
        return _id_in(_decode_members(text))
    except (msgspec.DecodeError, RecursionError):
        return UNSET


def _id_in(members: dict[str, Raw]) -> Id | UnsetType:
    try:
        found = _decode_id(members["id"])
    except (KeyError, msgspec.DecodeError):
        return UNSET
    return found if isinstance(found, str) or _ID_MIN <= found <= _ID_MAX else UNSET


def _lower(message: str) -> str:
    return message[:1].lower() + message[1:]
