"""Questions sent to a client of the handshake era as requests of ours, and the calls that wait for its answers.

Pure. Source: 2025-11-25 client/elicitation.mdx, client/sampling.mdx, client/roots.mdx.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import UNSET

from edged.errors import NotAllowed
from edged.mcp import jsonrpc, questions
from edged.mcp.asking import Question
from edged.mcp.jsonrpc import Id, Response
from edged.mcp.request import InFlight, Outlet


class _Refusal(msgspec.Struct, frozen=True):
    message: str = "no reason given"


class Inquiries:
    """What one client has been asked and has not answered."""

    def __init__(self, outlet: Outlet) -> None:
        self._outlet = outlet
        self._last_id = 0
        self._asked: dict[Id, tuple[InFlight, str]] = {}
        self._waiting: dict[InFlight, set[Id]] = {}

    def ask(self, call: InFlight, wanted: Mapping[str, Question]) -> None:
        """Send the questions a call waits for."""
        waiting = self._waiting[call] = set()
        for key, question in wanted.items():
            self._last_id += 1
            self._asked[self._last_id] = call, key
            waiting.add(self._last_id)
            asked = questions.wire(question, call.request.revision)
            message = jsonrpc.request(self._last_id, asked["method"], asked.get("params", {}))
            self._outlet.send_about(call.id, message)

    def answered(self, response: Response) -> tuple[InFlight, NotAllowed | None] | None:
        """The call that may go on, and the client's refusal to answer it; None while none may."""
        if response.id not in self._asked:
            return None
        call, key = self._asked.pop(response.id)
        waiting = self._waiting[call]
        waiting.discard(response.id)
        if response.result is UNSET:
            self.withdraw(call)
            return call, NotAllowed(f"the client would not answer {key!r}: {_reason(response.error)}")
        if call.request.answers is None:
            call.request.answers = {}
        call.request.answers[key] = msgspec.json.decode(response.result)
        if waiting:
            return None
        del self._waiting[call]
        return call, None

    def withdraw(self, call: InFlight) -> bool:
        """Take back what this call still waits for; whether it waited at all."""
        waiting = self._waiting.pop(call, None)
        if waiting is None:
            return False
        for request_id in waiting:
            del self._asked[request_id]
            note = jsonrpc.notification("notifications/cancelled", {"requestId": request_id})
            self._outlet.send_about(call.id, note)
        return True


def _reason(error: Any) -> str:
    try:
        return msgspec.json.decode(error, type=_Refusal).message[:200]
    except (msgspec.DecodeError, TypeError):
        return _Refusal().message
