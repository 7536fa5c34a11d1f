from __future__ import annotations

import logging
from typing import Any

import pytest

from edged.mcp.catalog import Call, Catalog, Tier, Tool, ToolResult
from edged.mcp.server import Server
from edged.mcp.trace import Stamp, current
from tests.rig.desk import Desk
from tests.rig.offered import FULL_INFO, Nothing, said

PARENT = "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01"


def stamped() -> str:
    record = logging.LogRecord("x", logging.INFO, "", 0, "m", None, None)
    assert Stamp().filter(record)
    return str(record.trace)  # type: ignore[attr-defined]  # what the filter is for


def traced(meta: dict[str, Any]) -> tuple[str, object]:
    """What a log line in a handler says of its trace, and what the handler finds."""
    seen: list[tuple[str, object]] = []

    def handler(_call: Call, _arguments: Nothing) -> ToolResult:
        seen.append((stamped(), current.get()))
        return said("x")

    offered = Catalog()
    offered.put(Tool(name="t", title="", description="", arguments=Nothing, handler=handler, tier=Tier.READ))
    Desk(Server(offered, FULL_INFO)).ask_modern("tools/call", {"name": "t"}, **meta)
    assert stamped() == ""
    return seen[0]


def test_log_lines_of_a_call_carry_its_trace_id_and_those_after_it_do_not() -> None:
    line, found = traced({"traceparent": PARENT, "tracestate": "a=b", "baggage": "user=1"})
    assert line == " trace=0af7651916cd43dd8448eb211c80319c"
    assert found == (PARENT, "a=b", "user=1")


@pytest.mark.parametrize(
    "parent",
    [
        "",
        "x\nforged=line",
        "00-" + "0" * 32 + "-00f067aa0ba902b7-01",
        PARENT.upper(),
        PARENT + "\n",
        PARENT + "x",
    ],
)
def test_a_trace_id_that_is_none_is_not_logged(parent: str) -> None:
    assert traced({"traceparent": parent})[0] == ""


def test_a_call_without_one_has_none() -> None:
    assert traced({"baggage": "a=1"}) == ("", None)
