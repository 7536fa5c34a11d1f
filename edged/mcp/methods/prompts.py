"""Prompts, and completion of what a person types for them and for templates.

Pure. Source: 2026-07-28 server/prompts.mdx, server/utilities/completion.mdx.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import msgspec
from msgspec import Raw

from edged.errors import EdgedError
from edged.mcp import jsonrpc
from edged.mcp.catalog import Completer, Messages, Principal, Prompt
from edged.mcp.conversation import Conversation
from edged.mcp.jsonrpc import Failure
from edged.mcp.request import Request
from edged.mcp.results import completion_result, prompt_result
from edged.mcp.rounds import RoundParams
from edged.mcp.shapes import failure_of

if TYPE_CHECKING:  # the server imports the tables
    from edged.mcp.server import Server


class _GetParams(RoundParams, frozen=True):
    name: str
    arguments: dict[str, str] = msgspec.field(default_factory=dict)


class _PromptRef(msgspec.Struct, frozen=True, tag="ref/prompt"):
    name: str


class _TemplateRef(msgspec.Struct, frozen=True, tag="ref/resource"):
    uri: str


class _Typed(msgspec.Struct, frozen=True):
    name: str
    value: str


class _Context(msgspec.Struct, frozen=True):
    arguments: dict[str, str] = {}


class _CompleteParams(msgspec.Struct, frozen=True):
    ref: _PromptRef | _TemplateRef
    argument: _Typed
    context: _Context = _Context()


_get_params = msgspec.json.Decoder(_GetParams)
_complete_params = msgspec.json.Decoder(_CompleteParams)


class _PromptShape:
    """Outcomes of one prompt."""

    def __init__(self, request: Request, description: str, stamp: Raw) -> None:
        self._request = request
        self._description = description
        self._stamp = stamp

    def body(self, outcome: Messages) -> object:
        """What it says."""
        return prompt_result(outcome, self._description, self._request.revision, self._stamp)

    def excuse(self, exc: EdgedError) -> object:
        """No result: raises Failure."""
        raise failure_of(exc)


class _CompletionShape:
    """Outcomes of a completer."""

    def __init__(self, request: Request, stamp: Raw) -> None:
        self._request = request
        self._stamp = stamp

    def body(self, outcome: Sequence[str]) -> object:
        """The suggestions."""
        return completion_result(list(outcome), self._request.revision, self._stamp)

    def excuse(self, exc: EdgedError) -> object:
        """No result: raises Failure."""
        raise failure_of(exc)


def get(server: Server, conversation: Conversation, request: Request) -> None:
    """What a prompt says with these arguments."""
    params = request.read(_get_params)
    prompt = _prompt(server, params.name, conversation.principal)
    _check_arguments(prompt, params.arguments)
    request.subject = params.name
    server.rounds.resume(request, conversation.principal, params.arguments, params)
    shape = _PromptShape(request, prompt.description, server.listings.stamp)
    conversation.start(request, shape, prompt.get, params.arguments)


def complete(server: Server, conversation: Conversation, request: Request) -> None:
    """Suggestions for an argument that is being typed; none where nobody has any."""
    params = request.read(_complete_params)
    completer = _completer(server, params, conversation.principal)

    def suggest(call: Any, typed: _Typed) -> object:
        return completer(call, typed.value, params.context.arguments) if completer else ()

    conversation.start(request, _CompletionShape(request, server.listings.stamp), suggest, params.argument)


def _prompt(
    server: Server, name: str, principal: Principal, path: Literal["name", "ref.name"] = "name"
) -> Prompt:
    prompt = server.catalog.prompts.get(name)
    if prompt is None or prompt.tier > principal.tier:
        if prompt:
            server.refused(principal, name, f"needs {prompt.tier.name.lower()}")
        raise Failure(jsonrpc.INVALID_PARAMS, f"$.{path}: unknown prompt {name[:128]!r}")
    return prompt


def _check_arguments(prompt: Prompt, given: Mapping[str, str]) -> None:
    known = {argument.name for argument in prompt.arguments}
    for name in given:
        if name not in known:
            raise Failure(jsonrpc.INVALID_PARAMS, f"$.arguments.{name[:64]}: unknown argument")
    for argument in prompt.arguments:
        if argument.required and argument.name not in given:
            raise Failure(jsonrpc.INVALID_PARAMS, f"$.arguments.{argument.name}: required, and missing")


def _completer(server: Server, params: _CompleteParams, principal: Principal) -> Completer | None:
    name = params.argument.name
    if isinstance(params.ref, _PromptRef):
        prompt = _prompt(server, params.ref.name, principal, "ref.name")
        completers = {argument.name: argument.completer for argument in prompt.arguments}
    else:
        template = server.catalog.templates.get(params.ref.uri)
        if template is None or template.tier > principal.tier:
            if server.readable(params.ref.uri, principal.tier):
                return None  # a URI without variables, or with all of them filled in
            raise Failure(jsonrpc.INVALID_PARAMS, "$.ref.uri: unknown resource or template")
        completers = {variable: template.completers.get(variable) for variable in template.uri.names}
    if name not in completers:
        raise Failure(jsonrpc.INVALID_PARAMS, f"$.argument.name: unknown argument {name[:64]!r}")
    return completers[name]
