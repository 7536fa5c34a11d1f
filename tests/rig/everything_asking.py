"""Tools and a prompt of the conformance suite's that ask the client something."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import msgspec

from edged.mcp.catalog import Call, Form, Question, Reply, Roots, Sample, ToolResult


class Nothing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """No arguments."""


class Prompted(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What to ask the client's model."""

    prompt: str


class Messaged(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What to ask the user."""

    message: str


def form(message: str, **properties: dict[str, Any]) -> Form:
    """A form of which every field is required."""
    return Form(message, {"type": "object", "properties": properties, "required": list(properties)})


def sample(text: str, tokens: int = 100) -> Sample:
    """A question to the client's model."""
    content = {"type": "text", "text": text}
    return Sample({"messages": [{"role": "user", "content": content}], "maxTokens": tokens})


def text(answer: str) -> ToolResult:
    """A result of text alone."""
    return ToolResult(structured=None, text=answer)


STRING = {"type": "string"}
NAME = form("What is your name?", name=STRING)
CONFIRM = form("Please confirm", ok={"type": "boolean"})
STATES = ["active", "inactive", "pending"]


def _titled(**titles: str) -> list[dict[str, str]]:
    return [{"const": value, "title": title} for value, title in titles.items()]


DEFAULTS = form(
    "Please provide user information",
    name={"type": "string", "description": "User name", "default": "John Doe"},
    age={"type": "integer", "description": "User age", "default": 30},
    score={"type": "number", "description": "User score", "default": 95.5},
    status={"type": "string", "description": "User status", "enum": STATES, "default": "active"},
    verified={"type": "boolean", "description": "Verification status", "default": True},
)
ENUMS = form(
    "Please select values",
    untitledSingle={"type": "string", "enum": ["option1", "option2", "option3"]},
    titledSingle={"type": "string", "oneOf": _titled(value1="First Option", value2="Second Option")},
    legacyEnum={"type": "string", "enum": ["opt1", "opt2"], "enumNames": ["Option One", "Option Two"]},
    untitledMulti={"type": "array", "items": {"type": "string", "enum": ["option1", "option2", "option3"]}},
    titledMulti={"type": "array", "items": {"anyOf": _titled(value1="First Choice", value2="Second Choice")}},
)
USER = form("", username=STRING, email=STRING)


def _reply(said: str, reply: Reply) -> ToolResult:
    return text(f"{said}: action={reply.action}, content={json.dumps(reply.content)}")


def _sampling(call: Call, arguments: Prompted) -> ToolResult:
    answer = call.ask("sample", sample(arguments.prompt))
    return text(f"LLM response: {_words(answer)}")


def _elicitation(call: Call, arguments: Messaged) -> ToolResult:
    return _reply("User response", call.ask("user", Form(arguments.message, USER.schema)))


def _defaults(call: Call, _arguments: Nothing) -> ToolResult:
    return _reply("Elicitation completed", call.ask("defaults", DEFAULTS))


def _enums(call: Call, _arguments: Nothing) -> ToolResult:
    return _reply("Elicitation completed", call.ask("enums", ENUMS))


def _greet(call: Call, _arguments: Nothing) -> ToolResult:
    return text(f"Hello, {call.ask('user_name', NAME).content.get('name', 'stranger')}!")


def _capital(call: Call, _arguments: Nothing) -> ToolResult:
    return text(
        f"Model said: {_words(call.ask('capital_question', sample('What is the capital of France?')))}"
    )


def _roots(call: Call, _arguments: Nothing) -> ToolResult:
    return text(f"Client exposed {len(call.ask('client_roots', Roots()).get('roots', ()))} root(s).")


def _confirm(call: Call, _arguments: Nothing) -> ToolResult:
    call.ask("confirm", CONFIRM)
    return text("state-ok: confirmation received")


def _several(call: Call, _arguments: Nothing) -> ToolResult:
    call.ask_all({"user_name": NAME, "greeting": sample("Generate a greeting", 50), "client_roots": Roots()})
    return text("All inputs received.")


def _rounds(call: Call, _arguments: Nothing) -> ToolResult:
    first = call.ask("step1", Form("Step 1: What is your name?", NAME.schema))
    second = call.ask("step2", form("Step 2: What is your favorite color?", color=STRING))
    return text(f"{first.content.get('name')} likes {second.content.get('color')}.")


def _possible(call: Call, _arguments: Nothing) -> ToolResult:
    """Ask only what the client takes."""
    wanted: Mapping[str, Question] = {"sample": sample("Say hello", 50), "ask": NAME}
    call.ask_all({key: question for key, question in wanted.items() if call.can(type(question))})
    return text("Asked what could be asked.")


def _needs_sampling(call: Call, _arguments: Nothing) -> ToolResult:
    return text(_words(call.ask("sample", sample("Say hello", 50))))


def _words(answer: dict[str, Any]) -> str:
    content = answer.get("content")
    return str(content.get("text", "")) if isinstance(content, dict) else ""


def prompt(call: Call, _given: Mapping[str, str]) -> str:
    """Ask what the prompt is to be about."""
    reply = call.ask("user_context", form("What context should the prompt use?", context=STRING))
    return f"Use the following context: {reply.content.get('context', '')}"


TOOLS: tuple[tuple[str, Any, type[msgspec.Struct]], ...] = (
    ("test_sampling", _sampling, Prompted),
    ("test_elicitation", _elicitation, Messaged),
    ("test_elicitation_sep1034_defaults", _defaults, Nothing),
    ("test_elicitation_sep1330_enums", _enums, Nothing),
    ("test_streaming_elicitation", _greet, Nothing),
    ("test_missing_capability", _needs_sampling, Nothing),
    ("test_input_required_result_elicitation", _greet, Nothing),
    ("test_input_required_result_sampling", _capital, Nothing),
    ("test_input_required_result_list_roots", _roots, Nothing),
    ("test_input_required_result_request_state", _confirm, Nothing),
    ("test_input_required_result_multiple_inputs", _several, Nothing),
    ("test_input_required_result_multi_round", _rounds, Nothing),
    ("test_input_required_result_tampered_state", _confirm, Nothing),
    ("test_input_required_result_capabilities", _possible, Nothing),
)
