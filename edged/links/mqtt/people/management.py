"""The management connection as one service: what people are told, and whoever else uses it, in their order."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from edged.links.mqtt.config import MqttConfig
from edged.links.mqtt.connection import Connection, client_id
from edged.links.mqtt.people.state import State
from edged.links.mqtt.secrets import Secrets
from edged.links.mqtt.sharing import Sender, Shared
from edged.links.mqtt.tls import Tls
from edged.links.mqtt.values import Handler, Subscription


class Management:
    """`run` serves until `close`, then says goodbye. `sender` is what the others were given to publish by.

    `beside` hears the connection, too, and what `subscriptions` name: the spool, the fleet.
    """

    def __init__(
        self,
        config: MqttConfig,
        device: str,
        state: State,
        sender: Sender,
        *,
        beside: Sequence[Handler] = (),
        subscriptions: Sequence[Subscription] = (),
        tls: Tls | None = None,
        secrets: Secrets | None = None,
    ) -> None:
        self._state = state
        self.connection = Connection(
            config,
            client_id(config.management_client_id, device),
            Shared(state, *beside),
            will=state.will,
            subscriptions=(*state.subscriptions, *subscriptions),
            tls=tls,
            secrets=secrets,
        )
        sender.send_by(self.connection)
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Tell, and keep connected; at the end store what there is, say offline, and disconnect."""
        async with asyncio.TaskGroup() as tasks:
            telling = tasks.create_task(self._state.run(), name="mqtt-state")
            connecting = tasks.create_task(self.connection.run(), name="mqtt-management")
            try:
                await self._stopping.wait()
                telling.cancel()
                await asyncio.wait([telling])
                await self._state.close()
            finally:
                telling.cancel()
                connecting.cancel()

    def close(self) -> None:
        """Let `run` end."""
        self._stopping.set()
