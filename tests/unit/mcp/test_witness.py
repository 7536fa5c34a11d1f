"""What is told of what peers ask, and when."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

import msgspec
import pytest

from edged.errors import NotAllowed, NotReady, StorageError
from edged.mcp.catalog import (
    Call,
    Catalog,
    Form,
    Job,
    Method,
    Principal,
    Prompt,
    Resource,
    Template,
    Tier,
    Tool,
    ToolResult,
    Work,
)
from edged.mcp.results import Info
from edged.mcp.server import Server
from tests.rig.desk import Desk

FORM = Form("Sure?", {"type": "object", "properties": {"sure": {"type": "boolean"}}})


class Which(msgspec.Struct, frozen=True):
    name: str = "face"


class Told:
    """A witness that keeps what it is told, and refuses where the test wants it to."""

    def __init__(self) -> None:
        self.told: list[tuple[str, ...]] = []
        self.full = False

    async def act(self, who: Principal, what: str, arguments: object, *, frees: bool) -> None:
        if self.full and not frees:
            raise StorageError("not done, since it cannot be recorded")
        assert isinstance(arguments, Which)
        self.told.append(("act", who.name, what, arguments.name))

    def acted(self, who: Principal, what: str, error: str | None) -> None:
        self.told.append(("acted", who.name, what, error or ""))

    def called(self, who: Principal, what: str) -> None:
        self.told.append(("called", who.name, what))

    def read(self, who: Principal, what: str) -> None:
        self.told.append(("read", who.name, what))

    def refused(self, who: Principal, what: str, why: str) -> None:
        self.told.append(("refused", who.name, what, why))


class Device:
    """A server whose operator tools write into the witness's list when they run."""

    def __init__(self) -> None:
        self.witness = Told()
        catalog = Catalog()
        handlers = {
            "now": self._now,
            "later": self._later,
            "fails": self._fails,
            "asks": self._asks,
            "works": self._works,
        }
        for name, handler in handlers.items():
            catalog.put(self._tool(name, handler, Tier.OPERATOR))
        catalog.put(
            self._tool("removes", self._now, Tier.OPERATOR, frees=True),
            self._tool("acts", lambda _call, _arguments: ToolResult(structured={}, text=""), Tier.ACT),
            self._tool("picky", self._picky, Tier.ACT),
            self._tool("looks", lambda _call, _arguments: ToolResult(structured={}, text=""), Tier.READ),
            Resource(uri="t://secret", name="s", read=lambda _call: "", tier=Tier.OPERATOR),
            Template(uri_template="t://x/{n}", name="x", read=lambda _call, _v: "", tier=Tier.OPERATOR),
            Prompt(name="ops", get=lambda _call, _arguments: "", tier=Tier.OPERATOR),
        )
        methods = {"edged/do": Method(params=Which, handler=lambda _call, given: given, tier=Tier.OPERATOR)}
        self.server = Server(catalog, Info(name="t", version="1"), methods=methods, witness=self.witness)

    def desk(self, tier: Tier = Tier.OPERATOR) -> Desk:
        return Desk(self.server, tier, "uid:7")

    def call(self, name: str, tier: Tier = Tier.OPERATOR) -> Any:
        """Call a tool and let its work run to the end; its answer."""
        desk = self.desk(tier)
        params = {"name": name, "arguments": {}}
        meta: dict[str, Any] = {"io.modelcontextprotocol/clientCapabilities": {"elicitation": {}}}
        return self.finish(desk, "tools/call", params, meta)

    def finish(self, desk: Desk, method: str, params: dict[str, Any], meta: dict[str, Any]) -> Any:
        envelope = {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientInfo": {"name": "t", "version": "0"},
            "io.modelcontextprotocol/clientCapabilities": {},
            **meta,
        }
        sent = desk.begin(method, {**params, "_meta": envelope})
        while desk.working:
            call, work = next(iter(desk.working.items()))
            sent = desk.settle(call, asyncio.run(_outcome(work)))
        return sent[-1]

    def _tool(self, name: str, handler: Any, tier: Tier, *, frees: bool = False) -> Tool:
        return Tool(
            name=name, title=name, description=name, arguments=Which, handler=handler, tier=tier, frees=frees
        )

    def _now(self, _call: Call, _arguments: Which) -> ToolResult:
        self.witness.told.append(("ran",))
        return ToolResult(structured={}, text="")

    async def _later(self, _call: Call, _arguments: Which) -> ToolResult:
        self.witness.told.append(("ran",))
        return ToolResult(structured={}, text="", is_error=True)

    def _fails(self, _call: Call, _arguments: Which) -> ToolResult:
        raise NotReady("not yet", 1.0)

    def _asks(self, call: Call, _arguments: Which) -> ToolResult:
        call.ask("sure", FORM)
        raise AssertionError

    def _works(self, _call: Call, _arguments: Which) -> Job:
        async def run(_work: Work) -> ToolResult:
            self.witness.told.append(("ran",))
            return ToolResult(structured={}, text="")

        return Job(run)

    def _picky(self, _call: Call, _arguments: Which) -> ToolResult:
        raise NotAllowed("$.priority: above 6 is for operators")


async def _outcome(work: Awaitable[object]) -> object:
    try:
        return await work
    except Exception as exc:  # noqa: BLE001 - as the session does
        return exc


@pytest.fixture
def device() -> Device:
    return Device()


@pytest.mark.parametrize("name", ["now", "works"])
def test_an_operators_act_is_on_record_before_it_runs_and_its_end_is_told(device: Device, name: str) -> None:
    assert device.call(name)["result"]["isError"] is False
    assert device.witness.told == [("act", "uid:7", name, "face"), ("ran",), ("acted", "uid:7", name, "")]


def test_how_an_act_failed_is_told(device: Device) -> None:
    device.call("later")
    device.call("fails")
    assert [told[-1] for told in device.witness.told if told[0] == "acted"] == ["error", "NotReady"]


def test_an_act_that_cannot_be_recorded_does_not_happen_and_says_why(device: Device) -> None:
    device.witness.full = True
    answer = device.call("now")["result"]
    assert answer["isError"] is True
    assert answer["structuredContent"]["error"] == "StorageError"
    assert device.witness.told == []


def test_an_act_that_makes_room_happens_on_a_full_disk(device: Device) -> None:
    device.witness.full = True
    device.call("removes")
    assert ("ran",) in device.witness.told


def test_an_act_that_first_asks_has_not_ended(device: Device) -> None:
    assert device.call("asks")["result"]["resultType"] == "input_required"
    assert device.witness.told == [("act", "uid:7", "asks", "face")]


def test_a_call_below_an_operators_is_counted_and_looking_is_not(device: Device) -> None:
    device.call("acts", Tier.ACT)
    device.call("looks", Tier.ACT)
    assert device.witness.told == [("called", "uid:7", "acts")]


def test_whoever_asks_for_more_than_he_may_is_on_record_whatever_he_asked_for(device: Device) -> None:
    desk = device.desk(Tier.ACT)
    asked: list[tuple[str, dict[str, Any], str]] = [
        ("tools/call", {"name": "now", "arguments": {}}, "now"),
        ("resources/read", {"uri": "t://secret"}, "t://secret"),
        ("resources/read", {"uri": "t://x/1"}, "t://x/1"),
        ("prompts/get", {"name": "ops"}, "ops"),
        ("edged/do", {}, "edged/do"),
    ]
    for method, params, _ in asked:
        assert "error" in desk.ask_modern(method, params)
    assert [told[:3] for told in device.witness.told] == [("refused", "uid:7", what) for *_, what in asked]


def test_what_names_nothing_at_all_is_no_refusal(device: Device) -> None:
    desk = device.desk(Tier.ACT)
    desk.ask_modern("tools/call", {"name": "none", "arguments": {}})
    desk.ask_modern("resources/read", {"uri": "t://none"})
    desk.ask_modern("edged/none")
    assert device.witness.told == []


def test_a_handler_that_refuses_for_who_asks_is_on_record(device: Device) -> None:
    device.call("picky", Tier.ACT)
    assert device.witness.told[-1] == ("refused", "uid:7", "picky", "$.priority: above 6 is for operators")


def test_what_operators_alone_may_read_is_on_record_when_they_do(device: Device) -> None:
    device.desk().ask_modern("resources/read", {"uri": "t://secret"})
    assert device.witness.told == [("read", "uid:7", "t://secret")]


def test_a_method_of_our_own_is_an_act_like_any_other(device: Device) -> None:
    device.finish(device.desk(), "edged/do", {}, {})
    assert [told[0] for told in device.witness.told] == ["act", "acted"]
