"""What goes over an MQTT 5 connection, as values; and what a connection promises to who uses it."""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

import msgspec

DEFAULT_LIMIT_BYTES: Final = 128 * 1024
"""What a broker or client that declares no Maximum Packet Size is taken to accept."""


class Properties(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The properties of a PUBLISH that mean something here (MQTT 5, 3.3.2.3)."""

    content_type: str | None = None
    text: bool = False
    """Payload Format Indicator 1: the payload is UTF-8."""
    expiry_s: int | None = None
    """Message Expiry Interval; what is left of it, on a received one."""
    response_topic: str | None = None
    correlation: bytes | None = None
    user: tuple[tuple[str, str], ...] = ()


class Publication(msgspec.Struct, frozen=True, kw_only=True):
    """A message to publish, or one received."""

    topic: str
    payload: bytes = b""
    qos: int = 1
    retain: bool = False
    properties: Properties = Properties()


class Subscription(msgspec.Struct, frozen=True, kw_only=True):
    """A filter to be subscribed on every connect."""

    filter: str
    qos: int = 1
    no_local: bool = False
    optional: bool = False
    """Whether the connection is used even where the broker refuses this one."""


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """What the broker granted (CONNACK, MQTT 5, 3.2.2.3)."""

    broker: str
    """Its URL, without a password."""
    client_id: str
    packet_max_bytes: int | None = None
    """Maximum Packet Size; None where the broker declares none."""
    receive_max: int = 65535
    user: tuple[tuple[str, str], ...] = ()


class Handler(Protocol):
    """Who uses a connection; every method is called on the event loop and must not block."""

    def connected(self, terms: Terms) -> None:
        """Every subscription has been answered by the broker: publish presence now."""

    def received(self, publication: Publication) -> None:
        """A message came; it is acknowledged to the broker when this returns."""

    def disconnected(self, reason: str) -> None:
        """The connection is gone; it is sought again by itself. What was published and not acknowledged is lost."""


class Publisher(Protocol):
    """The sending side of a connection."""

    @property
    def terms(self) -> Terms | None:
        """What the broker granted; None while there is no connection."""

    def publish(self, publication: Publication) -> asyncio.Future[int]:
        """Send on the event loop: the PUBACK's reason code (0 for QoS 0, at once).

        The future fails with Unreachable where there is no connection or it breaks first, with Overloaded where
        too much waits already (`retry_after_s`), and with Rejected where the packet is larger than the broker takes.
        """

    def publish_from_thread(self, publication: Publication) -> None:
        """Likewise on any thread, for QoS 0 and 1, without hearing of the end."""
