"""A connection to one of an ordered list of brokers: sought whenever it is gone, moved when a better one lives."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import secrets
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from edged.errors import EdgedError, Unreachable
from edged.links.mqtt.address import Address
from edged.links.mqtt.backoff import Rivalry, keep_away_s, pause_s
from edged.links.mqtt.brokers import SETTLED_S, Brokers
from edged.links.mqtt.config import MqttConfig
from edged.links.mqtt.dialing import Dialer
from edged.links.mqtt.outgoing import fail
from edged.links.mqtt.secrets import Secrets
from edged.links.mqtt.session import TAKEN_OVER, Hello, Lost, Session
from edged.links.mqtt.status import Health
from edged.links.mqtt.tls import PemFiles, Tls
from edged.links.mqtt.values import Handler, Publication, Subscription, Terms

_CLIENT_ID_NOT_VALID: Final = 0x85  # MQTT 5, 3.2.2.2

T = TypeVar("T")

_log = logging.getLogger(__name__)


class Connection:
    """A Publisher; `run` keeps it connected until it is cancelled. For the event loop's thread, but for one method.

    `tls` holds the device's key where no file does; without it the config's files are read at every connect.
    """

    def __init__(
        self,
        config: MqttConfig,
        client_id: str,
        handler: Handler,
        *,
        will: Publication | None = None,
        user: tuple[tuple[str, str], ...] = (),
        subscriptions: Sequence[Subscription] = (),
        tls: Tls | None = None,
        secrets: Secrets | None = None,
    ) -> None:
        self._config = config
        self._handler = handler
        self._hello = Hello(client_id=client_id, username=config.username, will=will, user=user)
        self._subscriptions = tuple(subscriptions)
        self._addresses = tuple(map(Address.parse, config.brokers))
        self._brokers = Brokers(len(self._addresses), config.back_after_s)
        self._dialer = Dialer(config, tls or pem_files(config), secrets)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._session: Session | None = None
        self._terms: Terms | None = None
        self._early: list[Publication] = []
        self._reason = "not connected yet"
        self._connects = self._losses = self._taken_over = self._faults = 0

    @property
    def terms(self) -> Terms | None:
        """See Publisher."""
        return self._terms if self._session and not self._session.ended.done() else None

    @property
    def health(self) -> Health:
        """How it is."""
        return Health(
            broker=self._terms.broker if self._terms else None,
            reason=self._reason,
            connects=self._connects,
            losses=self._losses,
            taken_over=self._taken_over,
            under_way=self._session.under_way if self._session else 0,
            faults=self._faults,
        )

    def publish(self, publication: Publication) -> asyncio.Future[int]:
        """See Publisher. While `run` ends it still works, for goodbyes."""
        if self._session is None or self._terms is None:
            future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
            fail(future, Unreachable(f"no connection to a broker: {self._reason}"))
            return future
        return self._session.publish(publication)

    def publish_from_thread(self, publication: Publication) -> None:
        """See Publisher."""
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: so is the connection
                self._loop.call_soon_threadsafe(self.publish, publication)

    async def run(self) -> None:
        """Seek the connection and keep it until cancelled; then let what is under way out, and say DISCONNECT."""
        self._loop = asyncio.get_running_loop()
        rounds = evictions = 0
        rivalry = Rivalry()
        while True:
            index, fresh = self._brokers.choose()
            if not fresh:
                await asyncio.sleep(pause_s(rounds, _chance(), self._config.retry_max_s))
                rounds += 1
            since = self._loop.time()
            lost = await self._once(index)
            settled = self._loop.time() - since >= SETTLED_S
            said = lost.code == TAKEN_OVER
            if (said or lost.closed) and rivalry.suspected(self._loop.time(), said=said):
                self._taken_over += 1
                self._reason = f"another connection has the client id {self._hello.client_id}"
                _log.error("taken over broker=%s reason=%r", self._addresses[index].url, self._reason)
                await asyncio.sleep(keep_away_s(evictions, _chance(), self._config.taken_over_s))
                evictions += 1
            elif settled:
                rounds = evictions = 0
                await asyncio.sleep(pause_s(0, _chance(), self._config.retry_max_s))  # others lost it as well

    async def _once(self, index: int) -> Lost:
        """Connect, and be connected for as long as it goes well; give why it does no longer."""
        url = self._addresses[index].url
        since = self._now()
        try:
            session, terms = await self._connect(index, self._hello, self._subscriptions, self._receive)
        except EdgedError as exc:
            self._brokers.failed(index, self._now())
            self._note(url, exc.message)
            return exc if isinstance(exc, Lost) else Lost(exc.message)
        self._brokers.connected(index)
        self._connects += 1
        _log.info("connected broker=%s client_id=%s", url, terms.client_id)
        lost = await self._serve(session, terms, index)
        self._losses += 1
        self._brokers.lost(index, self._now(), self._now() - since, silent=lost.silent)
        self._note(url, lost.message)
        return lost

    async def _connect(
        self,
        index: int,
        hello: Hello,
        subscriptions: Sequence[Subscription],
        received: Callable[[Publication], None],
    ) -> tuple[Session, Terms]:
        address = self._addresses[index]
        return await connect(self._dialer, address, self._config, hello, subscriptions, received)

    async def _serve(self, session: Session, terms: Terms, index: int) -> Lost:
        """Until it ends; on the way out, the user of the connection is told."""
        self._session, self._terms = session, terms
        reason = "stopped"
        try:
            self._tell(self._handler.connected, terms)
            early, self._early = self._early, []
            for publication in early:
                self._tell(self._handler.received, publication)
            lost = await self._until_ended(session, index)
            reason = lost.message
        finally:
            await session.close(self._config.grace_s)
            self._session = self._terms = None
            self._tell(self._handler.disconnected, reason)
        return lost

    async def _until_ended(self, session: Session, index: int) -> Lost:
        async with asyncio.TaskGroup() as group:
            seeking = group.create_task(self._seek_better(session, index), name="mqtt-better")
            try:
                return await asyncio.shield(session.ended)
            finally:
                seeking.cancel()

    async def _seek_better(self, session: Session, index: int) -> None:
        """Try those preferred to this one, and leave it when one of them has answered for long enough."""
        while better := self._brokers.better(index):
            await asyncio.sleep(self._config.probe_s)
            for other in better:
                if not await self._answers(other):
                    self._brokers.failed(other, self._now())
                elif self._brokers.answered(other, self._now()):
                    await session.leave(f"back to {self._addresses[other].url}", self._config.grace_s)
                    return

    async def _answers(self, index: int) -> bool:
        """Whether a broker grants a connection.

        Of another client id: it may be the very broker we are on, by another name.
        """
        hello = Hello(client_id=f"{self._hello.client_id}-probe", username=self._hello.username)
        try:
            session, _ = await self._connect(index, hello, (), _ignore)
        except EdgedError as exc:
            return isinstance(exc, Lost) and exc.code == _CLIENT_ID_NOT_VALID
        await session.close(0)
        return True

    def _receive(self, publication: Publication) -> None:
        if self._terms is None:  # subscribed, but the last SUBACK is not here
            self._early.append(publication)
        else:
            self._tell(self._handler.received, publication)

    def _tell(self, callback: Callable[[T], None], said: T) -> None:
        """Whatever goes wrong there is not the connection's end."""
        try:
            callback(said)
        except Exception:  # noqa: BLE001 - the boundary between a connection and who uses it
            self._faults += 1
            _log.exception("fault of who uses the connection in=%s", callback.__qualname__)

    def _note(self, url: str, reason: str) -> None:
        again = self._reason == reason
        self._reason = reason
        _log.log(
            logging.DEBUG if again else logging.WARNING, "no connection broker=%s reason=%r", url, reason
        )

    def _now(self) -> float:
        return asyncio.get_running_loop().time()


async def connect(
    dialer: Dialer,
    address: Address,
    config: MqttConfig,
    hello: Hello,
    subscriptions: Sequence[Subscription],
    received: Callable[[Publication], None],
) -> tuple[Session, Terms]:
    """One connection, with all its subscriptions granted; raises Unreachable, and what `Dialer.dial` does."""
    wire, password = await dialer.dial(address)
    session = Session(wire, address.url, config, msgspec.structs.replace(hello, password=password), received)
    try:
        async with asyncio.timeout(config.connect_s):
            terms = await session.open()
            await session.subscribe(subscriptions)
    except BaseException as exc:
        session.end(Lost("given up"))
        if isinstance(exc, TimeoutError):
            raise Unreachable(f"{address.url}: connected, but it does not answer") from exc
        raise
    return session, terms


def pem_files(config: MqttConfig) -> PemFiles:
    """The files that the config names."""
    ca, cert, key = (Path(name) if name else None for name in (config.ca, config.cert, config.key))
    return PemFiles(ca, cert, key)


def client_id(template: str, device: str) -> str:
    """A client id that nobody can guess, where the template has `{random}`; another at each call."""
    return template.replace("{id}", device).replace("{random}", secrets.token_hex(8))


def _chance() -> float:
    return random.random()  # noqa: S311 - it spreads load and keeps no secret


def _ignore(_: Publication) -> None:
    """A trial connection subscribes to nothing."""
