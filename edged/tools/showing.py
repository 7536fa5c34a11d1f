"""Everything the device offers beside tools, put together: resources, prompts, and what keeps them true."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from edged.inference.models.library import Library
from edged.mcp.catalog import Catalog
from edged.tasks import OneThread
from edged.tools import why
from edged.tools.documents import ConfigDocument
from edged.tools.inventory import Followed, Installed, Inventory
from edged.tools.models import Models
from edged.tools.prompts import Prompts
from edged.tools.resources import Resources
from edged.tools.ticking import Ticker
from edged.tools.uris import CONFIG
from edged.tools.view import Rooms, View


class Showing:
    """For the event loop's thread. `refresh` once the library is open, and have `ticker.run` run."""

    def __init__(
        self,
        catalog: Catalog,
        rooms: Rooms,
        library: Callable[[], Library],
        disk: OneThread,
        config: Callable[[], ConfigDocument],
    ) -> None:
        self._catalog = catalog
        self._inventory = inventory = Inventory(library, disk)
        view = View(rooms, inventory)
        self._resources = Resources(catalog, view, inventory, config)
        catalog.put(*Prompts(view).offers(), why.tool(view, rooms.events))
        self.ticker = Ticker(self._resources.pulse, catalog.updated)
        catalog.on_watch(self.ticker.watch)
        self.on_refresh: Callable[[], None] = lambda: None
        """Called when the models there are may be others."""

    @property
    def models(self) -> Mapping[str, Installed]:
        """Every installed model, by name."""
        return self._inventory.models

    async def refresh(self) -> None:
        """Take over what the library now holds."""
        await self._resources.refresh()
        self.ticker.reconsider()
        self.on_refresh()

    def follow(self, models: Models) -> Models:
        """The same, with every change of the library taken over."""
        return Followed(models, self.refresh)

    def config_changed(self) -> None:
        """Tell who subscribed to the config."""
        self._catalog.updated(CONFIG)
