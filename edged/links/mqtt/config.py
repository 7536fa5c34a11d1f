"""Settings of the MQTT connections, and of MCP on them."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from edged.links.mqtt.address import Address
from edged.links.mqtt.people.config import StateConfig
from edged.links.spool.config import SpoolConfig

BrokerUrl = Annotated[
    str, Meta(pattern=r"^((mqtt|mqtts|ws|wss)://[^\s/@]+(/\S*)?|unix:///\S+)$(?!\n)", max_length=1024)
]
Level = Annotated[str, Meta(pattern=r"^([A-Za-z0-9][A-Za-z0-9._-]*)?$(?!\n)", max_length=64)]
Levels = Annotated[
    str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*$(?!\n)", max_length=128)
]
Template = Annotated[str, Meta(pattern=r"^([A-Za-z0-9._-]|\{id\}|\{random\})+$(?!\n)", max_length=128)]
File = Annotated[str, Meta(pattern="^(/.*)?$(?!\n)")]

RESERVED = frozenset({"presence", "capability"})
"""Levels of the topics themselves, so no device's id."""


class MqttConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The `[mqtt]` table: MCP, telemetry and the fleet over MQTT 5. Without brokers there is none of it."""

    brokers: tuple[BrokerUrl, ...] = ()
    """In order of preference: mqtts://host[:8883], wss://host[:443][/mqtt], on this machine also mqtt://, ws://
    and unix:///path. The first one that answers is kept. Default: none."""
    plaintext: bool = False
    """Whether mqtt:// and ws:// may leave this machine. Default: no; anybody on the network could read and forge."""
    id: Level = ""
    """The device's name on the broker, one topic level. Default: the host name."""
    name: Levels = "edged/vision"
    """What the device is, for clients that look for a kind of server. Default: what edged does."""
    prefix: Annotated[str, Meta(pattern=r"^[^+#\s\x00]*$(?!\n)", max_length=64)] = "$"
    """What the topics of MCP begin with. Default: `$`, as the specification has it; some brokers forbid that."""
    client_id: Template = "{id}-{random}"
    """MQTT client id of the MCP connection. Default: one nobody can guess, for whoever connects with the id of
    another throws it out; `{id}` alone for brokers that want it equal to a certificate's name."""
    management_client_id: Template = "{id}.m-{random}"
    """Likewise of the second connection, for telemetry, state and the fleet."""

    ca: File = ""
    """PEM of the authority that signed the brokers' certificates. Default: the system's authorities."""
    cert: File = ""
    """PEM of this device's certificate, and what lies between it and the authority. Default: none."""
    key: File = ""
    """PEM of its key. Default: none; a key that cannot be read out comes from the device's key store."""
    username: Annotated[str, Meta(max_length=1024)] = ""
    """Default: none; a certificate says who this is."""
    password_file: File = ""
    """A file with the password, open or sealed (`edged keys seal`); one line end at its end does not count. Read at
    every connect. Default: none."""

    keepalive_s: Annotated[int, Meta(ge=1, le=3600)] = 10
    """Seconds of silence after which the broker is asked whether it lives; half as long again and it does not.
    Default: on another broker within 30 s of a dead network."""
    connect_s: Annotated[float, Meta(gt=0, le=120)] = 10.0
    """Seconds from a name to an encrypted connection, and again from there to granted subscriptions. Default:
    name service, a handshake and a key in a TPM, all slow."""
    retry_max_s: Annotated[float, Meta(ge=1, le=3600)] = 60.0
    """The longest of the random pauses between two rounds of the brokers. Default: a minute."""
    taken_over_s: Annotated[float, Meta(ge=1, le=86400)] = 120.0
    """The pause when another connection has taken this one's client id; it doubles five times. Default: slow
    enough for the two not to fight."""
    back_after_s: Annotated[float, Meta(gt=0, le=86400)] = 600.0
    """How long a preferred broker must have answered before it is gone back to. Default: ten minutes."""
    probe_s: Annotated[float, Meta(gt=0, le=3600)] = 60.0
    """Between two trials of it meanwhile. Default: ten of them."""

    receive_max: Annotated[int, Meta(ge=1, le=65535)] = 64
    """Messages the broker may have on its way to us unacknowledged. Default: a burst of many clients."""
    packet_max_bytes: Annotated[int, Meta(ge=4096, le=268_435_460)] = 1024 * 1024
    """The largest message the broker may send. Default: a camera's JPEG, several times."""
    waiting_max: Annotated[int, Meta(ge=1, le=65535)] = 1024
    """Messages that wait for the broker to acknowledge earlier ones; one more is refused. Default: seconds of
    a busy device's answers."""
    waiting_max_bytes: Annotated[int, Meta(ge=65536, le=268_435_456)] = 8 * 1024 * 1024
    """Likewise their bytes, and those the network has not taken yet. Default: flat memory."""
    grace_s: Annotated[float, Meta(ge=0, le=60)] = 2.0
    """Seconds for what is under way to be acknowledged when the daemon stops. Default: a round trip, many times."""

    sessions_max: Annotated[int, Meta(ge=1, le=4096)] = 64
    """MCP clients at once, handshake sessions and stateless ones; the one idle longest makes room. Default: a
    local network's agents."""
    session_idle_s: Annotated[float, Meta(gt=0)] = 1800.0
    """Seconds after which a client nobody hears of is forgotten. Default: half an hour."""
    repeat_s: Annotated[float, Meta(ge=0, le=3600)] = 60.0
    """Seconds in which the same request of the same client gets the same answer without running again. Default:
    above any broker's redelivery."""
    repeat_max_bytes: Annotated[int, Meta(ge=0, le=268_435_456)] = 4 * 1024 * 1024
    """Bytes of answers kept for that, of all clients. Default: a few pictures and many figures."""
    message_max_bytes: Annotated[int, Meta(ge=4096, le=268_435_456)] = 1024 * 1024
    """The largest MCP message taken. Default: as large as a packet."""

    state: StateConfig = StateConfig()
    spool: SpoolConfig = SpoolConfig()

    def __post_init__(self) -> None:
        """Raises ValueError for what the fields allow one by one."""
        if self.id in RESERVED or (self.id and self.id == self.name.partition("/")[0]):
            raise ValueError(f"id: {self.id!r} would be mistaken for another level of the topics")
        if bool(self.cert) < bool(self.key):
            raise ValueError("key: there is no cert that it belongs to")
        for url in self.brokers:
            address = Address.parse(url)
            if not (address.encrypted or address.local or self.plaintext):
                raise ValueError(f"brokers: {url} is not encrypted; use mqtts:// or wss://, or set plaintext")

    @property
    def enabled(self) -> bool:
        """Whether there is anything to connect to."""
        return bool(self.brokers)
