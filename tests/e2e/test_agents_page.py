"""The session in docs/agents.md, sent line by line: what the page shows is what the device says."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any

from edged.data import folder
from tests.rig.daemon import Daemon
from tests.rig.desk import MODERN
from tests.rig.talk import Talk

PAGE = Path(__file__).parents[2] / "docs" / "agents.md"
SEVEN = base64.b64encode((folder("models") / "demo" / "digit_7.png").read_bytes()).decode()


def lines() -> list[str]:
    session = PAGE.read_text().partition("## A session")[2]
    return [line for block in re.findall(r"```\n(.*?)```", session, re.DOTALL) for line in block.splitlines()]


def message(shown: str) -> bytes:
    sent: dict[str, Any] = json.loads(shown.replace("<base64 of a 7>", SEVEN))
    sent["params"] = {**sent.get("params", {}), "_meta": MODERN}
    return json.dumps({"jsonrpc": "2.0", **sent}).encode()


def differences(shown: Any, said: Any, path: str = "$") -> list[str]:
    """Where what was said is not what is shown: an object may have more members, a list more between those shown."""
    if isinstance(shown, str) and isinstance(said, str):
        pattern = ".*".join(map(re.escape, shown.split("…")))
        return [] if re.fullmatch(pattern, said, re.DOTALL) else [f"{path}: {said!r} is not {shown!r}"]
    if isinstance(shown, dict):
        held = json.loads(said) if isinstance(said, str) else said
        return [d for key, item in shown.items() for d in differences(item, held.get(key), f"{path}.{key}")]
    if isinstance(shown, list):
        rest = iter(said or [])
        missing = [item for item in shown if not any(not differences(item, one) for one in rest)]
        return [f"{path}: {item!r} is not there, or not in this order" for item in missing]
    return [] if shown == said else [f"{path}: {said!r} is not {shown!r}"]


def answer(talk: Talk, shown: Any) -> list[str]:
    """Where the next message differs from what is shown; an early notification, of a model being loaded, is passed over."""
    while True:
        received = talk.take()
        found = differences(shown, received.get("result") or received.get("error") or received["params"])
        if "id" in received or not found:
            return found


def test_the_session_on_the_page_is_one_that_the_device_holds(device: Daemon) -> None:
    shown = lines()
    assert len(shown) > 15
    with Talk(device.socket) as talk:
        for line in shown:
            if line.startswith("> "):
                talk.send(message(line.removeprefix("> ")))
            else:
                assert answer(talk, json.loads(line.removeprefix("< "))) == []
