"""Has the device vouch for its log: signs where the log stands, folds that into the anchor, and publishes it.

A service. The order is what a power cut may interrupt anywhere: signed, in the log, in the anchor, published. So the
anchor is where the log says, or one checkpoint behind, and then that one is folded in again; anything else is told.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final, Literal, Protocol

import msgspec

from edged.audit.log import Log
from edged.audit.standing import Standing
from edged.errors import DeviceError, Refused

_log = logging.getLogger(__name__)

PURPOSE: Final = "audit"
"""What checkpoints are signed for."""
RETRY_S: Final = (5.0, 15.0, 60.0)
"""After the first, second and every later failure in a row."""


class Keys(Protocol):
    """The device's identity, and the anchor, which only goes on. Raises DeviceError, and Refused to be asked later."""

    async def sign(self, purpose: str, payload: bytes) -> bytes:
        """The payload in a COSE_Sign1 that is good for this purpose alone."""

    async def extend(self, digest: bytes) -> bytes:
        """Fold 32 bytes into the anchor; its new value."""

    async def anchor(self) -> bytes:
        """The anchor: 32 bytes, zero before the first `extend`."""


class Outbox(Protocol):
    """Where signed checkpoints leave the device; raises StorageError."""

    async def put(self, checkpoint_id: str, signed: bytes) -> None:
        """Returns when it is sure to be sent. The same id is the same checkpoint."""


Anchored = Literal["in step", "behind", "mismatch", "none"]


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """How the log is; a part of the device's status."""

    records: int
    head: str
    """SHA-256 of the last record, in hex."""
    covered: int
    """The last record that the device has vouched for."""
    tail: int
    """Records after it."""
    anchor: Anchored
    """in step: the TPM, or what stands in for it, holds what the log leads to. behind: the last checkpoint is on its
    way. mismatch: an older copy of the log was restored, or the keys were replaced. none: nothing signs yet."""
    lost: int
    """Records that there was no room for, since the start."""
    reserved: bool
    """Whether there is still room for what must be recorded on a full disk."""
    failing: str | None
    """Why the log cannot be written or vouched for, where it cannot."""
    clock_trusted: bool


class Checkpoints:
    """One supervised service over an open log. Without a device it waits for one."""

    def __init__(self, log: Log, outbox: Outbox | None = None) -> None:
        self._audit = log
        self._outbox = outbox
        self._keys: Keys | None = None
        self._attached = asyncio.Event()
        self._anchored: Anchored = "none"
        self._settled = False
        self._failing: str | None = None
        self._unpublished: tuple[str, bytes] | None = None

    def attach(self, keys: Keys) -> None:
        """Have these keys sign from now on."""
        self._keys = keys
        self._settled = False
        self._attached.set()

    def publish_by(self, outbox: Outbox) -> None:
        """Have them leave the device from now on."""
        self._outbox = outbox

    async def run(self) -> None:
        """Make a checkpoint whenever one is due; what fails is tried again."""
        await self._attached.wait()
        failures = 0
        while True:
            if self._settled:
                await self._due()
            try:
                await self.make()
            except (DeviceError, Refused) as exc:
                self._failing, self._settled = exc.message, False
                if failures == 0:
                    _log.error("no audit checkpoint reason=%s", exc.message)
                await asyncio.sleep(RETRY_S[min(failures, len(RETRY_S) - 1)])
                failures += 1
            else:
                failures = 0

    async def make(self) -> None:
        """Vouch for all there is, if there is anything new; raises DeviceError and Refused."""
        assert self._keys is not None  # noqa: S101 - `run` waits for them
        if not self._settled:
            await self._settle(self._keys)
        if self._audit.fresh:
            await self._make(self._keys)
        await self._publish()
        self._failing = None

    def status(self) -> Status:
        """How the log is."""
        standing = self._audit.standing
        return Status(
            records=standing.state.seq,
            head=standing.state.head.hex(),
            covered=standing.covered,
            tail=standing.uncovered,
            anchor=self._anchored,
            lost=self._audit.lost,
            reserved=self._audit.reserved,
            failing=self._audit.failing or self._failing,
            clock_trusted=self._audit.trusted,
        )

    # inside

    async def _settle(self, keys: Keys) -> None:
        """Find the anchor where the log says, or one checkpoint behind."""
        found = await keys.anchor()
        standing = self._audit.standing
        if found == standing.anchor and standing.folded and found != standing.anchor_after:
            found = await keys.extend(standing.folded)
        if found == standing.anchor_after:
            self._anchored = "in step" if self._anchored != "mismatch" else "mismatch"
        else:
            _log.critical(
                "audit anchor is not where the log leads: an older copy was restored, or the keys replaced"
            )
            self._anchored = "mismatch"
            await self._audit.re_anchor(found)
        self._settled = True

    async def _make(self, keys: Keys) -> None:
        checkpoint = await self._audit.checkpoint()
        signed = await keys.sign(PURPOSE, checkpoint.payload())
        standing = await self._audit.add_checkpoint(checkpoint, signed)
        self._unpublished = checkpoint.id, signed
        await self._anchor(keys, standing)

    async def _anchor(self, keys: Keys, standing: Standing) -> None:
        before, self._anchored = self._anchored, "behind"
        self._settled = False  # until it is known whether the next step was taken
        value = await keys.extend(standing.folded)
        self._anchored = "mismatch" if before == "mismatch" else "in step"
        self._settled = value == standing.anchor_after

    async def _publish(self) -> None:
        if self._unpublished and self._outbox:
            await self._outbox.put(*self._unpublished)
        self._unpublished = None

    async def _due(self) -> None:
        """Wait until enough was recorded, or something long enough ago."""
        config = self._audit.config
        loop = asyncio.get_running_loop()
        while self._audit.fresh < config.checkpoint_records:
            since = self._audit.fresh_since
            at = None if since is None else since + config.checkpoint_interval_s
            try:
                async with asyncio.timeout_at(at):
                    await self._audit.grown()
            except TimeoutError:
                if loop.time() >= (at or 0.0):
                    return
