"""Tells Home Assistant what there is, and what is there no more: while there is no broker, nothing counts as told."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Final

from edged.links.mqtt.people import homeassistant
from edged.links.mqtt.people.homeassistant import Announcement, Component
from edged.links.mqtt.people.retained import Retained, document
from edged.links.mqtt.people.vitals import Look
from edged.links.mqtt.values import DEFAULT_LIMIT_BYTES, Terms

LOG = logging.getLogger(__name__)

HEADER_MAX_BYTES: Final = 512
"""Topic and properties of the message take less."""


class House:
    """Keeps what was announced last, so that what is gone can be told to go."""

    def __init__(self, to: Announcement, retained: Retained) -> None:
        self._to, self._retained = to, retained
        self._announced: Mapping[str, Component] = {}
        self._room_bytes = DEFAULT_LIMIT_BYTES - HEADER_MAX_BYTES
        self._complained = False

    @property
    def birth(self) -> str:
        """Where Home Assistant says that it is back."""
        return self._to.birth

    @property
    def own(self) -> str:
        """Where the broker keeps what was announced last."""
        return self._to.topic

    def found(self, payload: bytes) -> None:
        """The broker had this announcement from before the connect: what is gone meanwhile is withdrawn, too."""
        self._announced = {**homeassistant.announced(payload), **self._announced}

    def connected(self, terms: Terms) -> None:
        """Keep to what this broker takes."""
        self._room_bytes = (terms.packet_max_bytes or DEFAULT_LIMIT_BYTES) - HEADER_MAX_BYTES

    def withdraw(self, look: Look) -> None:
        """Have entities removed that have nothing to show any more; before the sample that lacks them."""
        if not self._retained.online:
            return
        entities = homeassistant.components(look.now, look.has)
        gone = {key: entity for key, entity in self._announced.items() if key not in entities}
        if gone:
            left = {key: entity for key, entity in entities.items() if key in self._announced}
            self._say(left, gone)

    def announce(self, look: Look) -> None:
        """Have every entity there; after the sample that it reads."""
        if not self._retained.online:
            return
        entities = homeassistant.components(look.now, look.has)
        if self._say(entities, {}):
            self._complained = False
            return
        if not self._complained:
            self._complained = True
            LOG.warning("models left out for Home Assistant: the broker takes no message that names them all")
        self._say(homeassistant.components(look.now, look.has, models=False), {})

    def _say(self, entities: Mapping[str, Component], gone: Mapping[str, Component]) -> bool:
        """Whether the broker can take so much."""
        payload = homeassistant.payload(self._to, entities, gone)
        if len(payload) > self._room_bytes:
            return False
        self._announced = entities
        self._retained.put(document(self._to.topic, payload))
        return True
