"""A catalog with something of every kind, for tests of what peers of each revision get."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from typing import Any

import msgspec

from edged.errors import NotFound, NotReady
from edged.mcp.catalog import (
    Argument,
    Audio,
    Call,
    Catalog,
    Embedded,
    Form,
    Icon,
    Image,
    Job,
    Link,
    Prompt,
    PromptMessage,
    Relevance,
    Resource,
    Roots,
    Sample,
    Template,
    Text,
    Tier,
    Tool,
    ToolResult,
    Visit,
    Work,
    among,
)
from edged.mcp.results import Info
from tests.rig.desk import Later
from tests.rig.echo_server import PIXEL

FULL_INFO = Info(
    name="rig",
    version="1",
    title="Rig",
    description="for tests",
    website="https://example.org",
    instructions="Try.",
    icons=(Icon(src="https://example.org/i.png", mime="image/png", sizes=("48x48",), theme="dark"),),
)
ICONS = FULL_INFO.icons
RELEVANCE = Relevance(audience=("user",), priority=0.5, modified="2026-01-01T00:00:00Z")
NAME_FORM = Form(
    "Who are you?", {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
)
COLOURS = ("red", "green", "grey", "dark green")


class Nothing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """No arguments."""


class Number(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A number, if any."""

    n: int = 0


def said(text: str) -> ToolResult:
    """A result that says no more than this."""
    return ToolResult(structured={"text": text}, text=text)


def _everything(_call: Call, _arguments: Nothing) -> ToolResult:
    content = (
        Text("words", RELEVANCE),
        Image(PIXEL, "image/png", RELEVANCE),
        Audio(b"RIFF", "audio/wav"),
        Embedded("test://text", "held", "text/plain", RELEVANCE, {"a": 1}),
        Embedded("test://bytes", b"\x00\x01", "application/octet-stream"),
        Link("test://linked", "linked", "Linked", "to be read", "text/plain", 7, RELEVANCE),
    )
    return ToolResult(structured={"n": 1}, text="all", content=content)


def _greet(call: Call, arguments: Number) -> ToolResult:
    who = call.ask("name", NAME_FORM)
    if who.action != "accept":
        return said(f"then not: {who.action}")
    return said(f"hello {who.content['name']} {arguments.n}")


def _two_rounds(call: Call, _arguments: Nothing) -> ToolResult:
    first = call.ask("first", NAME_FORM)
    second = call.ask("second", NAME_FORM)
    return said(f"{first.content['name']} {second.content['name']}")


def _three_kinds(call: Call, _arguments: Nothing) -> ToolResult:
    answers = call.ask_all(
        {"form": NAME_FORM, "sample": Sample({"messages": [], "maxTokens": 1}), "roots": Roots()}
    )
    return said(f"{answers['form'].action} {answers['sample']['model']} {len(answers['roots']['roots'])}")


def _visit(call: Call, _arguments: Nothing) -> ToolResult:
    return said(call.ask("page", Visit("Look", "https://example.org/", "e1")).action)


def _able(call: Call, _arguments: Nothing) -> ToolResult:
    return said(" ".join(kind.__name__ for kind in (Form, Visit, Sample, Roots) if call.can(kind)))


def _chatty(call: Call, _arguments: Nothing) -> ToolResult:
    call.log("debug", {"n": 1})
    call.log("warning", "careful", "rig")
    return said("said")


def _job(_call: Call, arguments: Number) -> Job:
    async def run(work: Work) -> ToolResult:
        work.progress(1, 2, "half")
        if arguments.n == 1:
            raise NotReady("not now", 1)
        if arguments.n == 2:
            raise RuntimeError("secret")
        return said(f"done for {work.principal.name}")

    return Job(run, message="begun", ttl_ms=1000, poll_ms=10)


async def _asking_job(_call: Call, _arguments: Nothing) -> Job:
    async def run(work: Work) -> ToolResult:
        answers = work.ask_all({"a": NAME_FORM, "b": NAME_FORM})
        return said(f"{answers['a'].content['name']}{answers['b'].content['name']}")

    return Job(run)


def _read(call: Call) -> str:
    return f"for {call.principal.name}"


def _missing(_call: Call) -> str:
    raise NotFound("it went away")


def _busy(_call: Call) -> str:
    raise NotReady("soon", 1)


def _late(_call: Call) -> Awaitable[str]:
    return Later()  # type: ignore[return-value]  # the desk settles it


def _parts(_call: Call) -> tuple[Embedded, ...]:
    return (Embedded("test://parts/1", "one", "text/x"), Embedded("test://parts/2", b"\xff"))


def _asked(call: Call) -> str:
    return str(call.ask("name", NAME_FORM).content["name"])


def _model(_call: Call, values: Mapping[str, str]) -> str:
    if values["name"] not in COLOURS:
        raise NotFound("no such colour")
    return values["name"].upper()


def _tell(_call: Call, arguments: Mapping[str, str]) -> tuple[PromptMessage, ...]:
    return (
        PromptMessage("user", Text(f"{arguments['colour']} {arguments.get('size', '')}")),
        PromptMessage("assistant", Image(PIXEL, "image/png")),
        PromptMessage("user", Embedded("test://text", "held", "text/plain")),
        PromptMessage("user", Audio(b"RIFF", "audio/wav")),
        PromptMessage("user", Link("test://linked", "linked")),
    )


def _sizes(_call: Call, typed: str, others: Mapping[str, str]) -> list[str]:
    return [f"{others.get('colour', 'any')}-{typed}{n}" for n in range(150)]


TOOLS: dict[str, Any] = {
    "everything": (_everything, Nothing),
    "greet": (_greet, Number),
    "two_rounds": (_two_rounds, Nothing),
    "three_kinds": (_three_kinds, Nothing),
    "visit": (_visit, Nothing),
    "able": (_able, Nothing),
    "chatty": (_chatty, Nothing),
    "job": (_job, Number),
    "asking_job": (_asking_job, Nothing),
}


def full_catalog() -> Catalog:
    """Something of every kind."""
    offered = Catalog()
    for name, (handler, arguments) in TOOLS.items():
        offered.put(
            Tool(
                name=name,
                title=name.title(),
                description=name,
                arguments=arguments,
                handler=handler,
                tier=Tier.READ,
                icons=ICONS,
                meta={"ui": 1},
            )
        )
    offered.put(
        Tool(
            name="only_task",
            title="",
            description="",
            arguments=Number,
            handler=_job,
            tier=Tier.READ,
            needs_tasks=True,
            schema={"type": "object", "$anchor": "x"},
        )
    )
    resource: dict[str, Any] = {
        "tier": Tier.READ,
        "title": "T",
        "description": "d",
        "relevance": RELEVANCE,
        "icons": ICONS,
        "meta": {"a": 1},
    }
    offered.put(
        Resource(
            uri="test://text", name="text", read=_read, mime="text/plain", size_bytes=5, ttl_ms=70, **resource
        ),
        Resource(
            uri="test://bytes", name="bytes", read=lambda _: b"\x00\x01", mime="x/y", public=True, **resource
        ),
        Resource(uri="test://parts", name="parts", read=_parts, **resource),
        Resource(uri="test://missing", name="missing", read=_missing, **resource),
        Resource(uri="test://busy", name="busy", read=_busy, **resource),
        Resource(uri="test://late", name="late", read=_late, **resource),
        Resource(uri="test://asked", name="asked", read=_asked, public=True, ttl_ms=9, **resource),
        Resource(uri="test://secret", name="secret", read=_read, tier=Tier.OPERATOR),
        Template(
            uri_template="test://colours/{name}",
            name="colours",
            read=_model,
            mime="text/plain",
            completers={"name": among(lambda: COLOURS)},
            **resource,
        ),
        Template(uri_template="test://secrets/{name}", name="secrets", read=_model, tier=Tier.OPERATOR),
        Prompt(
            name="tell",
            title="Tell",
            description="tells",
            get=_tell,
            tier=Tier.READ,
            arguments=(
                Argument(
                    name="colour",
                    title="Colour",
                    description="c",
                    required=True,
                    completer=among(lambda: COLOURS),
                ),
                Argument(name="size", completer=_sizes),
                Argument(name="plain"),
            ),
            icons=ICONS,
            meta={"a": 1},
        ),
        Prompt(name="greet", get=lambda call, _: f"I am {_asked(call)}", tier=Tier.READ),
        Prompt(name="secret", get=lambda _c, _a: "psst", tier=Tier.OPERATOR),
    )
    return offered
