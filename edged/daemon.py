"""The composition root: every room is built here, started here, and stopped here in exact reverse."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import gc
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from edged import __version__, systemd
from edged.config import LIVE, Config, changes
from edged.errors import BadConfig, DeviceError, EdgedError, StorageError
from edged.inference.models.library import Library
from edged.limits import UNCONSTRAINED, Limits
from edged.links.unix import UnixLink
from edged.mcp.access import Access
from edged.mcp.catalog import Catalog
from edged.mcp.results import Info
from edged.mcp.server import Server
from edged.power import hardware
from edged.power.sampler import Bell, Sampler
from edged.power.sensors import sources as sensors
from edged.power.service import Power
from edged.tasks import Latest, OneThread, supervise
from edged.tools import device
from edged.tools.arguments import Sources
from edged.tools.device import Engine
from edged.tools.mappings import Mappings
from edged.tools.models import ModelTools
from edged.tools.serving import Serving

if TYPE_CHECKING:
    from edged.inference.runtime import Runtime
    from edged.inference.scheduler import Scheduler
    from edged.inference.trial.report import Report, Trial

LOG = logging.getLogger("edged")

INSTRUCTIONS = """\
This device runs machine-learning models on pictures, sounds and readings you give it. Each active model is a tool
infer_<name>; its description says what it answers. Start with device_status for how the device is, and models_list
for what is installed. A refusal with retry_after_s means: wait that long, then ask again."""


def main(reread: Callable[[], Config]) -> int:
    """Run until SIGTERM or SIGINT; exit code 0, or 1 when it could not start or gave up.

    `reread` gives the config, at the start and at every SIGHUP; it raises BadConfig, at the start to the caller.
    """
    config = reread()
    _log_to_stderr(config)
    try:
        with _own_directories(config):
            asyncio.run(Daemon(config, reread).run())
    except (EdgedError, BaseExceptionGroup) as exc:
        if not (reasons := _reasons(exc)):
            raise
        for reason in reasons:
            LOG.critical("edged ends: %s", reason)
        return 1
    return 0


class Daemon:
    """Everything that lives as long as the process."""

    def __init__(self, config: Config, reread: Callable[[], Config]) -> None:
        self._config = config
        self._reread = reread
        self._access = Access(config.access, os.getuid())
        self._disk = OneThread("disk")
        self._limits = Latest[Limits](UNCONSTRAINED)
        self._power = self._make_power()
        self._runtime: Runtime | None = None
        catalog, mappings = Catalog(), Mappings()
        sources = Sources(mappings, config.inference.input_roots, config.inference.image_max_bytes)
        self._serving = Serving(self._open_library, self._disk, catalog, sources, self._start_engine)
        for tool in (
            *device.tools(
                lambda: self._limits.value, self._power, lambda: self._serving.engine, self._serving.status
            ),
            *ModelTools(self._serving, sources).tools(),
        ):
            catalog.put(tool)
        info = Info(name="edged", version=__version__, title="edged", instructions=INSTRUCTIONS)
        server = Server(catalog, info, config.mcp, {"edged/mapping/register": mappings.method()})
        inherited = systemd.listen_fds().get("mcp")
        self._link = UnixLink(inherited or config.socket, server, self._access, config.unix)

    async def run(self) -> None:
        """Start everything, say READY, serve until a signal, stop everything in reverse."""
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._reload)
        async with contextlib.AsyncExitStack() as stack:
            stack.callback(self._disk.close)
            stack.callback(self._power.close)
            await self._power.look()  # nothing is admitted before it is known how hot the board is
            await self._serving.open()
            stack.push_async_callback(self._serving.close)
            await stack.enter_async_context(self._listening())
            gc.collect()
            gc.freeze()  # what lives now lives on: collections need not walk it again
            systemd.ready(self._status())
            LOG.info("ready version=%s socket=%s", __version__, self._config.socket)
            await stop.wait()
            systemd.stopping()
            LOG.info("stopping")

    @contextlib.asynccontextmanager
    async def _listening(self) -> AsyncIterator[None]:
        """Serve the link and feed the watchdog; at the end running calls finish first."""
        self._link.open()
        async with asyncio.TaskGroup() as group:
            watchdog = group.create_task(_feed_watchdog(), name="watchdog")
            power = group.create_task(supervise("power", self._power.run), name="power")
            group.create_task(supervise("unix", self._link.run), name="unix")
            try:
                yield
            finally:
                self._link.close()
                power.cancel()
                watchdog.cancel()

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
            if later := changed - LIVE:
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
        return Power(config, known, match, sampler, self._limits, bell=bell)

    def _open_library(self) -> Library:
        library = Library(Path(self._config.paths.state) / "models", self._preflight)
        library.watch()
        return library

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
        scheduler = Scheduler(self._config.inference, library, runtime, kernels, self._limits)
        engine = Engine(
            runtime=f"{runtime.name} {runtime.version}", kernels=kernels.name, kernels_reason=reason
        )
        return scheduler, engine


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
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
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
