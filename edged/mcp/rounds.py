"""Several rounds of one request in the stateless era: what the client answered so far travels with it, sealed.

Pure but for its seal. The context binds what is sealed to the principal, the method, and all it is about; so the
state of another's request, or of one with other arguments, does not open.
Source: 2026-07-28 basic/patterns/mrtr.mdx.
"""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec
from msgspec import UNSET, Raw, UnsetType

from edged.mcp import jsonrpc, questions
from edged.mcp.asking import InputRequired
from edged.mcp.catalog import Blob, Principal
from edged.mcp.jsonrpc import Failure
from edged.mcp.request import InFlight, Request
from edged.mcp.results import InputRequiredResult
from edged.mcp.seal import Broken, Seal

_encode = msgspec.json.Encoder()
_answers = msgspec.json.Decoder(dict[str, Any])


class RoundParams(
    msgspec.Struct,
    frozen=True,
    gc=False,
    kw_only=True,
    rename={"responses": "inputResponses", "state": "requestState"},
):
    """What a later round of a request brings along."""

    responses: dict[str, Raw] | UnsetType = UNSET
    state: str | UnsetType = UNSET


class Rounds:
    """Sends questions in results and takes up what comes back."""

    def __init__(self, seal: Seal, stamp: Raw) -> None:
        self._seal = seal
        self._stamp = stamp

    def ask(self, call: InFlight, required: InputRequired) -> InputRequiredResult:
        """The result that asks."""
        request = call.request
        context = _context(request, call.principal, call.arguments)
        return InputRequiredResult(
            input_requests={
                key: questions.wire(q, request.revision) for key, q in required.questions.items()
            },
            request_state=self._seal.seal(_encode.encode(request.answers or {}), context),
            meta=self._stamp,
        )

    def resume(self, request: Request, principal: Principal, arguments: object, params: RoundParams) -> None:
        """Give the request its answers; raises Failure for a state that is not of this very request.

        Answers to what nobody asks are never looked at.
        """
        if not request.revision.stateless or (params.state is UNSET and params.responses is UNSET):
            return
        answers: dict[str, object] = {}
        if params.state is not UNSET:
            try:
                context = _context(request, principal, arguments)
                answers = _answers.decode(self._seal.open(params.state, context))
            except Broken as exc:
                raise Failure(jsonrpc.INVALID_PARAMS, f"$.requestState: {exc}") from None
        if params.responses is not UNSET:
            answers.update({key: msgspec.json.decode(answer) for key, answer in params.responses.items()})
        request.answers = answers


def _context(request: Request, principal: Principal, arguments: object) -> bytes:
    about = [principal.name, request.method, request.subject, arguments]
    return hashlib.sha256(msgspec.json.encode(about, enc_hook=_plain, order="deterministic")).digest()


def _plain(value: object) -> object:
    if isinstance(value, Blob):
        return hashlib.sha256(value.data).hexdigest()
    raise NotImplementedError(type(value).__name__)
