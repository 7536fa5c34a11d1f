"""Large results as resources, whole or in parts."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from edged.links.mqtt.mcp.results import PART, WHOLE, Results
from edged.mcp.catalog import Call, Embedded, Template, Tier


def templates(results: Results, clock: Callable[[], float]) -> tuple[Template, Template]:
    """What to put on the catalog for them."""

    def whole(call: Call, variables: Mapping[str, str]) -> list[Embedded]:
        held = results.find(variables["id"], call.principal.name, clock(), operator=_operates(call))
        return [Embedded(held.uri, held.data, held.mime)]

    def part(call: Call, variables: Mapping[str, str]) -> list[Embedded]:
        name, number = variables["id"], variables["part"]
        data = results.part(name, number, call.principal.name, clock(), operator=_operates(call))
        return [Embedded(f"{WHOLE.format(id=name)}/{number}", data, "application/octet-stream")]

    return (
        Template(
            uri_template=WHOLE,
            name="result",
            title="A large result",
            description="What was too large for one MQTT message; kept ten minutes for whoever asked.",
            read=whole,
            tier=Tier.READ,
        ),
        Template(
            uri_template=PART,
            name="result_part",
            title="A part of a large result",
            description="Parts are counted from 0; put together they are the result.",
            read=part,
            tier=Tier.READ,
        ),
    )


def _operates(call: Call) -> bool:
    return call.principal.tier >= Tier.OPERATOR
