"""What the device lets be read: itself, its models, its figures, its network, and to operators its config.

Every one is a JSON document of a fixed shape (`documents`, docs/agents.md). Those of `live` change by themselves,
and the `Ticker` tells of that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from edged.mcp.catalog import Call, Catalog, Relevance, Resource, Template, Tier, among
from edged.mcp.template import UriTemplate
from edged.tools import network
from edged.tools.documents import ConfigDocument
from edged.tools.inventory import Installed, Inventory
from edged.tools.readings import values
from edged.tools.uris import CONFIG, DEVICE, JSON, LABELS, METRICS, MODEL, NETWORK, model_uri
from edged.tools.view import View

LIVE_TTL_MS: Final = 1_000
"""As often as the ticker tells of changes, and the board is looked at."""
SETTLED_TTL_MS: Final = 60_000
"""Of what changes by an operator's hand alone; subscribers hear of it at once."""

_MODEL: Final = UriTemplate(MODEL)
_encode = msgspec.json.Encoder().encode


class Resources:
    """Keeps the catalog's resources in step with the inventory. For the event loop's thread."""

    def __init__(
        self, catalog: Catalog, view: View, inventory: Inventory, config: Callable[[], ConfigDocument]
    ) -> None:
        self._catalog = catalog
        self._view = view
        self._inventory = inventory
        self._config = config
        catalog.put(*self._fixed(), *self._templates())

    async def refresh(self) -> None:
        """Take over what the library now holds; list changes and updates are told."""
        changed = await self._inventory.refresh()
        for name in sorted(changed):
            self._list(name, self._inventory.models.get(name))
            self._catalog.updated(model_uri(name))
        if changed:
            self._catalog.updated(DEVICE)
            self._catalog.updated(METRICS)

    def pulse(self, uri: str) -> object:
        """What changes when a live resource does; None for one that is not live."""
        if uri == METRICS:
            metrics = self._view.metrics()
            return values(metrics.readings), metrics.limits, metrics.in_hand, metrics.loaded, metrics.work
        if uri == DEVICE:
            device = self._view.device()
            return values(device.readings), device.limits, device.engine, device.models
        if uri == NETWORK:
            return network.pulse(self._view.network())
        found = _MODEL.match(uri)
        return self._view.model(found["name"]) if found and found["name"] in self._view.models else None

    def _fixed(self) -> list[Resource]:
        return [
            Resource(
                uri=DEVICE,
                name="device",
                title="This device",
                description="What the board is, what runs its models, readings with age and source, limits and why.",
                mime=JSON,
                read=lambda _call: _text(self._view.device()),
                tier=Tier.READ,
                relevance=Relevance(priority=1.0),
                ttl_ms=LIVE_TTL_MS,
                public=True,
            ),
            Resource(
                uri=METRICS,
                name="metrics",
                title="Figures, live",
                description="Answers, errors by name and times by stage of every model; memory; readings. "
                "Subscribers hear at most once a second.",
                mime=JSON,
                read=lambda _call: _text(self._view.metrics()),
                tier=Tier.READ,
                relevance=Relevance(priority=0.6),
                ttl_ms=LIVE_TTL_MS,
                public=True,
            ),
            Resource(
                uri=NETWORK,
                name="network",
                title="Network, live",
                description="Which broker the device is connected to and why not, who calls it over MQTT, "
                "what it has not told yet.",
                mime=JSON,
                read=lambda _call: _text(self._view.network()),
                tier=Tier.READ,
                relevance=Relevance(priority=0.4),
                ttl_ms=LIVE_TTL_MS,
                public=True,
            ),
            Resource(
                uri=CONFIG,
                name="config",
                title="Running config",
                description="Every setting as it runs; secrets are masked. Which tables wait for a restart.",
                mime=JSON,
                read=lambda _call: _text(self._config()),
                tier=Tier.OPERATOR,
                relevance=Relevance(priority=0.3),
                ttl_ms=SETTLED_TTL_MS,
            ),
        ]

    def _templates(self) -> list[Template]:
        names = among(lambda: self._view.models)
        return [
            Template(
                uri_template=MODEL,
                name="model",
                title="A model",
                description="What it takes and gives, its versions and what their trials measured, what it has done.",
                mime=JSON,
                read=self._read_model,
                tier=Tier.READ,
                completers={"name": names},
                ttl_ms=LIVE_TTL_MS,
                public=True,
            ),
            Template(
                uri_template=LABELS,
                name="labels",
                title="A model's labels",
                description="Every label it can give, in its own order; may be long.",
                mime=JSON,
                read=lambda _call, variables: _text(self._view.labels(variables["name"])),
                tier=Tier.READ,
                completers={"name": among(self._labelled)},
                ttl_ms=SETTLED_TTL_MS,
                public=True,
            ),
        ]

    def _labelled(self) -> list[str]:
        return [name for name, installed in self._view.models.items() if installed.labels]

    def _read_model(self, _call: Call, variables: Mapping[str, str]) -> str:
        return _text(self._view.model(variables["name"]))

    def _list(self, name: str, installed: Installed | None) -> None:
        """Have a model's own resource on the list exactly while it is installed."""
        uri = model_uri(name)
        if installed is None:
            self._catalog.resources.remove(uri)
            return
        manifest = installed.described.manifest if installed.described else None
        title = manifest.title if manifest else name
        listed = self._catalog.resources.get(uri)
        if listed and listed.title == title:
            return
        self._catalog.put(
            Resource(
                uri=uri,
                name=name,
                title=title,
                description=f"Model {name}: versions, what it takes and gives, what it has done.",
                mime=JSON,
                read=lambda _call: _text(self._view.model(name)),
                tier=Tier.READ,
                relevance=Relevance(priority=0.5),
                ttl_ms=LIVE_TTL_MS,
                public=True,
            )
        )


def _text(document: msgspec.Struct) -> str:
    return _encode(document).decode()
