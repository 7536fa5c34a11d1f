"""A tool that stops at every await until the test lets it go on."""

from __future__ import annotations

import asyncio
from typing import Literal

import msgspec

from edged.errors import NotReady
from edged.mcp.catalog import Call, Form, Tier, Tool, ToolResult

STEPS = 2

Ending = Literal["result", "refusal", "accident", "question"]


class Walk(msgspec.Struct, frozen=True, kw_only=True):
    """How a call goes."""

    key: int
    ending: Ending = "result"
    stubborn: bool = False
    """Takes another await to end when it is cancelled, and then gives a result all the same."""


class Gates:
    """Calls of the tool `walk` that wait, by their key."""

    def __init__(self) -> None:
        self.waiting: dict[int, asyncio.Future[None]] = {}
        self.tool = Tool(
            name="walk", title="Walk", description="", arguments=Walk, handler=self._walk, tier=Tier.READ
        )

    def open(self, key: int) -> None:
        """Let a call go on to its next await."""
        self.waiting.pop(key).set_result(None)

    async def _walk(self, call: Call, arguments: Walk) -> ToolResult:
        try:
            for step in range(STEPS):
                await self._stop(arguments.key)
                call.progress(step + 1, STEPS)
                call.log("info", {"step": step})
        except asyncio.CancelledError:
            if not arguments.stubborn:
                raise
            await self._stop(arguments.key)
            call.progress(STEPS + 1)
            return ToolResult(structured=None, text="too late")
        match arguments.ending:
            case "refusal":
                raise NotReady("soon", 1.0)
            case "accident":
                raise RuntimeError("secret")
            case "question":
                reply = call.ask("name", Form("Who?", {"type": "object", "properties": {}}))
                return ToolResult(structured=None, text=reply.action)
        return ToolResult(structured=None, text="arrived")

    async def _stop(self, key: int) -> None:
        gate = self.waiting[key] = asyncio.get_running_loop().create_future()
        try:
            await gate
        finally:
            if self.waiting.get(key) is gate:
                del self.waiting[key]
