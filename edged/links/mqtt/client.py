"""A blocking MCP client of a device across a broker, for the command line and tests; and who is on a broker.

Speaks the stateless era, so that several of one name may call at once: each tells its answers by their ids.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import math
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec
import pybase64

from edged import __version__
from edged.errors import DeadlineExceeded, NotAllowed, NotFound, Unreachable
from edged.links.mqtt import fitting, presence, results
from edged.links.mqtt.address import Address
from edged.links.mqtt.config import MqttConfig
from edged.links.mqtt.connection import connect, pem_files
from edged.links.mqtt.dialing import Dialer
from edged.links.mqtt.guard import NOT_AUTHORIZED
from edged.links.mqtt.session import Hello, Session
from edged.links.mqtt.values import Properties, Publication, Subscription
from edged.mcp.client import Caller, Client, Progress, progress_of

FIND_S: Final = 5.0
"""How long a device's retained presence may take to come."""
SETTLE_S: Final = 0.5
"""No other presence for so long: these were all."""
COMPONENT: Final = "mcp-client"


def hello(me: str) -> Hello:
    """What a client says of itself; its client id is one that evicts nobody."""
    return Hello(client_id=f"{me}-{secrets.token_hex(8)}", user=((presence.COMPONENT, COMPONENT),))


def properties(me: str, config: MqttConfig, expiry_s: float | None = None) -> Properties:
    """Those of every message of a client."""
    return Properties(
        content_type="application/json",
        text=True,
        expiry_s=None if expiry_s is None else math.ceil(expiry_s),
        user=(
            (presence.COMPONENT, COMPONENT),
            (presence.CLIENT, me),
            (fitting.LIMIT_PROPERTY, str(config.packet_max_bytes)),
        ),
    )


def of_client(heard: Publication) -> bool:
    """Whether a client said it: another one of our name, which No Local does not keep from us."""
    return (presence.COMPONENT, COMPONENT) in heard.properties.user


class Device(msgspec.Struct, frozen=True, kw_only=True):
    """Who says on a broker that it is there."""

    id: str
    name: str
    description: str
    versions: list[str]


def discover(config: MqttConfig, me: str, wait_s: float = SETTLE_S) -> list[Device]:
    """Every device that the broker's retained presences show to us, by id; waits for `wait_s` of silence."""

    async def look() -> list[Device]:
        came: asyncio.Queue[Publication] = asyncio.Queue()
        top = f"{config.prefix}mcp-server/presence/"
        session = await _connect(config, me, [Subscription(filter=f"{top}+/#")], came.put_nowait)
        found: dict[str, Device] = {}
        with contextlib.suppress(TimeoutError):
            while True:
                async with asyncio.timeout(wait_s):
                    heard = await came.get()
                if (device := _device(heard, top)) is not None:
                    found[heard.topic] = device
                else:
                    found.pop(heard.topic, None)
        await session.close(config.grace_s)
        return [found[topic] for topic in sorted(found)]

    return asyncio.run(look())


def _device(heard: Publication, top: str) -> Device | None:
    device, _, name = heard.topic.removeprefix(top).partition("/")
    if not heard.payload:
        return None
    try:
        said = _decode(heard.payload).params
    except msgspec.DecodeError:
        said = _Said(description="(says nothing that can be read)")
    return Device(id=device, name=name, description=said.description, versions=said.meta.versions)


class _Meta(msgspec.Struct):
    versions: list[str] = msgspec.field(default_factory=list, name="protocolVersions")


class _Said(msgspec.Struct):
    description: str = ""
    meta: _Meta = msgspec.field(default_factory=_Meta)


class _Online(msgspec.Struct):
    params: _Said = msgspec.field(default_factory=_Said)


_decode = msgspec.json.Decoder(_Online).decode  # other makes say less, and more


class MqttClient(Caller):
    """Connects when it is made, to the first broker of the config; raises Unreachable or NotFound.

    `me` is the client's id in the topics, which the broker's access rules may tie to a certificate or user name.
    Between two requests nobody answers the broker: it waits for 1.5 keepalives.
    """

    def __init__(self, config: MqttConfig, device: str, me: str, name: str = "edged-cli") -> None:
        self._config = config
        self._device = device
        self._me = me
        self._top = f"{config.prefix}mcp-server/presence/{device}/"
        self._rpc = f"{config.prefix}mcp-rpc/{me}/{device}/"
        self._client = Client(name, __version__, secrets.randbits(48))
        self._came: asyncio.Queue[Publication | None] = asyncio.Queue()  # None: the connection is gone
        self._server_name = ""
        self._runner = asyncio.Runner()
        try:
            self._session = self._runner.run(self._open())
        except BaseException:
            self._runner.close()
            raise

    def close(self) -> None:
        """Hang up."""
        with contextlib.suppress(RuntimeError):  # closed already
            self._runner.run(self._session.close(self._config.grace_s))
            self._runner.close()

    def request(
        self,
        method: str,
        params: Mapping[str, object] | None = None,
        *,
        timeout_s: float = 30.0,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> dict[str, Any]:
        """See Caller; what the device set aside because it was too large for one message is fetched, and put back."""
        answer = self._runner.run(self._ask(method, params or {}, timeout_s, on_progress))
        return self._runner.run(self._made_whole(answer, timeout_s))

    async def _open(self) -> Session:
        wanted = [
            Subscription(filter=f"{self._rpc}#", no_local=True),
            Subscription(filter=f"{self._top}#"),
        ]
        session = await _connect(self._config, self._me, wanted, self._came.put_nowait)
        try:
            async with asyncio.timeout(FIND_S):
                while not self._server_name:
                    self._hear(await self._came.get())
            session.ended.add_done_callback(lambda _: self._came.put_nowait(None))
        except TimeoutError as exc:
            await session.close(0)
            raise NotFound(
                f"no device {self._device} on this broker, or you may not see it: try `edged discover`"
            ) from exc
        return session

    def _hear(self, heard: Publication | None) -> None:
        if heard and heard.topic.startswith(self._top):
            self._server_name = heard.topic.removeprefix(self._top) if heard.payload else ""

    async def _ask(
        self,
        method: str,
        params: Mapping[str, object],
        timeout_s: float,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> dict[str, Any]:
        request_id, message = self._client.request(method, params, progress=on_progress is not None)
        try:
            async with asyncio.timeout(timeout_s):
                await self._say(message, timeout_s)
                while True:
                    incoming = self._client.receive(await self._next())
                    if incoming.id == request_id:
                        return incoming.value()
                    if on_progress and (progress := progress_of(incoming, request_id)):
                        on_progress(progress)
        except TimeoutError as exc:
            self._session.publish(self._publication(self._client.cancel(request_id, "timed out"), None))
            raise DeadlineExceeded(f"no answer to {method} within {timeout_s:g} s", 1.0) from exc
        except msgspec.DecodeError as exc:
            raise Unreachable(f"the device sent what is no MCP message: {exc}") from exc

    async def _say(self, message: bytes, expiry_s: float) -> None:
        code = await self._session.publish(self._publication(message, expiry_s))
        if code == NOT_AUTHORIZED:
            raise NotAllowed(f"the broker does not let you talk to {self._device} as {self._me}")
        if code >= 0x80:
            raise Unreachable(f"the broker refuses the message: reason code {code:#x}")

    def _publication(self, message: bytes, expiry_s: float | None) -> Publication:
        said = properties(self._me, self._config, expiry_s)
        return Publication(topic=self._rpc + self._server_name, payload=message, properties=said)

    async def _next(self) -> bytes:
        """The device's next message on our topic; raises Unreachable when it or the connection goes away."""
        while True:
            heard = await self._came.get()
            if heard is None:
                raise self._session.ended.result()
            self._hear(heard)
            if not self._server_name:
                raise Unreachable(f"{self._device} went away")
            if heard.topic.startswith(self._rpc) and heard.payload and not of_client(heard):
                return heard.payload

    async def _made_whole(self, answer: dict[str, Any], timeout_s: float) -> dict[str, Any]:
        content = answer.get("content")
        for index, item in enumerate(content if isinstance(content, list) else ()):
            if item.get("type") != "resource_link" or not item["uri"].startswith(results.URI):
                continue
            data = await self._fetch(item["uri"], item["size"], timeout_s)
            if answer.get("isError"):
                whole: dict[str, Any] = msgspec.json.decode(data)
                return whole
            answer["content"][index] = _content(data, item["mimeType"])
        return answer

    async def _fetch(self, uri: str, size: int, timeout_s: float) -> bytes:
        data = bytearray()
        for number in itertools.count():
            if len(data) >= size:
                break
            read = await self._ask("resources/read", {"uri": f"{uri}/{number}"}, timeout_s)
            data += pybase64.b64decode(read["contents"][0]["blob"])
        return bytes(data)


def _content(data: bytes, mime: str) -> dict[str, Any]:
    if mime.startswith("text/"):
        return {"type": "text", "text": data.decode(errors="replace")}
    return {"type": "image", "data": pybase64.b64encode_as_string(data), "mimeType": mime}


async def _connect(
    config: MqttConfig, me: str, wanted: Sequence[Subscription], received: Callable[[Publication], None]
) -> Session:
    said = msgspec.structs.replace(hello(me), username=config.username)
    address = Address.parse(config.brokers[0])
    session, _ = await connect(Dialer(config, pem_files(config)), address, config, said, wanted, received)
    return session
