"""What the MCP conformance suite wants a server to offer, by the names it asks for; for tests alone.

`offer` is a plug-in of the daemon's. What the suite expects of each is in its scenarios' descriptions.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable, Mapping
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from edged.errors import Rejected
from edged.mcp.catalog import (
    Argument,
    Audio,
    Call,
    Catalog,
    Embedded,
    Image,
    Prompt,
    PromptMessage,
    Resource,
    Template,
    Text,
    Tier,
    Tool,
    ToolResult,
    among,
)
from tests.rig import everything_asking, everything_tasks

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg=="
)
SILENCE = base64.b64decode("UklGRiYAAABXQVZFZm10IBAAAAABAAEAQB8AAAB9AAACABAAZGF0YQIAAAA=")
PNG, WAV = "image/png", "audio/wav"
RECONNECTION_S = 1.0  # the rig's daemon has clients come back sooner

SCHEMA_2020_12: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "$defs": {
        "address": {
            "$anchor": "addressDef",
            "type": "object",
            "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
        }
    },
    "properties": {
        "name": {"type": "string"},
        "address": {"$ref": "#/$defs/address"},
        "contactMethod": {"type": "string", "enum": ["phone", "email"]},
        "phone": {"type": "string"},
        "email": {"type": "string"},
    },
    "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
    "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
    "then": {"required": ["phone"]},
    "else": {"required": ["email"]},
    "additionalProperties": False,
}


class Nothing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """No arguments."""


class Contact(msgspec.Struct, frozen=True, rename="camel"):
    """The arguments that `SCHEMA_2020_12` describes."""

    name: str = ""
    address: dict[str, Any] = {}
    contact_method: str = ""
    phone: str = ""
    email: str = ""


class Regional(msgspec.Struct, frozen=True):
    """Arguments of which one is mirrored into a header field."""

    region: Annotated[str, Meta(extra_json_schema={"x-mcp-header": "Region"})] = ""
    count: int = 0


def said(text: str) -> Callable[[Call, Any], ToolResult]:
    """A handler that always says this."""
    return lambda _call, _arguments: ToolResult(structured=None, text=text)


def showing(*content: Any) -> Callable[[Call, Any], ToolResult]:
    """A handler that always shows this."""
    return lambda _call, _arguments: ToolResult(structured=None, text="", content=content)


def _fail(_call: Call, _arguments: Nothing) -> ToolResult:
    raise Rejected("This tool intentionally returns an error for testing")


async def _with_logging(call: Call, _arguments: Nothing) -> ToolResult:
    for line in ("Tool execution started", "Tool processing data", "Tool execution completed"):
        call.log("info", line)
        await asyncio.sleep(0.05)
    return ToolResult(structured=None, text="Tool with logging executed successfully")


async def _with_progress(call: Call, _arguments: Nothing) -> ToolResult:
    for done in (0, 50, 100):
        call.progress(done, 100, f"Completed step {done} of 100")
        await asyncio.sleep(0.05)
    return ToolResult(structured=None, text="Tool with progress executed successfully")


async def _reconnection(call: Call, _arguments: Nothing) -> ToolResult:
    call.log("info", "Before disconnect")
    await asyncio.sleep(RECONNECTION_S)
    call.log("info", "After reconnect")
    return ToolResult(structured=None, text="Reconnection test completed")


def _region(_call: Call, arguments: Regional) -> ToolResult:
    return ToolResult(structured=None, text=f"region={arguments.region}")


def _data(_call: Call, variables: Mapping[str, str]) -> str:
    number = variables["id"]
    return json.dumps({"id": number, "templateTest": True, "data": f"Data for ID: {number}"})


def _with_arguments(_call: Call, given: Mapping[str, str]) -> str:
    return f"Prompt with arguments: arg1='{given['arg1']}', arg2='{given['arg2']}'"


def _with_resource(_call: Call, given: Mapping[str, str]) -> list[PromptMessage]:
    embedded = Embedded(given["resourceUri"], "Embedded resource content for testing.", "text/plain")
    asked = Text("Please process the embedded resource above.")
    return [PromptMessage("user", embedded), PromptMessage("user", asked)]


def _with_image(_call: Call, _given: Mapping[str, str]) -> list[PromptMessage]:
    asked = Text("Please analyze the image above.")
    return [PromptMessage("user", Image(PIXEL, PNG)), PromptMessage("user", asked)]


def tool(name: str, handler: Any, arguments: type[msgspec.Struct] = Nothing, **more: Any) -> Tool:
    """A tool that everybody may call."""
    title = name.removeprefix("test_").replace("_", " ")
    return Tool(
        name=name,
        title=title.capitalize(),
        description=f"For tests: {title}.",
        arguments=arguments,
        handler=handler,
        tier=Tier.READ,
        **more,
    )


def _tools() -> list[Tool]:
    image, mixed = Image(PIXEL, PNG), '{"test":"data","value":123}'
    embedded = Embedded("test://embedded-resource", "This is an embedded resource content.", "text/plain")
    other = Embedded("test://mixed-content-resource", mixed, "application/json")
    return [
        tool("test_simple_text", said("This is a simple text response for testing.")),
        tool("test_image_content", showing(image)),
        tool("test_audio_content", showing(Audio(SILENCE, WAV))),
        tool("test_embedded_resource", showing(embedded)),
        tool("test_multiple_content_types", showing(Text("Multiple content types test:"), image, other)),
        tool("test_tool_with_logging", _with_logging),
        tool("test_logging_tool", _with_logging),
        tool("test_tool_with_progress", _with_progress),
        tool("test_error_handling", _fail),
        tool("test_reconnection", _reconnection),
        tool("test_x_mcp_header", _region, Regional),
        tool("json_schema_2020_12_tool", said("valid"), Contact, schema=SCHEMA_2020_12),
    ]


def _resources() -> list[Resource | Template]:
    text = "This is the content of the static text resource."
    return [
        Resource(
            uri="test://static-text", name="text", read=lambda _: text, tier=Tier.READ, mime="text/plain"
        ),
        Resource(uri="test://static-binary", name="binary", read=lambda _: PIXEL, tier=Tier.READ, mime=PNG),
        Resource(uri="test://watched-resource", name="watched", read=lambda _: "Watched", tier=Tier.READ),
        Template(
            uri_template="test://template/{id}/data",
            name="template",
            read=_data,
            tier=Tier.READ,
            mime="application/json",
        ),
    ]


def prompt(name: str, get: Any, *arguments: Argument) -> Prompt:
    """A prompt that everybody may use."""
    described = f"For tests: {name.removeprefix('test_').replace('_', ' ')}."
    return Prompt(name=name, get=get, tier=Tier.READ, description=described, arguments=arguments)


def _prompts() -> list[Prompt]:
    simple = "This is a simple prompt for testing."
    choices = among(lambda: ("paris", "park", "party"))
    first = Argument(name="arg1", description="The first", required=True, completer=choices)
    second = Argument(name="arg2", description="The second", required=True)
    uri = Argument(name="resourceUri", description="What to embed", required=True)
    return [
        prompt("test_simple_prompt", lambda _call, _given: simple),
        prompt("test_prompt_with_arguments", _with_arguments, first, second),
        prompt("test_prompt_with_embedded_resource", _with_resource, uri),
        prompt("test_prompt_with_image", _with_image),
        prompt("test_input_required_result_prompt", everything_asking.prompt),
    ]


def _changing(catalog: Catalog) -> list[Tool]:
    """Tools that change the lists while somebody listens."""

    def change_tools(_call: Call, _arguments: Nothing) -> ToolResult:
        catalog.tools.put(tool("test_dynamic_tool", said("dynamic")))
        catalog.tools.remove("test_dynamic_tool")
        return ToolResult(structured=None, text="tool list changed")

    def change_prompts(_call: Call, _arguments: Nothing) -> ToolResult:
        catalog.prompts.put(prompt("test_dynamic_prompt", lambda _call, _given: "dynamic"))
        catalog.prompts.remove("test_dynamic_prompt")
        return ToolResult(structured=None, text="prompt list changed")

    return [
        tool("test_trigger_tool_change", change_tools),
        tool("test_trigger_prompt_change", change_prompts),
    ]


def offer(catalog: Catalog) -> None:
    """Put everything on the shelves."""
    catalog.put(*_tools(), *_resources(), *_prompts(), *_changing(catalog))
    catalog.put(*(tool(*given) for given in everything_asking.TOOLS))
    catalog.put(*(tool(name, handler, kind, **more) for name, handler, kind, more in everything_tasks.TOOLS))
