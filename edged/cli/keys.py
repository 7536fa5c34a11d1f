"""`edged keys`: make, look at, rotate, prove and recover the device's keys, while the daemon is not running."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from edged.cli import state
from edged.cli.tables import show
from edged.errors import BadArgument, NotFound, Rejected

SPOOL: Final = "spool.db"
"""The daemon's outbox in the state directory."""

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import ec

    from edged.keys.opening import Keyplace
    from edged.keys.status import KeysStatus
    from edged.keys.vault import Vault


def init(arguments: argparse.Namespace) -> int:
    """Make the keys; or move those that were made without a TPM into the one that is there now."""
    public = _public(arguments.recovery_key)
    with state.keyplace(arguments) as place:
        vault = _made(place, arguments, public)
        try:
            _print(vault, arguments)
        finally:
            vault.close()
    return 0


def status(arguments: argparse.Namespace) -> int:
    """Say what protects the keys, and what is to be done about it; the daemon may run."""
    with state.vault(arguments, alone=False) as vault:
        _print(vault, arguments)
    return 0


def public(arguments: argparse.Namespace) -> int:
    """Print the identity's public key, which the fleet takes down and `edged audit verify` asks for."""
    from edged.keys import recovery

    with state.vault(arguments, alone=False) as vault:
        identity = recovery.load_spki(vault.identity)
    pem = recovery.pem(identity)
    if arguments.json:
        show({"pem": pem, "fingerprint": recovery.fingerprint(identity)}, as_json=True)
    else:
        print(pem, end="")
    return 0


def rotate(arguments: argparse.Namespace) -> int:
    """A new root secret, and every file encrypted again."""
    from edged.keys import rotation
    from edged.keys.sealedfiles import SealedFiles
    from edged.keys.vault import Purpose
    from edged.links.spool.resealing import reseal

    with state.vault(arguments) as vault:
        files = SealedFiles(vault, state.directory(arguments))
        epoch = rotation.rotate(vault)
        stale = files.stale()
        for place, purpose in stale:
            files.reseal(place, purpose)
            state.progress(place, files.path(place, purpose).stat().st_size)
        records = reseal(state.directory(arguments) / SPOOL, vault.sealer(Purpose.SPOOL))
        retired = rotation.retire(vault, epoch) if arguments.retire else []
        answer = {
            "epoch": epoch,
            "files": len(stale),
            "records": records,
            "retired": retired,
            "opens": sorted(vault.roots()),
        }
    show(answer, as_json=arguments.json)
    return 0


def seal(arguments: argparse.Namespace) -> int:
    """Encrypt a secret of the config; it is put where its rotation and the daemon find it."""
    from edged.keys.sealedfiles import SealedFiles
    from edged.keys.vault import Purpose

    place, secret = _secret_place(arguments.name), state.read_input(arguments.file)
    with state.vault(arguments) as vault:
        files = SealedFiles(vault, state.directory(arguments).absolute())
        path = files.path(place, Purpose.SECRETS)
        vault.note.note("keys.seal", {"name": arguments.name})
        files.write(place, Purpose.SECRETS, [secret])
    show({"file": str(path)}, as_json=arguments.json)
    if arguments.file != "-":
        print(f"{arguments.file} still lies open: delete it once this is in use", file=sys.stderr)
    return 0


def unseal(arguments: argparse.Namespace) -> int:
    """Print a secret as it was sealed, byte for byte; as JSON, base64."""
    import base64

    from edged.keys.sealedfiles import SealedFiles
    from edged.keys.vault import Purpose

    with state.vault(arguments) as vault:
        vault.note.note("keys.unseal", {"name": arguments.name})
        files = SealedFiles(vault, state.directory(arguments).absolute())
        secret = b"".join(files.read(_secret_place(arguments.name), Purpose.SECRETS))
    if arguments.json:
        show({"base64": base64.b64encode(secret).decode()}, as_json=True)
        return 0
    sys.stdout.buffer.write(secret)
    sys.stdout.buffer.flush()
    return 0


def drill(arguments: argparse.Namespace) -> int:
    """Prove that the recovery key opens everything."""
    from edged.keys import recovering

    private = _private(arguments)
    with state.vault(arguments) as vault:
        proven = recovering.drill(vault, private, state.now_s())
    show({"proven": True, "epochs": proven}, as_json=arguments.json)
    return 0


def recover(arguments: argparse.Namespace) -> int:
    """Bring the data under what holds keys on this board, by the recovery key."""
    from edged.keys import recovering

    private = _private(arguments)
    with state.keyplace(arguments) as place:
        vault = recovering.recover(place, private, weaker=arguments.weaker)
        try:
            print("recovered, under a new identity: tell the fleet, or enrol again", file=sys.stderr)
            _print(vault, arguments)
        finally:
            vault.close()
    return 0


def export(arguments: argparse.Namespace) -> int:
    """Put the device's state into one file, encrypted to the recovery key."""
    from edged.keys import exporting, recovery

    with state.vault(arguments) as vault:
        if vault.keystore.recovery_public is None:
            raise Rejected(
                "these keys have no recovery key, so an export could never be opened: edged keys init --recovery-key"
            )
        public = recovery.load_spki(vault.keystore.recovery_public)
        vault.note.note("keys.export", {"kid": recovery.kid(public).hex()})
        done = exporting.export(
            state.directory(arguments), Path(arguments.file), public, vault.algorithm, state.progress
        )
    answer = {"file": arguments.file, "files": done.files, "content_bytes": done.content_bytes}
    show(answer, as_json=arguments.json)
    return 0


def restore(arguments: argparse.Namespace) -> int:
    """Lay an export out on a blank board, and bring it under its keys."""
    from edged.keys import exporting, recovering

    private = _private(arguments)
    archive = Path(arguments.file).absolute()
    directory = state.directory(arguments)
    state.become_owner(directory)
    with state.held(directory):
        exporting.unpack(archive, private, directory, state.progress)
    with state.keyplace(arguments) as place:  # with the audit log that came along
        place.note.note("keys.restore", {"file": archive.name})
        vault = recovering.recover(place, private, weaker=arguments.weaker)
        try:
            _print(vault, arguments)
        finally:
            vault.close()
    return 0


def _secret_place(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", name):
        raise BadArgument(f"{name!r} is no name for a secret: letters, digits, - and _")
    return f"secrets/{name}"


def _made(place: Keyplace, arguments: argparse.Namespace, public: ec.EllipticCurvePublicKey | None) -> Vault:
    from edged.keys import recovering

    if arguments.forget:
        return place.make(arguments.tpm, public, forget=True)
    try:
        vault = place.open()
    except NotFound:
        return place.make(arguments.tpm, public)
    moved = recovering.strengthen(place, vault)
    if moved is None and public is None:
        vault.close()
        raise Rejected("this device has keys: edged keys status shows them, edged keys rotate renews them")
    vault = moved or vault
    if public is not None:
        recovering.entrust(vault, public)
    return vault


def described(vault: Vault) -> KeysStatus:
    """How the keys are."""
    from edged.keys import enrolling
    from edged.keys.status import status as of

    known = enrolling.current(vault)
    return of(vault.keystore, vault.protection, vault.committed, vault.algorithm, known, state.now_s())


def warn(lines: list[str]) -> None:
    """What the owner should know, where a person reads it."""
    for line in lines:
        print(f"warning: {line}", file=sys.stderr)


def _print(vault: Vault, arguments: argparse.Namespace) -> None:
    answer = described(vault)
    if arguments.json:
        show(state.shown(answer), as_json=True)
        return
    show({name: value for name, value in state.shown(answer).items() if name != "warnings"}, as_json=False)
    warn(answer.warnings)


def _public(name: str | None) -> ec.EllipticCurvePublicKey | None:
    from edged.keys import recovery

    return None if name is None else recovery.load_public(state.read_input(name))


def _private(arguments: argparse.Namespace) -> ec.EllipticCurvePrivateKey:
    import getpass

    from edged.keys import recovery

    pem = state.read_input(arguments.key)
    password = None
    if b"ENCRYPTED" in pem:
        password = getpass.getpass("password of the recovery key: ").encode()
    return recovery.load_private(pem, password)
