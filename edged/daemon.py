"""The composition root: every room is built here, started here, and stopped here in exact reverse."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

import msgspec

from edged import __version__, memory, systemd
from edged.config import LIVE, Config, changes
from edged.errors import BadConfig, DeviceError, EdgedError, StorageError
from edged.inference.models.library import Library
from edged.jobs import Jobs
from edged.limits import UNCONSTRAINED, Limits
from edged.links.unix import UnixLink
from edged.mcp import trace
from edged.mcp.access import Access
from edged.mcp.catalog import Catalog
from edged.mcp.results import Info
from edged.mcp.server import Server
from edged.power import hardware
from edged.power.readings import Readings
from edged.power.sampler import Bell, Sampler
from edged.power.sensors import sources as sensors
from edged.power.service import Power
from edged.tasks import Latest, OneThread, supervise
from edged.tools import device, selftest
from edged.tools.arguments import Sources
from edged.tools.device import Engine
from edged.tools.documents import ConfigDocument, config_document
from edged.tools.mappings import Mappings
from edged.tools.models import ModelTools
from edged.tools.readings import Gauge
from edged.tools.serving import Serving
from edged.tools.showing import Showing
from edged.tools.view import Rooms

if TYPE_CHECKING:
    from edged.inference.runtime import Runtime
    from edged.inference.scheduler import Scheduler
    from edged.inference.trial.report import Report, Trial
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


def main(reread: Callable[[], Config], offers: Sequence[Offer] = ()) -> int:
    """Run until SIGTERM or SIGINT; exit code 0, or 1 when it could not start or gave up.

    `reread` gives the config, at the start and at every SIGHUP; it raises BadConfig, at the start to the caller.
    """
    config = reread()
    _log_to_stderr(config)
    try:
        with _own_directories(config):
            asyncio.run(Daemon(config, reread, offers).run())
    except (EdgedError, BaseExceptionGroup) as exc:
        if not (reasons := _reasons(exc)):
            raise
        for reason in reasons:
            LOG.critical("edged ends: %s", reason)
        return 1
    return 0


class Daemon:
    """Everything that lives as long as the process."""

    def __init__(self, config: Config, reread: Callable[[], Config], offers: Sequence[Offer] = ()) -> None:
        self._config = config
        self._reread = reread
        self._access = Access(config.access, os.getuid())
        self._disk = OneThread("disk")
        self._ledger = OneThread("jobs")
        self._jobs = Jobs(Path(config.paths.state) / "jobs.db", self._ledger, _wall_s, config.jobs)
        self._limits = Latest[Limits](UNCONSTRAINED)
        self._power = self._make_power()
        self._runtime: Runtime | None = None
        self._library: Library | None = None
        self._scheduler: Scheduler | None = None
        self._waiting: frozenset[str] = frozenset()
        catalog, mappings = Catalog(), Mappings()
        sources = Sources(mappings, config.inference.input_roots, config.inference.image_max_bytes)
        self._serving = Serving(self._open_library, self._disk, catalog, sources, self._start_engine)
        self._showing = Showing(catalog, self._rooms(), self._opened_library, self._disk, self._config_shown)
        catalog.put(
            *device.tools(
                lambda: self._limits.value, self._power, lambda: self._serving.engine, self._serving.status
            ),
            *ModelTools(self._showing.follow(self._serving), sources, lambda: self._limits.value).tools(),
            selftest.tool(self._serving),
        )
        for offer in offers:
            offer(catalog)
        info = Info(name="edged", version=__version__, title="edged", instructions=INSTRUCTIONS)
        methods = {"edged/mapping/register": mappings.method()}
        server = Server(catalog, info, config.mcp, methods, tasks=self._jobs)
        inherited = systemd.listen_fds()
        self._link = UnixLink(inherited.get("mcp") or config.socket, server, self._access, config.unix)
        self._http = self._http_link(server, inherited)

    async def run(self) -> None:
        """Start everything, say READY, serve until a signal, stop everything in reverse."""
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._reload)
        async with contextlib.AsyncExitStack() as stack:
            stack.callback(self._disk.close)
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
        """Serve the link and feed the watchdog; at the end running calls finish first."""
        self._link.open()
        if self._http:
            self._http.open()
        async with asyncio.TaskGroup() as group:
            watchdog = group.create_task(_feed_watchdog(), name="watchdog")
            power = group.create_task(supervise("power", self._power.run), name="power")
            ticker = group.create_task(supervise("ticker", self._showing.ticker.run), name="ticker")
            group.create_task(supervise("unix", self._link.run), name="unix")
            if self._http:
                group.create_task(supervise("http", self._http.run), name="http")
            try:
                yield
            finally:
                self._link.close()
                power.cancel()
                if self._http:
                    self._http.close()
                watchdog.cancel()
                ticker.cancel()

    def _http_link(self, server: Server, inherited: Mapping[str, list[socket.socket]]) -> HttpLink | None:
        """The second link, where systemd or the config wants it."""
        passed = inherited.get("http")
        if not passed and not self._config.http.enabled:
            return None
        from edged.links.http import HttpLink  # noqa: PLC0415 - the HTTP parser comes with the link

        return HttpLink(passed or self._config.http_socket, server, self._access, self._config.http)

    def _reload(self) -> None:
        """Take over what can change while running; a wrong config changes nothing."""
        systemd.reloading()
        try:
            new = self._reread()
        except BadConfig as exc:
            LOG.error("reload refused, the running config stays: %s", exc.message)  # noqa: TRY400 - it says it all
        else:
            changed = changes(self._config, new)
            self._access.adopt(new.access)
            logging.getLogger().setLevel(new.log.level.upper())
            self._config = msgspec.structs.replace(self._config, access=new.access, log=new.log)
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

    def _limits_changed(self, _change: object) -> None:
        if self._scheduler is not None:
            self._scheduler.limits_changed()

    def _rooms(self) -> Rooms:
        return Rooms(
            limits=lambda: self._limits.value,
            engine=lambda: self._serving.engine,
            inference=lambda: self._scheduler.status() if self._scheduler else None,
            clock=monotonic,
            sample=Gauge(monotonic, lambda: Readings.of(self._power.sample)).sample,
            events=self._power.recent,
        )

    def _config_shown(self) -> ConfigDocument:
        return config_document(self._config, LIVE, self._waiting)

    def _open_library(self) -> Library:
        self._library = Library(Path(self._config.paths.state) / "models", self._preflight)
        self._library.watch()
        return self._library

    def _opened_library(self) -> Library:
        assert self._library is not None  # noqa: S101 - `run` opens it before it serves anybody
        return self._library

    def _preflight(self, trial: Trial) -> Report:
        from edged.inference.trial.preflight import Preflight  # noqa: PLC0415 - only who installs a model needs it

        return Preflight(self._proven_runtime().key)(trial)

    def _proven_runtime(self) -> Runtime:
        from edged.inference import runtime  # noqa: PLC0415 - numpy and TFLite come with the first model

        if self._runtime is None:
            self._runtime = runtime.choose(self._config.inference.runtime)
        return self._runtime

    async def _start_engine(self, library: Library) -> tuple[Scheduler, Engine]:
        """Import and prove what runs models."""
        from edged.inference.kernels import seam  # noqa: PLC0415 - likewise
        from edged.inference.scheduler import Scheduler  # noqa: PLC0415 - likewise

        runtime = await self._disk.run(self._proven_runtime)
        kernels, reason = seam.choose(
            self._config.inference.kernels, Path(self._config.paths.cache) / "kernels"
        )
        LOG.info(
            "engine runtime=%s-%s kernels=%s reason=%s", runtime.name, runtime.version, kernels.name, reason
        )
        self._scheduler = Scheduler(self._config.inference, library, runtime, kernels, self._limits)
        engine = Engine(
            runtime=f"{runtime.name} {runtime.version}", kernels=kernels.name, kernels_reason=reason
        )
        return self._scheduler, engine


def _wall_s() -> float:
    """Seconds since 1970, as far as this board knows."""
    return time.clock_gettime(time.CLOCK_REALTIME)


async def _feed_watchdog() -> None:
    """Tell systemd three times an interval that the loop turns."""
    if (interval_s := systemd.watchdog_interval_s()) is None:
        return
    while True:
        systemd.watchdog()
        await asyncio.sleep(interval_s / 3)


def _log_to_stderr(config: Config) -> None:
    handler = logging.StreamHandler(sys.stderr)
    if systemd.journal_attached(sys.stderr):
        handler.setFormatter(systemd.JournalFormatter())
    else:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s%(trace)s"))
    handler.addFilter(trace.Stamp())
    logging.basicConfig(level=config.log.level.upper(), handlers=[handler])


@contextlib.contextmanager
def _own_directories(config: Config) -> Iterator[None]:
    """Make what systemd would have made, and hold the state: two daemons on one would undo each other's work."""
    for key, mode in (("state", 0o750), ("cache", 0o750), ("run", 0o755)):
        directory = Path(getattr(config.paths, key))
        try:
            directory.mkdir(parents=True, exist_ok=True, mode=mode)
        except OSError as exc:
            raise StorageError(f"cannot make {directory}: {exc.strerror}; set [paths] {key}") from exc
    state = Path(config.paths.state)
    try:
        descriptor = os.open(state / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as exc:
        raise StorageError(f"cannot write in {state}: {exc.strerror}; set [paths] state") from exc
    with os.fdopen(descriptor) as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            raise DeviceError(f"another edged uses {state}; stop it, or set another [paths] state") from exc
        yield


def _reasons(exc: BaseException) -> list[str]:
    """What to tell the operator, where all that went wrong is an EdgedError; else nothing."""
    if isinstance(exc, EdgedError):
        return [exc.message]
    if not isinstance(exc, BaseExceptionGroup):
        return []
    parts = [_reasons(part) for part in exc.exceptions]
    return [reason for part in parts for reason in part] if all(parts) else []
