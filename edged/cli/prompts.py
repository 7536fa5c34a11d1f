"""`edged prompts`: what the device suggests to do, from its state at this moment."""

from __future__ import annotations

import argparse
from typing import Any

from edged.cli.connection import caller
from edged.cli.resources import pages
from edged.cli.tables import show, table
from edged.errors import BadArgument


def ls(arguments: argparse.Namespace) -> int:
    """List the prompts; an argument in brackets may be left out."""
    with caller(arguments) as device:
        found = pages(device, "prompts/list", "prompts")
    if arguments.json:
        show({"prompts": found}, as_json=True)
    else:
        rows = [[one["name"], _arguments(one), one.get("description", "")] for one in found]
        table("", ["prompt", "arguments", "what it does"], rows)
    return 0


def get(arguments: argparse.Namespace) -> int:
    """Print a prompt: its text, then the resources it points to."""
    with caller(arguments) as device:
        params = {"name": arguments.name, "arguments": _given(arguments.arg)}
        found = device.request("prompts/get", params)
    if arguments.json:
        show(found["messages"], as_json=True)
        return 0
    for message in found["messages"]:
        content = message["content"]
        print(content["text"] if content["type"] == "text" else _pointer(content))
    return 0


def _given(pairs: list[str]) -> dict[str, str]:
    given = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise BadArgument(f"--arg {pair}: write NAME=VALUE")
        given[name] = value
    return given


def _arguments(prompt: dict[str, Any]) -> str:
    arguments = prompt.get("arguments", [])
    return ", ".join(one["name"] if one.get("required") else f"[{one['name']}]" for one in arguments)


def _pointer(content: dict[str, Any]) -> str:
    if content["type"] == "resource_link":
        return f"see {content['uri']}: {content.get('description') or content['name']}"
    return f"({content['type']})"
