"""What the broker is to keep of us: each topic's newest message, said once a connection unless it changes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import Final

from edged.errors import EdgedError
from edged.links.mqtt.people.vitals import JSON
from edged.links.mqtt.values import Properties, Publication

LOG = logging.getLogger(__name__)

Publish = Callable[[Publication], "asyncio.Future[int]"]
"""As `Publisher.publish`."""

REFUSED: Final = 0x80
"""Reason codes from here on are failures (MQTT 5, 2.4)."""


def document(topic: str, payload: bytes, qos: int = 1) -> Publication:
    """A JSON document that the broker keeps."""
    return Publication(
        topic=topic,
        payload=payload,
        qos=qos,
        retain=True,
        properties=Properties(content_type=JSON, text=True),
    )


class Retained:
    """For the event loop's thread."""

    def __init__(self, publish: Publish) -> None:
        self._publish = publish
        self.online = False
        """Whether there is a broker to say it to."""
        self._said: dict[str, bytes] = {}
        self._complained: set[str] = set()

    def connected(self) -> None:
        """The broker may be one that knows nothing."""
        self.online = True
        self._said.clear()

    def disconnected(self) -> None:
        """Say nothing until the next connect."""
        self.online = False

    def forget(self, topic: str | None = None) -> None:
        """Say it again, or everything, when it is put the next time."""
        if topic is None:
            self._said.clear()
        else:
            self._said.pop(topic, None)

    def put(self, publication: Publication) -> asyncio.Future[int] | None:
        """Publish it where the broker does not have it already; None where nothing is said.

        What could not be sent is said again when it is put the next time.
        """
        topic, payload = publication.topic, publication.payload
        if not self.online or self._said.get(topic) == payload:
            return None
        self._said[topic] = payload
        sent = self._publish(publication)
        sent.add_done_callback(partial(self._sent, topic, payload))
        return sent

    def _sent(self, topic: str, payload: bytes, sent: asyncio.Future[int]) -> None:
        if sent.cancelled():
            return
        if (exc := sent.exception()) is None:
            if sent.result() >= REFUSED:
                self._complain(topic, f"the broker answers 0x{sent.result():02x}")
            return
        if self._said.get(topic) == payload:
            del self._said[topic]
        if not isinstance(exc, EdgedError):
            raise exc
        if self.online:
            self._complain(topic, exc.message)

    def _complain(self, topic: str, why: str) -> None:
        """Once a topic."""
        if topic not in self._complained:
            self._complained.add(topic)
            LOG.warning("cannot publish topic=%s: %s", topic, why)
