"""What the device can prove: what time it is, what was asked of it, and who it is. Opened first and closed last."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from edged import __version__, memory
from edged.audit.checkpoints import Checkpoints, Outbox
from edged.audit.log import Log
from edged.audit.recorder import Recorder
from edged.clock import Clock, keep, read_floor
from edged.config import Config
from edged.errors import EdgedError
from edged.tasks import OneThread
from edged.tools.keys import KeysState, closed, opened

if TYPE_CHECKING:
    from edged.keys.keyring import Keyring
    from edged.links.mqtt.secrets import Secrets
    from edged.links.mqtt.tls import Tls
    from edged.links.spool.values import Sealer

LOG = logging.getLogger("edged")


class Trust:
    """The clock, the audit log, and the keys of a device that has some. Enter it before any other room is entered."""

    def __init__(self, config: Config, disk: OneThread) -> None:
        self._config = config
        self._disk = disk
        self._state = Path(config.paths.state)
        self.clock = Clock(read_floor(self._state / "clock"))
        self.log = Log(self._state / "audit", config.audit, self.clock)
        self.recorder = Recorder(self.log)
        self.checkpoints = Checkpoints(self.log)
        self.keyring: Keyring | None = None

    async def __aenter__(self) -> Trust:
        """Raises StorageError where nothing can be recorded, and KeysUnavailable where required keys are not there."""
        await self.log.open()
        try:
            await self.recorder.started(version=__version__)
            await self._open_keys()
        except BaseException:
            await self._close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.recorder.stopping(kind.__name__ if kind else "asked to")
        await self._close()

    @property
    def services(self) -> dict[str, Callable[[], Awaitable[None]]]:
        """What runs as long as the daemon."""
        return {
            "audit": self.checkpoints.run,
            "clock": lambda: keep(self.clock, self._state / "clock", self._disk),
        }

    def publish(self, outbox: Outbox) -> None:
        """Have checkpoints leave by it."""
        self.checkpoints.publish_by(outbox)

    def keys(self) -> KeysState:
        """What there is to say of the keys."""
        if self.keyring is None:
            return closed()
        if self.keyring.problem:
            return closed(self.keyring.problem)
        return opened(self.keyring.status(int(self.clock.wall_s())), self.keyring.silence)

    async def tls(self) -> Tls | None:
        """The device's own certificate for its broker, where it was enrolled with one and the config names none."""
        if self.keyring is None or self.keyring.problem or self._config.mqtt.cert:
            return None
        try:
            enrolment = await self.keyring.enrolled()
            if enrolment is None or enrolment.tls is None or not enrolment.tls.certificate:
                return None
            await self.keyring.load_tls()
        except EdgedError as exc:
            LOG.critical("no certificate for the broker error=%s: %s", type(exc).__name__, exc.message)
            return None
        from edged.keys.tls import DeviceTls  # noqa: PLC0415 - OpenSSL comes with the first TLS

        return DeviceTls(self.keyring.material)

    def sealer(self) -> Sealer | None:
        """What the spool is sealed with; None on a device that has no keys."""
        if self.keyring is None:
            return None
        from edged.daemon.sealing import SpoolKeys  # noqa: PLC0415 - with the keys, see `_open_keys`

        return SpoolKeys(self.keyring)

    def secrets(self) -> Secrets | None:
        """What reads the config's secret files; None on a device that has no keys."""
        if self.keyring is None:
            return None
        from edged.daemon.sealing import DeviceSecrets  # noqa: PLC0415 - likewise

        return DeviceSecrets(self.keyring, self._state)

    async def _open_keys(self) -> None:
        """A device that was given keys, or must have some, opens them; any other does without.

        Where keys vouched for the log and their directory is gone, they are missed, and no others made in their place.
        """
        given, required = (self._state / "keys").exists(), self._config.keys.tpm == "required"
        if not given and not required and not self.log.standing.covered:
            LOG.warning(
                "no keys: nothing vouches for the audit log; edged keys init or edged enrol makes them"
            )
            return
        memory.with_openssl()
        from edged.keys.keyring import Keyring  # noqa: PLC0415 - cryptography takes 18 MB that few devices need

        self.keyring = Keyring(self._config.keys, self._state, self.recorder)
        await self.keyring.open(make=given or required)
        if self.keyring.problem is None:
            self.checkpoints.attach(self.keyring)

    async def _close(self) -> None:
        if self.keyring is not None:
            await self.keyring.close()
        await self.log.close()
