"""The keys at the start: found and opened, or made where this device never had any."""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Protocol, TypedDict, runtime_checkable

from cryptography.hazmat.primitives.asymmetric import ec

from edged.errors import BadConfig, KeysCorrupt, KeysReplaced, KeysStale, NotFound
from edged.files import atomic_write, sync_directory
from edged.keys import keystore, recovery, sealed
from edged.keys.attest import Attesting
from edged.keys.backend import Backend, Sealed
from edged.keys.choosing import Backends
from edged.keys.committing import Commits
from edged.keys.config import KeysConfig, Mode
from edged.keys.keystore import Keystore, Root
from edged.keys.note import Note
from edged.keys.objects import Objects, private_directory, remove_synced
from edged.keys.secret import ROOT_BYTES, Secret
from edged.keys.vault import COMMIT, KEYSTORE, Vault

AUTHORITY_BYTES: Final = 32

BEGUN: Final = "init.begun"
"""There while keys are made for the first time: what lies beside it was never in force."""

_log = logging.getLogger(__name__)


class Keyplace:
    """The directory of the keys, and the backends of this machine. For the keys' thread."""

    def __init__(
        self, directory: Path, config: KeysConfig, note: Note, *, environ: Mapping[str, str] = os.environ
    ) -> None:
        self.directory = directory
        self.config = config
        self.note = note
        self.objects = Objects(directory)
        self.backends = Backends(directory, config, environ)

    def open(self, *, alone: bool = True) -> Vault:
        """The keys this device has; where somebody else may be using them, nothing is finished or tidied up.

        Raises NotFound where it never had any, KeysUnavailable, KeysReplaced, KeysStale, KeysCorrupt or KeysPolicy.
        """
        backend = self.backends.find(self.keystores())
        if backend is None:
            raise NotFound(f"no keys in {self.directory}: edged keys init makes them")
        try:
            return self._opened(backend, alone=alone)
        except BaseException:
            backend.close()
            raise

    def open_or_make(self) -> Vault:
        """The keys this device has, or new ones where it never had any, or where making them was interrupted.

        Raises BadConfig where a TPM has come to be required and does not hold them, and as `open` and `make`.
        """
        try:
            vault = self.open()
        except NotFound:
            return self.make()
        kind = vault.keystore.kind
        if self.config.tpm == "required" and kind != "tpm":
            vault.close()
            raise BadConfig(
                f"[keys] tpm = required, and these keys are kept by {kind}: edged keys init moves them into a TPM"
            )
        return vault

    def make(
        self,
        mode: Mode | None = None,
        recovery_key: ec.EllipticCurvePublicKey | None = None,
        *,
        forget: bool = False,
    ) -> Vault:
        """New keys, in the strongest backend there is.

        Raises KeysUnavailable, or KeysReplaced where that knows a device. `forget` gives that device up, for good;
        what is left of its files is kept under another name.
        """
        mode = mode or self.config.tpm
        self.backends.check(mode)
        if forget:
            self._aside()
        private_directory(self.directory)
        self.note.note("keys.init", {"mode": mode})
        atomic_write(self.directory / BEGUN, b"")
        backend = self.backends.make(mode)
        try:
            return self._made(backend, mode, recovery_key, forget=forget)
        except BaseException:
            backend.close()
            raise

    def keystores(self) -> Sequence[Keystore]:
        """Every keystore here that can be read; which is in force is not said."""
        found = []
        for data in self.objects.whole(KEYSTORE).values():
            try:
                found.append(keystore.decode(data))
            except KeysCorrupt as exc:
                _log.warning("a keystore is passed over: %s", exc.message)
        return found

    def vault(self, backend: Backend, commits: Commits, keys: Keystore, roots: Mapping[int, Secret]) -> Vault:
        """A vault of them."""
        return Vault(backend, commits, keys, roots, sealed.best_algorithm(_cpuinfo()), self.note)

    def _opened(self, backend: Backend, *, alone: bool) -> Vault:
        if (self.directory / BEGUN).exists() and not backend.record():
            raise NotFound("the keys were never finished: edged keys init makes them")
        self._check_device(backend)
        commits = Commits(self.objects, backend)
        if commits.look() is None:
            raise self._forgotten()
        keys = keystore.decode(commits.read(KEYSTORE) or b"")
        if (keys.kind, keys.device) != (keystore.kind_of(backend.protection), backend.device):
            raise self._forgotten()
        backend.authorise(backend.unseal(keys.authority))
        roots = unsealed(backend, keys)
        commits.authenticate(roots[keys.epoch].derive(COMMIT, keys.epoch))
        if backend.public_key(keys.identity) != keys.identity_public:
            raise KeysCorrupt("the identity key is not the one the keystore names")
        if alone:
            commits.settle()
            commits.tidy()
            remove_synced(self.directory / BEGUN)
        return self.vault(backend, commits, keys, roots)

    def _check_device(self, backend: Backend) -> None:
        """A copy of a disk in another board or before another TPM is told before anything is asked of its record."""
        known = [keys.device for keys in self.keystores()]
        if known and backend.device not in known:
            raise self._forgotten()

    def _forgotten(self) -> KeysReplaced | KeysStale:
        kinds = {keys.kind for keys in self.keystores()}
        if not kinds:
            return KeysStale(
                "what holds the keys knows this device, but its files are gone: put a backup back"
            )
        what = "TPM was cleared or replaced" if "tpm" in kinds else "disk was copied from another board"
        return KeysReplaced(
            f"these keys belong to another device: the {what}. Nothing was changed; edged keys recover brings the data "
            "here with the recovery key, under an identity of its own"
        )

    def _aside(self) -> None:
        if self.directory.exists():
            self.note.note("keys.forget", {})
            kept = self.directory.with_name(f"{self.directory.name}.forgotten-{secrets.token_hex(4)}")
            self.directory.rename(kept)
            sync_directory(kept.parent)

    def _made(
        self,
        backend: Backend,
        mode: Mode,
        recovery_key: ec.EllipticCurvePublicKey | None,
        *,
        forget: bool,
    ) -> Vault:
        if backend.record() and not forget:
            raise KeysReplaced(
                "what holds the keys knows a device already: edged keys recover, or put its files back. To give it up "
                "with everything it sealed: edged keys init --forget"
            )
        backend.forget()
        root = Secret(os.urandom(ROOT_BYTES))
        keys = Keystore(
            kind=keystore.kind_of(backend.protection),
            mode=mode,
            device=backend.device,
            roots=(seal_root(backend, 1, root, recovery_key),),
            recovery_public=None if recovery_key is None else recovery.spki(recovery_key),
            **new_identity(backend),
        )
        commits = Commits(self.objects, backend)
        commits.commit({KEYSTORE: keystore.encode(keys)}, root.derive(COMMIT, 1))
        remove_synced(self.directory / BEGUN)
        return self.vault(backend, commits, keys, {1: root})


class Identity(TypedDict):
    """What of a keystore is new with a backend that obeys to nobody yet."""

    authority: Sealed
    identity: Sealed
    identity_public: bytes
    attestation: Sealed | None


@runtime_checkable
class Attests(Attesting, Protocol):
    """A backend that can also state what it is."""

    def make_attestation_key(self) -> Sealed:
        """A key that signs what the backend states, and nothing from outside."""


def new_identity(backend: Backend) -> Identity:
    """Make the backend obey to a new authority, and a new identity in it."""
    secret = os.urandom(AUTHORITY_BYTES)
    authority = backend.seal(secret)
    backend.authorise(secret)
    identity = backend.make_identity()
    return Identity(
        authority=authority,
        identity=identity,
        identity_public=backend.public_key(identity),
        attestation=backend.make_attestation_key() if isinstance(backend, Attests) else None,
    )


def seal_root(
    backend: Backend, epoch: int, root: Secret, recovery_key: ec.EllipticCurvePublicKey | None
) -> Root:
    """A root secret for the keystore, and proven to open again."""
    sealed_root = backend.seal(root.reveal())
    wrapped = None if recovery_key is None else recovery.wrap(root.reveal(), recovery_key)
    made = Root(epoch=epoch, sealed=sealed_root, check_value=root.check_value(), recovery=wrapped)
    _unsealed(backend, made).wipe()
    return made


def unsealed(backend: Backend, keys: Keystore) -> dict[int, Secret]:
    """Every root by its epoch; raises what the backend raises, KeysCorrupt for one that opens to something else."""
    return {root.epoch: _unsealed(backend, root) for root in keys.roots}


def _unsealed(backend: Backend, root: Root) -> Secret:
    value = backend.unseal(root.sealed)
    if len(value) != ROOT_BYTES or Secret(value).check_value() != root.check_value:
        raise KeysCorrupt(f"the root secret of epoch {root.epoch} opened to something else than was sealed")
    return Secret(value)


def _cpuinfo() -> str:
    try:
        return Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
