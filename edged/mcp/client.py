"""The client's side of the protocol, sans-IO: requests out, answers and notifications in.

Pure. Speaks the stateless era alone, so there is nothing to agree on first. For the CLI, bridges and tests.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, Self

import msgspec
import pybase64
from msgspec import UNSET, Raw, UnsetType

from edged.errors import Rejected
from edged.mcp.modern import CAPABILITIES_KEY, CLIENT_KEY, REVISION, VERSION_KEY

Id = int | str


class RpcError(Rejected):
    """The server answered a request with an error."""

    def __init__(self, code: int, message: str, data: object = None) -> None:
        super().__init__(message)
        self.code = code
        self.data = data


class Progress(msgspec.Struct, frozen=True):
    """How far a call is."""

    done: float
    total: float | None = None
    message: str | None = None


class CallResult(msgspec.Struct, frozen=True):
    """What a tool answered."""

    structured: Any
    text: str
    images: tuple[tuple[bytes, str], ...]
    """Each picture's bytes and MIME type."""
    is_error: bool


class _ErrorBody(msgspec.Struct, frozen=True):
    code: int
    message: str
    data: Any = None


class Incoming(msgspec.Struct, frozen=True):
    """A message from the server: an answer, which has a result or an error, or a notification."""

    id: Id | UnsetType | None = UNSET
    method: str | UnsetType = UNSET
    params: dict[str, Any] = {}
    result: dict[str, Any] | UnsetType = UNSET
    error: _ErrorBody | UnsetType = UNSET

    def value(self) -> dict[str, Any]:
        """The result; raises RpcError where the answer is an error."""
        if isinstance(self.error, _ErrorBody):
            raise RpcError(self.error.code, self.error.message, self.error.data)
        return {} if self.result is UNSET else self.result


_decode = msgspec.json.Decoder(Incoming).decode
_encode = msgspec.json.Encoder().encode


class Client:
    """Numbers requests, from `first_id` + 1, and puts the envelope on them."""

    def __init__(self, name: str, version: str, first_id: int = 0) -> None:
        self._meta = {
            VERSION_KEY: REVISION.version,
            CLIENT_KEY: {"name": name, "version": version},
            CAPABILITIES_KEY: {},
        }
        self._last_id = first_id

    def request(
        self, method: str, params: Mapping[str, object], *, progress: bool = False
    ) -> tuple[int, bytes]:
        """An id and the message that bears it; with `progress` the id is the progress token too.

        Bytes anywhere in `params` become base64.
        """
        self._last_id += 1
        meta = {**self._meta, "progressToken": self._last_id} if progress else self._meta
        message = {
            "jsonrpc": "2.0",
            "id": self._last_id,
            "method": method,
            "params": {**{key: _fast(value) for key, value in params.items()}, "_meta": meta},
        }
        return self._last_id, _encode(message)

    def cancel(self, request_id: int, reason: str) -> bytes:
        """The message that cancels a request."""
        params = {"requestId": request_id, "reason": reason}
        return _encode({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params})

    def receive(self, message: bytes) -> Incoming:
        """Read a message of the server's; raises msgspec.DecodeError for what is none."""
        return _decode(message)


class Caller(ABC):
    """A blocking client: one request at a time. Hangs up at the end of a `with`."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @abstractmethod
    def close(self) -> None:
        """Hang up."""

    @abstractmethod
    def request(
        self,
        method: str,
        params: Mapping[str, object] | None = None,
        *,
        timeout_s: float = 30.0,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> dict[str, Any]:
        """Send a request and return its result.

        Raises RpcError where the server answers with an error, DeadlineExceeded when it does not answer in
        `timeout_s` (the request is cancelled), Unreachable when it goes away.
        """

    def call_tool(
        self,
        name: str,
        arguments: Mapping[str, object] | None = None,
        timeout_s: float = 30.0,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> CallResult:
        """Call a tool; bytes in the arguments become base64, what it refuses is a result with `is_error`."""
        params = {"name": name, "arguments": arguments or {}}
        return call_result(self.request("tools/call", params, timeout_s=timeout_s, on_progress=on_progress))

    def list_tools(self, timeout_s: float = 30.0) -> list[dict[str, Any]]:
        """Every tool this peer may call, over all pages."""
        tools: list[dict[str, Any]] = []
        params: dict[str, object] = {}
        while True:
            page = self.request("tools/list", params, timeout_s=timeout_s)
            tools += page["tools"]
            if (cursor := page.get("nextCursor")) is None:
                return tools
            params = {"cursor": cursor}


def progress_of(message: Incoming, request_id: int) -> Progress | None:
    """What the message says of that request's progress, if that is what it is about."""
    params = message.params
    if message.method != "notifications/progress" or params.get("progressToken") != request_id:
        return None
    return Progress(params["progress"], params.get("total"), params.get("message"))


def call_result(result: Mapping[str, Any]) -> CallResult:
    """The result of `tools/call`, taken apart."""
    content = result.get("content", [])
    return CallResult(
        structured=result.get("structuredContent"),
        text="\n".join(item["text"] for item in content if item["type"] == "text"),
        images=tuple((pybase64.b64decode(i["data"]), i["mimeType"]) for i in content if i["type"] == "image"),
        is_error=bool(result.get("isError", False)),
    )


def _fast(value: object) -> object:
    """Base64 what is bytes, an order of magnitude faster than the JSON encoder would."""
    if isinstance(value, (bytes, bytearray, memoryview)):
        return Raw(b'"' + pybase64.b64encode(value) + b'"')
    if isinstance(value, Mapping):
        return {key: _fast(item) for key, item in value.items()}
    return value
