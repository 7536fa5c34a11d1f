"""How hosts talk in reality: each transcript beside this file, played against the dispatcher, message for message.

A line that starts with `>` is what the host sent, byte for byte; the `<` lines after it are all that is said to
it, in order; `#` lines say whose habit it is and what has to come of it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edged.mcp.catalog import Catalog, Resource, Tier
from edged.mcp.results import Info
from edged.mcp.server import Server
from tests.rig import echo_server
from tests.rig.desk import Desk

TRANSCRIPTS = sorted(Path(__file__).parent.glob("*.txt"))


def device() -> Server:
    """One tool and one resource, so that lists stay short."""
    catalog = Catalog()
    echo = echo_server.catalog().tools.get("echo")
    assert echo is not None
    note = Resource(uri="test://note", name="note", read=lambda _call: "Remember the milk.", tier=Tier.READ)
    catalog.put(echo, note)
    return Server(catalog, Info(name="golden", version="1"))


def exchanges(transcript: str) -> list[tuple[str, list[Any]]]:
    """Each line sent, with the messages that answer it."""
    played: list[tuple[str, list[Any]]] = []
    for line in transcript.splitlines():
        mark, _, text = line.partition(" ")
        if mark == ">":
            played.append((text, []))
        elif mark == "<":
            played[-1][1].append(json.loads(text))
        else:
            assert mark in {"#", ""}, line
    return played


@pytest.mark.parametrize("path", TRANSCRIPTS, ids=lambda path: path.stem)
def test_a_host_is_answered_as_it_is_written(path: Path) -> None:
    desk = Desk(device())
    played = exchanges(path.read_text(encoding="utf-8"))
    assert played
    for sent, answers in played:
        assert desk.tell(sent) == answers, sent


def test_every_transcript_says_whose_habit_it_is() -> None:
    assert len(TRANSCRIPTS) >= 10
    assert all(path.read_text(encoding="utf-8").startswith("# ") for path in TRANSCRIPTS)
