"""`edged status` and `edged call`."""

from __future__ import annotations

import argparse
import base64
import json
import sys
from pathlib import Path
from typing import Any

from edged.cli.connection import client
from edged.cli.tables import show, table
from edged.errors import BadArgument, EdgedError, NotFound


def status(arguments: argparse.Namespace) -> int:
    """Show how the device is."""
    with client(arguments) as device:
        found = checked(device.call_tool("device_status", {}))
    show(found, as_json=arguments.json)
    return 0


def call(arguments: argparse.Namespace) -> int:
    """Call a tool and print its answer, or list the tools."""
    with client(arguments) as device:
        if arguments.tool is None:
            return _list(device.request("tools/list", {})["tools"], as_json=arguments.json)
        given = tool_arguments(arguments)
        answer = device.call_tool(
            arguments.tool, given, timeout_s=arguments.timeout, on_progress=print_progress
        )
    if answer.get("isError"):
        print(f"edged: {_text(answer)}", file=sys.stderr)
        if arguments.json:
            show(answer.get("structuredContent", {}), as_json=True)
        return 1
    if arguments.save:
        save_picture(answer, Path(arguments.save))
    if not arguments.json:
        print(_text(answer))
    show(answer.get("structuredContent", {}), as_json=arguments.json)
    return 0


def tool_arguments(arguments: argparse.Namespace) -> dict[str, Any]:
    """Compose a tool's arguments from --image, --audio, --save and every --arg."""
    given: dict[str, Any] = {}
    for name, file in (("image", arguments.image), ("audio", arguments.audio)):
        if file:
            given[name] = {"data": base64.b64encode(_read(Path(file))).decode()}
    if arguments.save:
        given["annotate"] = True
    for pair in arguments.arg:
        name, equals, value = pair.partition("=")
        if not equals:
            raise BadArgument(f"--arg {pair}: write NAME=VALUE")
        given[name] = _json_or_text(value)
    return given


def save_picture(answer: dict[str, Any], file: Path) -> None:
    """Write the first picture of an answer."""
    for block in answer.get("content", []):
        if block["type"] == "image":
            file.write_bytes(base64.b64decode(block["data"]))
            print(f"picture written to {file}", file=sys.stderr)
            return
    raise NotFound("the answer carries no picture; only tools that take an image draw one")


def _list(tools: list[dict[str, Any]], *, as_json: bool) -> int:
    if as_json:
        print(json.dumps(tools, indent=2))
    else:
        rows = [[tool["name"], tool.get("title", ""), tool.get("description", "")] for tool in tools]
        table("", ["tool", "title", "what it does"], rows)
    return 0


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as exc:
        raise NotFound(f"{file}: {exc.strerror}") from exc


def _json_or_text(value: str) -> Any:
    try:
        return json.loads(value)
    except json.JSONDecodeError:
        return value


def _text(answer: dict[str, Any]) -> str:
    return "\n".join(block["text"] for block in answer.get("content", []) if block["type"] == "text")


def print_progress(done: float, total: float | None, message: str | None) -> None:
    """Tell a person how far a long call is."""
    share = f"{done:g}/{total:g} " if total else ""
    print(f"{share}{message or ''}", file=sys.stderr)


def checked(answer: dict[str, Any]) -> dict[str, Any]:
    """Return the structured answer of a call, or raise what it says went wrong."""
    if answer.get("isError"):
        raise EdgedError(_text(answer))
    structured: dict[str, Any] = answer["structuredContent"]
    return structured
