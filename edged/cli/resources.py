"""`edged resources`: what the device lets be read."""

from __future__ import annotations

import argparse
import base64
import json
import sys
from typing import Any

from edged.cli.connection import caller
from edged.cli.tables import show, table
from edged.mcp.client import Caller


def ls(arguments: argparse.Namespace) -> int:
    """List what can be read: the resources, then the templates, whose names in braces are to be filled in."""
    with caller(arguments) as device:
        found = {
            "resources": pages(device, "resources/list", "resources"),
            "templates": pages(device, "resources/templates/list", "resourceTemplates"),
        }
    if arguments.json:
        show(found, as_json=True)
        return 0
    rows = [
        [one.get("uri") or one["uriTemplate"], one.get("title", one["name"]), one.get("description", "")]
        for kind in found.values()
        for one in kind
    ]
    table("", ["uri", "title", "what it holds"], rows)
    return 0


def read(arguments: argparse.Namespace) -> int:
    """Print what a resource holds: a JSON document as tables, or with --json as it is; anything else as it is."""
    with caller(arguments) as device:
        contents = device.request("resources/read", {"uri": arguments.uri})["contents"]
    for part in contents:
        _print(part, as_json=arguments.json)
    return 0


def document(device: Caller, uri: str) -> dict[str, Any]:
    """What a JSON resource holds."""
    (part,) = device.request("resources/read", {"uri": uri})["contents"]
    found: dict[str, Any] = json.loads(part["text"])
    return found


def pages(device: Caller, method: str, member: str) -> list[dict[str, Any]]:
    """Every entry of a list, over all its pages."""
    found: list[dict[str, Any]] = []
    params: dict[str, object] = {}
    while True:
        page = device.request(method, params)
        found += page[member]
        if (cursor := page.get("nextCursor")) is None:
            return found
        params = {"cursor": cursor}


def _print(part: dict[str, Any], *, as_json: bool) -> None:
    if "blob" in part:
        sys.stdout.flush()
        sys.stdout.buffer.write(base64.b64decode(part["blob"]))
    elif part.get("mimeType") == "application/json":
        show(json.loads(part["text"]), as_json=as_json)
    else:
        print(part["text"])
