"""The recovery key at work: proven in a drill, and used after a TPM or a board is gone."""

from __future__ import annotations

import secrets
from typing import NamedTuple

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec

from edged.errors import KeysCorrupt, KeysUnavailable, Rejected
from edged.files import sync_directory
from edged.keys import commits as commit_records
from edged.keys import credential, hostfile, keystore, recovery
from edged.keys.backend import Backend
from edged.keys.commits import Commit
from edged.keys.committing import NAME, Commits
from edged.keys.config import Mode
from edged.keys.keystore import Keystore
from edged.keys.objects import remove_synced
from edged.keys.opening import Keyplace, new_identity, seal_root
from edged.keys.secret import ROOT_BYTES, Secret
from edged.keys.vault import COMMIT, KEYSTORE, Vault

_STRICTNESS: tuple[Mode, ...] = ("off", "preferred", "required")
_WEAKER = (hostfile.KEY_FILE, hostfile.LEDGER_FILE, credential.LEDGER_FILE)


class Found(NamedTuple):
    """The newest state on the disk that the recovery key opens."""

    commit: Commit
    keys: Keystore
    roots: dict[int, Secret]


def drill(vault: Vault, private: ec.EllipticCurvePrivateKey, now_s: int) -> list[int]:
    """Prove that the recovery key opens every root in use, and write down when; the epochs proven.

    Raises Rejected where it is another key or there is no copy for it, KeysCorrupt where a copy is damaged.
    """
    vault.note.note("keys.drill", {"kid": recovery.kid(private.public_key()).hex()})
    proven = unwrapped(vault.keystore, private)
    for secret in proven.values():
        secret.wipe()
    vault.adopt(msgspec.structs.replace(vault.keystore, drilled_s=now_s), vault.roots())
    return sorted(proven)


def unwrapped(keys: Keystore, private: ec.EllipticCurvePrivateKey) -> dict[int, Secret]:
    """Every root of a keystore, by the recovery key."""
    return {root.epoch: _unwrapped(root, private) for root in keys.roots}


def _unwrapped(root: keystore.Root, private: ec.EllipticCurvePrivateKey) -> Secret:
    if root.recovery is None:
        raise Rejected("these keys were made without a recovery key: only what holds them opens them")
    value = recovery.unwrap(root.recovery, private)
    if len(value) != ROOT_BYTES or Secret(value).check_value() != root.check_value:
        raise KeysCorrupt(f"the recovery copy of epoch {root.epoch} is not that epoch's root")
    return Secret(value)


def newest(place: Keyplace, private: ec.EllipticCurvePrivateKey) -> Found:
    """The newest state on the disk that the recovery key opens and its roots vouch for; Rejected, KeysCorrupt."""
    states: list[Found] = []
    reasons: list[str] = []
    for data in place.objects.whole(NAME).values():
        try:
            states.append(_state(place, data, private))
        except (KeysCorrupt, Rejected) as exc:
            reasons.append(exc.message)
    if not states:
        raise KeysCorrupt(
            "nothing here opens with this recovery key: " + ("; ".join(reasons) or "there are no keys")
        )
    return max(states, key=lambda state: state.commit.counter)


def _state(place: Keyplace, data: bytes, private: ec.EllipticCurvePrivateKey) -> Found:
    commit = commit_records.decode(data)
    keys = keystore.decode(place.objects.get(KEYSTORE, commit.pins.get(KEYSTORE, b"")))
    roots = unwrapped(keys, private)
    if not commit_records.authentic(data, roots[keys.epoch].derive(COMMIT, keys.epoch)):
        raise KeysCorrupt("a commit record was not made by these keys")
    for name, pin in commit.pins.items():
        place.objects.get(name, pin)
    return Found(commit, keys, roots)


def recover(place: Keyplace, private: ec.EllipticCurvePrivateKey, *, weaker: bool = False) -> Vault:
    """Bring the newest state on this disk under what holds keys on this machine; its data opens as before.

    The identity is a new one: the old one died with what held it, and the fleet has to be told. `weaker` allows a
    backend weaker than the one before. Power lost meanwhile leaves the disk as it was, to be recovered again.
    """
    found = newest(place, private)
    fields = {
        "kid": recovery.kid(private.public_key()).hex(),
        "revision": found.commit.revision,
        "was": found.keys.kind,
    }
    place.note.note("keys.recover", fields)
    mode: Mode = "preferred" if weaker else _stricter(place, found.keys)
    found = found._replace(keys=msgspec.structs.replace(found.keys, mode=mode))
    return _under(place, _backend(place, found.keys, weaker=weaker), found)


def strengthen(place: Keyplace, vault: Vault) -> Vault | None:
    """Move keys that were made without a TPM into the one that is there now; None where there is nothing to move.

    The data stays as it is, the identity is a new one, and `vault` is closed. A power cut leaves the keys where they
    were, or in the TPM.
    """
    keys = msgspec.structs.replace(vault.keystore, mode=_stricter(place, vault.keystore))
    if keys.kind == "tpm" or keys.mode == "off" or (tpm := place.backends.tpm()) is None:
        return None
    place.note.note("keys.move", {"was": keys.kind})
    roots = {epoch: Secret(root.reveal()) for epoch, root in vault.roots().items()}
    moved = _under(place, tpm, Found(vault.committed, keys, roots))
    vault.close()
    for name in _WEAKER:
        remove_synced(place.directory / name)
    return moved


def _stricter(place: Keyplace, keys: Keystore) -> Mode:
    return max(keys.mode, place.config.tpm, key=_STRICTNESS.index)


def entrust(vault: Vault, public: ec.EllipticCurvePublicKey) -> None:
    """Wrap every root for a recovery key, in place of the one before."""
    vault.note.note("keys.recovery", {"kid": recovery.kid(public).hex()})
    roots = vault.roots()
    wrapped = tuple(
        msgspec.structs.replace(root, recovery=recovery.wrap(roots[root.epoch].reveal(), public))
        for root in vault.keystore.roots
    )
    changed = msgspec.structs.replace(
        vault.keystore, roots=wrapped, recovery_public=recovery.spki(public), drilled_s=None
    )
    vault.adopt(changed, roots)


def _backend(place: Keyplace, keys: Keystore, *, weaker: bool) -> Backend:
    if keys.kind == "tpm" and not weaker:
        try:
            return place.backends.open("tpm")
        except KeysUnavailable as exc:
            raise KeysUnavailable(
                f"{exc.message}. The keys were in a TPM: --weaker brings them under something weaker all the same"
            ) from exc
    try:
        return place.backends.make(keys.mode)
    except KeysCorrupt:
        _aside(place)
        return place.backends.make(keys.mode)


def _aside(place: Keyplace) -> None:
    """A damaged wrapping key or ledger is kept under another name."""
    for name in _WEAKER:
        path = place.directory / name
        if path.exists():
            path.rename(path.with_name(f"{name}.damaged-{secrets.token_hex(4)}"))
    sync_directory(place.directory)


def _under(place: Keyplace, backend: Backend, found: Found) -> Vault:
    """The same roots and objects under another backend, or again under this one."""
    public = None if found.keys.recovery_public is None else recovery.load_spki(found.keys.recovery_public)
    try:
        backend.forget()
        keys = msgspec.structs.replace(
            found.keys,
            kind=keystore.kind_of(backend.protection),
            device=backend.device,
            roots=tuple(
                seal_root(backend, epoch, root, public) for epoch, root in sorted(found.roots.items())
            ),
            **new_identity(backend),
        )
        commits = Commits.after(found.commit, place.objects, backend)
        key = found.roots[keys.epoch].derive(COMMIT, keys.epoch)
        commits.commit({KEYSTORE: keystore.encode(keys)}, key)
    except BaseException:
        backend.close()
        raise
    return place.vault(backend, commits, keys, found.roots)
