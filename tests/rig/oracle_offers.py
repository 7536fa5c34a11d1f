"""What the oracle and our server both offer: the echo rig's tools, a resource, a template and a prompt."""

from __future__ import annotations

from edged.mcp.catalog import Argument, Catalog, Prompt, Resource, Template, Tier
from tests.rig import echo_server

NOTE_URI = "test://note"
NOTE = "Remember the milk."
ITEMS_URI = "test://items/{number}"
NAMES = ("Ada", "Alan", "Grace")


def item(number: str) -> str:
    """What the template's resources hold."""
    return f"Item {number}."


def greeting(name: str) -> str:
    """What the prompt says."""
    return f"Greet {name}."


def offered() -> Catalog:
    """All of it, with the tools that leave the server as it was."""
    catalog = echo_server.catalog()
    catalog.tools.remove("remove")
    catalog.tools.remove("waiting")
    catalog.put(
        Resource(uri=NOTE_URI, name="note", mime="text/plain", read=lambda _call: NOTE, tier=Tier.READ),
        Template(
            uri_template=ITEMS_URI,
            name="item",
            mime="text/plain",
            read=lambda _call, values: item(values["number"]),
            completers={"number": lambda _call, typed, _others: [n for n in "123" if n.startswith(typed)]},
            tier=Tier.READ,
        ),
        Prompt(
            name="greet",
            get=lambda _call, given: greeting(given["name"]),
            arguments=(
                Argument(
                    name="name",
                    required=True,
                    completer=lambda _call, typed, _others: [n for n in NAMES if n.startswith(typed)],
                ),
            ),
            tier=Tier.READ,
        ),
    )
    return catalog
