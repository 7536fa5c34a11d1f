"""`edged status` and `edged call`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edged.cli.connection import caller
from edged.cli.tables import show, table
from edged.errors import BadArgument, EdgedError, NotFound
from edged.mcp.client import CallResult, Progress


def status(arguments: argparse.Namespace) -> int:
    """Show how the device is."""
    with caller(arguments) as device:
        found = checked(device.call_tool("device_status"))
    show(found, as_json=arguments.json)
    return 0


def call(arguments: argparse.Namespace) -> int:
    """Call a tool and print its answer, or list the tools."""
    with caller(arguments) as device:
        if arguments.tool is None:
            return _list(device.list_tools(), as_json=arguments.json)
        answer = device.call_tool(
            arguments.tool,
            tool_arguments(arguments),
            timeout_s=arguments.timeout,
            on_progress=progress_printer(),
        )
    if answer.is_error:
        print(f"edged: {answer.text}", file=sys.stderr)
        if arguments.json:
            show(answer.structured, as_json=True)
        return 1
    if arguments.save:
        save_picture(answer, Path(arguments.save))
        print(f"picture written to {arguments.save}", file=sys.stderr)
    if not arguments.json:
        print(answer.text)
    show(answer.structured, as_json=arguments.json)
    return 0


def tool_arguments(arguments: argparse.Namespace) -> dict[str, Any]:
    """Compose a tool's arguments from --image, --audio, --save and every --arg."""
    given: dict[str, Any] = {}
    for name, file in (("image", arguments.image), ("audio", arguments.audio)):
        if file:
            given[name] = {"data": _read(Path(file))}
    if arguments.save:
        given["annotate"] = True
    for pair in arguments.arg:
        name, equals, value = pair.partition("=")
        if not equals:
            raise BadArgument(f"--arg {pair}: write NAME=VALUE")
        given[name] = _json_or_text(value)
    return given


def save_picture(answer: CallResult, file: Path) -> None:
    """Write the first picture of an answer."""
    if not answer.images:
        raise NotFound("the answer carries no picture; only tools that take an image draw one")
    file.write_bytes(answer.images[0][0])


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


def progress_printer() -> Callable[[Progress], None]:
    """Tell a person what a long call is doing: a line on standard error for each new step."""
    told: set[str | None] = set()

    def show_step(progress: Progress) -> None:
        if progress.message in told:
            return
        told.add(progress.message)
        share = f"{100 * progress.done / progress.total:3.0f} % " if progress.total else ""
        print(f"{share}{progress.message or ''}", file=sys.stderr)

    return show_step


def checked(answer: CallResult) -> dict[str, Any]:
    """Return the structured answer of a call, or raise what it says went wrong."""
    if answer.is_error:
        raise EdgedError(answer.text)
    structured: dict[str, Any] = answer.structured
    return structured
