from __future__ import annotations

import asyncio

import pytest

from edged.errors import Unreachable
from edged.links.mqtt.sharing import Sender, Shared
from edged.links.mqtt.values import Publication, Terms

TERMS = Terms(broker="mqtt://localhost", client_id="lab-7.m-1")


class Ear:
    """A Handler that writes down what it hears, and may stumble over it."""

    def __init__(self, name: str, heard: list[str], *, stumbles: bool = False) -> None:
        self._name, self._heard, self._stumbles = name, heard, stumbles

    def connected(self, terms: Terms) -> None:
        self._hear(terms.client_id)

    def received(self, publication: Publication) -> None:
        self._hear(publication.topic)

    def disconnected(self, reason: str) -> None:
        self._hear(reason)

    def _hear(self, what: str) -> None:
        self._heard.append(f"{self._name} {what}")
        if self._stumbles:
            raise RuntimeError(self._name)


def test_everybody_is_told_everything_in_order() -> None:
    heard: list[str] = []
    shared = Shared(Ear("a", heard), Ear("b", heard))
    shared.connected(TERMS)
    shared.received(Publication(topic="x"))
    shared.disconnected("gone")
    assert heard == ["a lab-7.m-1", "b lab-7.m-1", "a x", "b x", "a gone", "b gone"]


def test_who_stumbles_keeps_nothing_from_the_next_and_is_not_hidden() -> None:
    heard: list[str] = []
    shared = Shared(Ear("a", heard, stumbles=True), Ear("b", heard))
    with pytest.raises(RuntimeError, match="a"):
        shared.received(Publication(topic="x"))
    assert heard == ["a x", "b x"]


def test_what_is_sent_before_the_connection_is_made_finds_nobody() -> None:
    async def scenario() -> None:
        sender = Sender()
        assert sender.terms is None
        sender.publish_from_thread(Publication(topic="x"))
        with pytest.raises(Unreachable):
            await sender.publish(Publication(topic="x"))

    asyncio.run(scenario())
