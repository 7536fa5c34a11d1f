"""The keys for the event loop: opened once at the start, then asked on their own thread, within a deadline."""

from __future__ import annotations

import asyncio
import logging
import resource
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from edged.errors import EdgedError, KeysUnavailable
from edged.keys import enrolling, enrolment, rotation
from edged.keys import status as statuses
from edged.keys.commits import Commit
from edged.keys.config import KeysConfig
from edged.keys.cose import Signed
from edged.keys.enrolling import Material
from edged.keys.enrolment import Enrolment
from edged.keys.note import Note
from edged.keys.opening import Keyplace
from edged.keys.status import KeysStatus
from edged.keys.thread import KeysThread
from edged.keys.vault import Purpose, Sealer, Vault

T = TypeVar("T")
P = ParamSpec("P")

_AGAIN_S = 1.0

_log = logging.getLogger(__name__)


class Keyring:
    """`open` it before anything is sealed, `close` it last. While it is not open, what needs a key says why.

    `problem` says why, and is None where the keys work.
    """

    def __init__(self, config: KeysConfig, state: Path, note: Note, place: Keyplace | None = None) -> None:
        self._config = config
        self._place = place or Keyplace(state / "keys", config, note)
        self._open: Callable[[], Vault] = self._place.open_or_make
        self._thread: KeysThread | None = None
        self._vault: Vault | None = None
        self._enrolment: Enrolment | None = None
        self._provider: object = None
        self.problem: EdgedError | None = KeysUnavailable("the keys are not opened yet")

    async def open(self, *, make: bool = True) -> None:
        """Open the keys, or `make` them where this device never had any.

        Waits up to `wait_s` for a TPM it was enrolled with. What keeps them from opening is raised where `[keys] tpm =
        required`; elsewhere it is kept in `problem`, and the device goes on without.
        """
        self._open = self._place.open_or_make if make else self._place.open
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # no core dump of a process with keys
        self._thread = KeysThread(self._config.timeout_s)
        loop = asyncio.get_running_loop()
        end = loop.time() + self._config.wait_s
        await self._try()
        while isinstance(self.problem, KeysUnavailable) and loop.time() < end:
            await asyncio.sleep(_AGAIN_S)
            await self._try()
        if self.problem is None:
            return
        _log.critical("keys do not open error=%s: %s", type(self.problem).__name__, self.problem.message)
        if self._config.tpm == "required":
            raise self.problem

    async def close(self) -> None:
        """Forget the secrets, and let go of what holds the keys."""
        if self._thread is None:
            return
        if self._vault is not None and not self._thread.hung:
            await self._thread.run(self._vault.close)
        self._vault = None
        await self._thread.close()

    @property
    def vault(self) -> Vault:
        """The open keys; raises what kept them from opening."""
        if self._vault is None:
            raise self.problem or KeysUnavailable("the keys are closed")
        return self._vault

    def sealer(self, purpose: Purpose) -> Sealer:
        """The sealing of one purpose; raises as `vault`."""
        return self.vault.sealer(purpose)

    @property
    def committed(self) -> Commit:
        """What is in force; raises as `vault`."""
        return self.vault.committed

    async def run(self, job: Callable[Concatenate[Vault, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What `job(vault, ...)` gives, on the keys' thread; raises KeysUnavailable when it does not come back."""
        if self._thread is None:
            raise KeysUnavailable("the keys are not opened yet")
        return await self._thread.run(job, self.vault, *args, **kwargs)

    async def sign(self, purpose: str, payload: bytes, content_type: str | None = None) -> bytes:
        """A COSE_Sign1 message by the device's identity."""
        return await self.run(Vault.sign, purpose, payload, content_type)

    async def commit(
        self, changes: Mapping[str, bytes | None], *, revision: int | None = None, floor_s: int | None = None
    ) -> Commit:
        """Put objects in force, all or none, for good. After KeysUnavailable, `settle` says whether it happened."""
        return await self.run(Vault.commit, changes, revision=revision, floor_s=floor_s)

    async def settle(self) -> Commit:
        """What is in force, asked again."""
        return await self.run(Vault.settle)

    async def read(self, name: str) -> bytes | None:
        """An object in force."""
        return await self.run(Vault.read, name)

    async def rotate(self) -> int:
        """A new epoch, while everything goes on; its number."""
        return await self.run(rotation.rotate)

    async def extend(self, digest: bytes) -> bytes:
        """Fold a digest into the audit anchor; its new value."""
        return await self.run(Vault.extend, digest)

    async def anchor(self) -> bytes:
        """The audit anchor: 32 bytes, zero before the first `extend`."""
        return await self.run(Vault.anchor)

    def believed(self, message: bytes, purpose: str) -> Signed:
        """What the fleet signed for a purpose; raises NotEnrolled, Rejected, or as `vault`."""
        _ = self.vault
        return enrolment.believed(self._enrolment, message, purpose)

    def material(self) -> Material:
        """Certificate and key to connect to the broker with, on any thread; raises NotEnrolled, or as `vault`."""
        return enrolling.material(self.vault)

    async def load_tls(self) -> None:
        """Make a TLS key that is inside the TPM usable by OpenSSL, before any other TLS of this process.

        Nothing to do for any other key. Raises KeysUnavailable where a handshake with it does not succeed.
        """
        known = self._enrolment
        if known is None or known.tls is None or known.tls.kind != "tpm-native":
            return
        from edged.keys import native  # noqa: PLC0415 - OpenSSL comes with the first TLS

        key = await self.run(enrolling.native_key, known.tls)
        self._provider = await self.run(lambda _vault: native.load(self._config.tcti, key))

    async def enrolled(self) -> Enrolment | None:
        """The enrolment in force, read again: after a change of it."""
        self._enrolment = await self.run(enrolling.current)
        return self._enrolment

    @property
    def silence(self) -> KeysUnavailable | None:
        """What is said to who asks, while what holds the keys does not answer."""
        return self._thread.silence if self._thread is not None and self._thread.hung else None

    def status(self, now_s: int) -> KeysStatus:
        """For status, MCP and MQTT; raises as `vault`. Touches neither the disk nor what holds the keys."""
        vault = self.vault
        return statuses.status(
            vault.keystore, vault.protection, vault.committed, vault.algorithm, self._enrolment, now_s
        )

    async def _try(self) -> None:
        assert self._thread is not None  # noqa: S101 - `open` made it
        try:
            self._vault = await self._thread.run(self._open)
            self._enrolment = await self._thread.run(enrolling.current, self._vault)
        except EdgedError as exc:
            self.problem = exc
        else:
            self.problem = None
