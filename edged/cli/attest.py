"""`edged attest`: evidence of how this device booted and what its audit log was; made here, judged anywhere."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edged.cli import state
from edged.cli.tables import show
from edged.errors import KeysUnavailable, Rejected

if TYPE_CHECKING:
    from edged.keys.attest import Attesting
    from edged.keys.backend import Sealed
    from edged.keys.vault import Vault


def quote(arguments: argparse.Namespace) -> int:
    """Write evidence for a nonce that a verifier has just drawn."""
    from edged.keys import attest

    nonce, pcrs = _hex(arguments.nonce, "nonce"), [_pcr(text)[0] for text in arguments.pcr]
    if len(nonce) not in attest.NONCE_BYTES:
        raise Rejected(f"a nonce has 16 to 32 bytes, this one {len(nonce)}: openssl rand -hex 20")
    with state.vault(arguments, alone=False) as vault:
        backend, key = _attesting(vault)
        vault.note.note("attest.quote", {"nonce": arguments.nonce, "pcrs": pcrs})
        evidence = attest.quote(backend, key, nonce, pcrs, anchored=not arguments.no_anchor)
    state.write_output(Path(arguments.out), evidence)
    show({"evidence": arguments.out, "bytes": len(evidence)}, as_json=arguments.json)
    return 0


def key(arguments: argparse.Namespace) -> int:
    """Print the attestation key, which a verifier takes down when the device is enrolled."""
    from edged.keys import recovery

    with state.vault(arguments, alone=False) as vault:
        _, sealed = _attesting(vault)
        spki = vault.backend.public_key(sealed)
    public = recovery.load_spki(spki)
    pem = recovery.pem(public)
    if arguments.json:
        show({"pem": pem, "fingerprint": recovery.fingerprint(public)}, as_json=True)
    else:
        print(pem, end="")
        print(f"fingerprint: {recovery.fingerprint(public)}", file=sys.stderr)
    return 0


def verify(arguments: argparse.Namespace) -> int:
    """Judge evidence, on any machine; exit code 1 where it is refused."""
    from edged.keys import attest, recovery

    public = recovery.load_public(state.read_input(arguments.key))
    expected = attest.Expected(
        key=recovery.spki(public),
        pcrs=dict(_pcr(text) for text in arguments.pcr),
        anchor=_hex(arguments.anchor, "anchor") if arguments.anchor else None,
        anchored=not arguments.no_anchor,
    )
    verdict = attest.verify(state.read_input(arguments.evidence), _hex(arguments.nonce, "nonce"), expected)
    answer: dict[str, Any] = {
        "trusted": verdict.trusted,
        "reason": verdict.reason.value,
        "detail": verdict.detail or None,
        "pcrs": {str(pcr): value.hex() for pcr, value in verdict.pcrs.items()},
        "anchor": None if verdict.anchor is None else verdict.anchor.hex(),
        "resets": verdict.resets,
        "restarts": verdict.restarts,
        "firmware": verdict.firmware,
    }
    show(answer, as_json=arguments.json)
    return 0 if verdict.trusted else 1


def approve(arguments: argparse.Namespace) -> int:
    """Sign a measured state in which devices may open their keys; where the approver's key is, and no TPM."""
    import cbor2
    import msgspec

    from edged.keys import recovery
    from edged.keys.tpm.policy import BootPolicy
    from edged.keys.tpm.policy import approve as sign

    private = recovery.load_private(state.read_input(arguments.key))
    values = {}
    for text in arguments.pcr:
        pcr, value = _pcr(text)
        if value is None:
            raise Rejected(f"PCR {pcr} of an approval needs its value: --pcr {pcr}=HEX")
        values[pcr] = value
    rule = BootPolicy(approver=recovery.spki(private.public_key()), pcrs=tuple(sorted(values)))
    approval = sign(private, rule, values)
    data = cbor2.dumps(msgspec.to_builtins(approval, builtin_types=(bytes,)), canonical=True)
    state.write_output(Path(arguments.out), data)
    show({"approval": arguments.out, "pcrs": sorted(values)}, as_json=arguments.json)
    return 0


def _attesting(vault: Vault) -> tuple[Attesting, Sealed]:
    from edged.keys.opening import Attests

    if vault.keystore.attestation is None or not isinstance(vault.backend, Attests):
        raise KeysUnavailable(
            f"only a TPM can state what it is: these keys are protected by {vault.protection.value}"
        )
    return vault.backend, vault.keystore.attestation


def _pcr(text: str) -> tuple[int, bytes | None]:
    number, _, value = text.partition("=")
    if not number.isdecimal() or int(number) > 23:
        raise Rejected(f"a PCR is a number up to 23, with =HEX for its value: {text!r}")
    digest = _hex(value, f"PCR {number}") if value else None
    if digest is not None and len(digest) != 32:
        raise Rejected(f"PCR {number} has 32 bytes (SHA-256), not {len(digest)}")
    return int(number), digest


def _hex(text: str, what: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError as exc:
        raise Rejected(f"the {what} is not hexadecimal: {text!r}") from exc
