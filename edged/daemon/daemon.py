"""The daemon: its rooms, put together."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

import msgspec

from edged import __version__, memory, systemd
from edged.config import LIVE, Config, changes
from edged.daemon.models import Models
from edged.daemon.private import ModelSealer
from edged.daemon.trust import Trust
from edged.errors import BadConfig
from edged.jobs import Jobs
from edged.limits import UNCONSTRAINED, Limits
from edged.links.unix import UnixLink
from edged.mcp.access import Access
from edged.mcp.catalog import Catalog
from edged.mcp.results import Info
from edged.mcp.server import Server
from edged.power import hardware
from edged.power.readings import Readings
from edged.power.sampler import Bell, Sampler
from edged.power.sensors import sources as sensors
from edged.power.service import Change, Power
from edged.tasks import Latest, OneThread, supervise
from edged.tools import audit, device, selftest
from edged.tools.arguments import Sources
from edged.tools.documents import ConfigDocument, NetworkDocument, config_document
from edged.tools.mappings import Mappings
from edged.tools.models import ModelTools
from edged.tools.network import NO_BROKERS
from edged.tools.readings import Gauge
from edged.tools.serving import Serving
from edged.tools.showing import Showing
from edged.tools.view import Rooms

if TYPE_CHECKING:
    from edged.daemon.network import Network
    from edged.links.http import HttpLink

LOG = logging.getLogger("edged")

SETTLED_S = 1.0
"""How long after the start it takes 15 ms to tidy up: whoever waited for the start is answered first."""

INSTRUCTIONS = """\
This device runs machine-learning models on pictures, sounds and readings you give it. Each active model is a tool
infer_<name>; its description says what it answers. Start with device_status for how the device is, and models_list
for what is installed. A refusal with retry_after_s means: wait that long, then ask again. Details are resources:
edged://device, edged://metrics, edged://models/<name>. Prompts say what to do when it is slow, hot or failing."""


Offer = Callable[[Catalog], None]
"""Puts something of its own on the shelves."""


class Daemon:
    """Everything that lives as long as the process."""

    def __init__(self, config: Config, reread: Callable[[], Config], offers: Sequence[Offer] = ()) -> None:
        self._config = config
        self._reread = reread
        self._access = Access(config.access, os.getuid())
        self._disk = OneThread("disk")
        self._ledger = OneThread("jobs")
        self._trust = Trust(config, self._disk)
        self._wall_s = self._trust.clock.wall_s
        self._jobs = Jobs(Path(config.paths.state) / "jobs.db", self._ledger, self._wall_s, config.jobs)
        self._limits = Latest[Limits](UNCONSTRAINED)
        self._power = self._make_power()
        self._models = Models(config, self._limits, self._disk, ModelSealer(lambda: self._trust.keyring))
        self._waiting: frozenset[str] = frozenset()
        self._network: Network | None = None
        catalog, mappings = Catalog(), Mappings()
        sources = Sources(mappings, config.inference.input_roots, config.inference.image_max_bytes)
        self._serving = Serving(self._models.open_library, self._disk, catalog, sources, self._models.start)
        self._showing = Showing(
            catalog, self._rooms(), lambda: self._models.library, self._disk, self._config_shown
        )
        catalog.put(
            *device.tools(
                lambda: self._limits.value,
                self._power,
                lambda: self._serving.engine,
                self._serving.status,
                self._trust.keys,
                lambda: self._network_shown().state,
            ),
            *ModelTools(self._showing.follow(self._serving), sources, lambda: self._limits.value).tools(),
            selftest.tool(self._serving),
            audit.resource(self._trust.log, self._trust.checkpoints),
        )
        for offer in offers:
            offer(catalog)
        info = Info(name="edged", version=__version__, title="edged", instructions=INSTRUCTIONS)
        methods = {"edged/mapping/register": mappings.method()}
        self._server = Server(
            catalog, info, config.mcp, methods, tasks=self._jobs, witness=self._trust.recorder
        )
        self._links = self._make_links(self._server)

    async def run(self) -> None:
        """Start everything, say READY, serve until a signal, stop everything in reverse."""
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._reload)
        async with contextlib.AsyncExitStack() as stack:
            stack.callback(self._disk.close)
            await stack.enter_async_context(self._trust)
            stack.callback(self._power.close)
            stack.callback(self._ledger.close)
            await stack.enter_async_context(self._jobs)
            async with asyncio.TaskGroup() as group:
                group.create_task(
                    self._power.look()
                )  # nothing is admitted before it is known how hot the board is
                group.create_task(self._serving.open())
            stack.push_async_callback(self._serving.close)
            await self._showing.refresh()
            await stack.enter_async_context(self._listening())
            asyncio.get_running_loop().call_later(SETTLED_S, memory.settle)
            systemd.ready(self._status())
            LOG.info("ready version=%s socket=%s", __version__, self._config.socket)
            await stop.wait()
            systemd.stopping()
            LOG.info("stopping")

    @contextlib.asynccontextmanager
    async def _listening(self) -> AsyncIterator[None]:
        """Serve the links and run the services; at the end running calls finish first."""
        services = {
            "watchdog": _feed_watchdog,
            **self._trust.services,
            "power": self._power.run,
            "ticker": self._showing.ticker.run,
        }
        for socket in self._links.values():
            socket.open()
        self._network = await self._make_network()
        async with asyncio.TaskGroup() as group:
            running = [group.create_task(supervise(name, run), name=name) for name, run in services.items()]
            for name, link in self._links.items():
                group.create_task(supervise(name, link.run), name=name)
            if self._network:
                group.create_task(self._network.run(), name="network")  # supervises its own services
            try:
                yield
            finally:
                for link in self._links.values():
                    link.close()
                if self._network:
                    self._network.close()
                for service in reversed(running):
                    service.cancel()

    def _make_links(self, server: Server) -> dict[str, UnixLink | HttpLink]:
        """The MCP socket, and the one for HTTP where systemd or the config wants it."""
        config, inherited = self._config, systemd.listen_fds()
        unix = UnixLink(inherited.get("mcp") or config.socket, server, self._access, config.unix)
        if not inherited.get("http") and not config.http.enabled:
            return {"unix": unix}
        from edged.links.http import HttpLink  # noqa: PLC0415 - the HTTP parser comes with the link

        http = HttpLink(inherited.get("http") or config.http_socket, server, self._access, config.http)
        return {"unix": unix, "http": http}

    async def _make_network(self) -> Network | None:
        """The connections to brokers, where there are any."""
        if not self._config.mqtt.enabled:
            return None
        memory.with_openssl()
        from edged.daemon.network import Held, Network  # noqa: PLC0415 - the MQTT client comes with its first broker
        from edged.tools.telemetry import Keys, Sources  # noqa: PLC0415 - likewise

        def keys() -> Keys | None:
            state = self._trust.keys()
            return Keys(state.protection, state.problem) if self._trust.keyring else None

        sources = Sources(
            limits=lambda: self._limits.value,
            bands=self._power.bands,
            readings=lambda: self._power.sample,
            inference=self._models.status,
            times=self._models.times,
            models=lambda: self._showing.models,
            clock=monotonic,
            wall=self._wall_s,
            keys=keys,
        )
        network = Network(
            self._config,
            self._server,
            self._access,
            self._limits,
            sources,
            self._wall_s,
            Held(await self._trust.tls(), self._trust.secrets(), self._trust.sealer()),
        )
        self._trust.publish(network.checkpoints)
        self._showing.on_refresh = network.state.nudge
        return network

    def _network_shown(self) -> NetworkDocument:
        return self._network.document() if self._network else NO_BROKERS

    def _reload(self) -> None:
        """Take over what can change while running; a wrong config changes nothing."""
        systemd.reloading()
        try:
            new = self._reread()
        except BadConfig as exc:
            self._trust.recorder.reloaded("refused", why=exc.message)
            LOG.error("reload refused, the running config stays: %s", exc.message)  # noqa: TRY400 - it says it all
        else:
            changed = changes(self._config, new)
            self._access.adopt(new.access)
            logging.getLogger().setLevel(new.log.level.upper())
            self._config = msgspec.structs.replace(self._config, access=new.access, log=new.log)
            self._trust.recorder.reloaded("taken", changed=sorted(changed))
            LOG.info("reloaded changed=%s", ",".join(sorted(changed)) or "nothing")
            later = changed - LIVE
            self._waiting = frozenset(later)
            self._showing.config_changed()
            if later:
                LOG.warning("restart to apply: %s", ", ".join(sorted(later)))
        systemd.ready(self._status())

    def _status(self) -> str:
        return f"serving {len(self._serving.status())} models"

    def _make_power(self) -> Power:
        config = self._config.power
        known = hardware.profiles()
        match = hardware.match(config, known)
        LOG.info("board=%s by=%r", match.board.name, match.by)
        state = Path(self._config.paths.state)
        bell = Bell()
        sampler = Sampler(sensors(Path(config.root), state, Path(config.pisugar_socket), bell.ring))
        return Power(config, known, match, sampler, self._limits, bell=bell, on_change=self._limits_changed)

    def _limits_changed(self, change: Change) -> None:
        after = change.after
        self._trust.recorder.limits_changed(change.before.band, after.band, after.cause, after.reason)
        self._models.limits_changed()

    def _rooms(self) -> Rooms:
        return Rooms(
            limits=lambda: self._limits.value,
            engine=lambda: self._serving.engine,
            inference=self._models.status,
            clock=monotonic,
            sample=Gauge(monotonic, lambda: Readings.of(self._power.sample)).sample,
            events=self._power.recent,
            network=self._network_shown,
        )

    def _config_shown(self) -> ConfigDocument:
        return config_document(self._config, LIVE, self._waiting)


async def _feed_watchdog() -> None:
    """Tell systemd three times an interval that the loop turns."""
    if (interval_s := systemd.watchdog_interval_s()) is None:
        return
    while True:
        systemd.watchdog()
        await asyncio.sleep(interval_s / 3)
