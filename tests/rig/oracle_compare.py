"""One line told to both servers, and what each said, brought into a form that can be compared.

Left out is what the specification leaves to a server: wording, names, capabilities, how long a list may be
kept, the text in which a failure is put, which properties a schema lists first.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

from tests.rig import oracle_ours, oracle_sdk
from tests.rig.oracle_scripts import Scripts

FREE = {"_meta", "ttlMs", "cacheScope", "instructions", "capabilities", "serverInfo"}
ERA_REFUSED = (
    "this connection serves the handshake protocol era",
    "connection is serving the 2026-07-28 protocol",
    "params._meta must be an object carrying",
    "params._meta is missing the required envelope key",
)
VERSION_KEY = "io.modelcontextprotocol/protocolVersion"


@dataclass
class Exchange:
    """A line, and what both said to it; `before` is what both said before on that connection."""

    line: bytes
    ours: list[Any]
    theirs: list[Any]
    before: list[Exchange] = field(repr=False)
    locked: bool = False
    """The SDK refused the era on this connection; `theirs` is what it says on one for that era alone."""

    @property
    def same(self) -> bool:
        """Whether both said the same, in whatever order."""
        return plain(self.ours) == plain(self.theirs)

    @property
    def value(self) -> Any:
        """The line as JSON, read as leniently as the standard library does; None where it is none."""
        try:
            return json.loads(self.line)
        except (ValueError, RecursionError):
            return None

    @property
    def method(self) -> Any:
        """The method asked for, where there is one."""
        return self.value.get("method") if isinstance(self.value, dict) else None

    @property
    def id(self) -> Any:
        """The id of the request, where it is one."""
        return self.value.get("id") if isinstance(self.value, dict) else None

    @property
    def params(self) -> Any:
        """The parameters of the line."""
        return self.value.get("params", {}) if isinstance(self.value, dict) else {}

    @property
    def modern(self) -> bool:
        """Whether the line carries the envelope of the stateless era, in whatever shape."""
        meta = self.params.get("_meta") if isinstance(self.params, dict) else None
        return isinstance(meta, dict) and VERSION_KEY in meta

    def agreed(self) -> str | None:
        """The revision our last handshake on this connection agreed on."""
        for exchange in reversed(self.before):
            for message in exchange.ours:
                if isinstance(message, dict) and "protocolVersion" in message.get("result", {}):
                    version: str = message["result"]["protocolVersion"]
                    return version
        return None

    def codes(self, said: list[Any]) -> list[int]:
        """The code of each answer that is an error."""
        return [message["error"]["code"] for message in said if "error" in message]

    def texts(self, said: list[Any]) -> str:
        """The texts of the errors."""
        return "; ".join(message["error"]["message"] for message in said if "error" in message)


@dataclass
class Tally:
    """How much was told."""

    lines: int = 0
    answers: int = 0
    different: int = 0


def plain(said: list[Any]) -> list[str]:
    """What was said, without what is free."""
    return sorted(json.dumps(_plain(message), sort_keys=True) for message in said)


def _plain(message: Any) -> Any:
    if isinstance(message, list):
        return sorted((_plain(one) for one in message), key=json.dumps)
    if "error" in message:
        return {"id": message.get("id"), "error": message["error"]["code"]}
    if "result" in message:
        result = {key: value for key, value in message["result"].items() if key not in FREE}
        if result.get("isError"):
            result = {"isError": True}
        return {"id": message["id"], "result": result}
    return message


async def exchanges(script: list[bytes]) -> list[Exchange]:
    """A script told to both, on a connection of its own.

    The SDK settles on one era a connection and refuses the other from then on. So it is told the messages of
    each era on a connection for that era alone, too, and where it refused, that answer counts instead.
    """
    before: list[Exchange] = []
    async with AsyncExitStack() as keep:
        mixed, modern, legacy = [await keep.enter_async_context(oracle_sdk.connected()) for _ in range(3)]
        ours = await keep.enter_async_context(oracle_ours.connected())
        for line in script:
            exchange = Exchange(line, _read(await ours.tell(line)), _read(await mixed.tell(line)), before[:])
            eras = [modern, legacy] if exchange.id is None else [modern if exchange.modern else legacy]
            alone = [message for era in eras for message in _read(await era.tell(line))]
            if any(text in exchange.texts(exchange.theirs) for text in ERA_REFUSED):
                exchange.locked, exchange.theirs = True, alone
            before.append(exchange)
    return before


async def told(seed: int, runs: int, tally: Tally) -> AsyncIterator[Exchange]:
    """Every line of so many scripts of a seed, counted."""
    for script in itertools.islice(Scripts(seed), runs):
        for exchange in await exchanges(script):
            tally.lines += 1
            tally.answers += len(exchange.ours)
            yield exchange


def _read(texts: list[bytes]) -> list[Any]:
    return [json.loads(text) for text in texts]
