"""`edged enrol`: whom the device believes, and the certificate it speaks with; while the daemon is not running."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edged.cli import keys, state
from edged.cli.tables import show as print_answer
from edged.errors import KeysUnavailable, NotFound

if TYPE_CHECKING:
    from edged.keys.enrolling import Application
    from edged.keys.enrolment import TlsKind
    from edged.keys.opening import Keyplace
    from edged.keys.vault import Vault

REQUEST, STATEMENT = "device.csr", "device.cose"
CHECK = "Compare these with what the fleet's manager shows, before you go on:"


def begin(arguments: argparse.Namespace) -> int:
    """Take whom to believe, and write the request for the certificate."""
    from edged.keys import enrolling, enrolment, recovering, recovery

    anchors = [enrolment.load_anchor(state.read_input(name)) for name in arguments.anchor]
    broker_ca = state.read_input(arguments.broker_ca)
    device_ca = state.read_input(arguments.device_ca) if arguments.device_ca else broker_ca
    public = (
        recovery.load_public(state.read_input(arguments.recovery_key)) if arguments.recovery_key else None
    )
    with state.keyplace(arguments) as place:
        vault = _strongest(place)
        try:
            if public is not None:
                recovering.entrust(vault, public)
            made = enrolling.begin(
                vault,
                device=arguments.device,
                anchors=anchors,
                broker_ca=broker_ca,
                device_ca=device_ca,
                tls=_tls(vault, arguments),
                now_s=state.now_s(),
            )
            _hand_out(vault, made, arguments)
        finally:
            vault.close()
    return 0


def finish(arguments: argparse.Namespace) -> int:
    """Take the certificate, once it is right."""
    from edged.keys import enrolling

    chain = state.read_input(arguments.certificate)
    with state.vault(arguments) as vault:
        checked = enrolling.finish(vault, chain, state.now_s())
        answer = {"enrolled": True, **checked._asdict()}
    print_answer(answer, as_json=arguments.json)
    return 0


def renew(arguments: argparse.Namespace) -> int:
    """A new key and a request for it; the present certificate goes on."""
    from edged.keys import enrolling

    with state.vault(arguments) as vault:
        _hand_out(vault, enrolling.renew(vault, _tls(vault, arguments)), arguments)
    return 0


def anchors(arguments: argparse.Namespace) -> int:
    """Believe other keys, as the fleet has signed."""
    from edged.keys import enrolling

    message = state.read_input(arguments.file)
    with state.vault(arguments) as vault:
        enrolling.replace_anchors(vault, message)
        answer = _fingerprints(vault)
    print_answer(answer, as_json=arguments.json)
    return 0


def show(arguments: argparse.Namespace) -> int:
    """Print what is enrolled; the daemon may run."""
    with state.vault(arguments, alone=False) as vault:
        print_answer(_fingerprints(vault), as_json=arguments.json)
    return 0


def _tls(vault: Vault, arguments: argparse.Namespace) -> TlsKind:
    """Where the TLS key is to be; KeysUnavailable for inside the TPM where this machine cannot use it there."""
    from edged.keys import native
    from edged.keys.enrolling import HoldsTlsKeys

    config = state.keys_config(arguments)
    kind: TlsKind = arguments.tls_key or config.tls_key
    if (
        kind == "tpm-native"
        and isinstance(vault.backend, HoldsTlsKeys)
        and not native.possible(vault.backend, config.tcti)
    ):
        raise KeysUnavailable(
            "OpenSSL here cannot use a key inside the TPM (tpm2-openssl 1.2): --tls-key tpm-sealed"
        )
    return kind


def _strongest(place: Keyplace) -> Vault:
    """The keys, made where there are none, and in a TPM that was not there yet when they were made."""
    from edged.keys import enrolling, recovering

    try:
        vault = place.open()
    except NotFound:
        return place.make()
    known = enrolling.current(vault)
    if known is not None and known.enrolled_s is not None:
        return vault
    return recovering.strengthen(place, vault) or vault


def _hand_out(vault: Vault, made: Application, arguments: argparse.Namespace) -> None:
    into = Path(arguments.into)
    state.write_output(into / REQUEST, made.request)
    state.write_output(into / STATEMENT, made.statement)
    answer = {
        **_fingerprints(vault),
        "request": str(into / REQUEST),
        "statement": str(into / STATEMENT),
        "next": f"have {REQUEST} signed, then: edged enrol finish CERTIFICATE",
    }
    if not arguments.json:
        print(CHECK)
    print_answer(answer, as_json=arguments.json)
    if not arguments.json:
        keys.warn(keys.described(vault).warnings)


def _fingerprints(vault: Vault) -> dict[str, Any]:
    """What an operator compares."""
    from edged.keys import certificates, enrolling

    status = state.shown(keys.described(vault))
    known = enrolling.current(vault)
    authorities = () if known is None else certificates.authorities(known.broker_ca)
    return {
        "identity": status["identity"],
        "protection": status["protection"],
        "recovery": (status["recovery"] or {}).get("fingerprint"),
        "broker_ca": [certificates.described(each, "").fingerprint for each in authorities],
        **(status["enrolment"] or {"enrolled": False}),
    }
