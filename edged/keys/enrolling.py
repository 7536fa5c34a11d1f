"""Enrolment and the certificate's renewal, step by step: each is one commit, noted before. For the keys' thread."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import cbor2
import msgspec
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)

from edged.errors import KeysCorrupt, KeysUnavailable, NotEnrolled, Rejected
from edged.keys import certificates, cose, enrolment, recovery
from edged.keys.backend import NativeKey, Sealed
from edged.keys.certificates import Certificate
from edged.keys.devicekey import DeviceKey
from edged.keys.enrolment import Anchor, Enrolment, TlsKey, TlsKind
from edged.keys.vault import Purpose, Vault

STATEMENT = "enrolment"
"""The purpose of what a device says of itself to its fleet."""


class Material(NamedTuple):
    """What a TLS client needs."""

    certificate: bytes
    """PEM, with its intermediates."""
    key: bytes
    """PEM: PKCS8, for memory alone; or the blob of a key inside the TPM."""
    broker_ca: bytes
    password: str = ""
    """Of a key inside the TPM."""


@runtime_checkable
class HoldsTlsKeys(Protocol):
    """A backend with keys for TLS inside it."""

    def make_tls_key(self) -> Sealed:
        """A new one."""

    def tls_key(self, key: Sealed) -> NativeKey:
        """It, as OpenSSL takes it."""

    def sign_tls(self, key: Sealed, digest: bytes) -> bytes:
        """By one of them, for its certificate request."""


class Application(NamedTuple):
    """What goes to the fleet."""

    request: bytes
    """The certificate request, PEM."""
    statement: bytes
    """COSE_Sign1 by the device's identity: who it is, what protects its keys, the request, the recovery copies."""


def current(vault: Vault) -> Enrolment | None:
    """The enrolment in force."""
    data = vault.read(enrolment.NAME)
    return None if data is None else enrolment.decode(data)


def begin(
    vault: Vault,
    *,
    device: str,
    anchors: Sequence[Anchor],
    broker_ca: bytes,
    device_ca: bytes,
    tls: TlsKind,
    now_s: int,
) -> Application:
    """Take whom to believe, and make the key to ask a certificate for; nobody is believed until that came.

    Raises Rejected for authorities that are none, no anchors at all, or a device that is enrolled.
    """
    before = current(vault)
    if before is not None and before.enrolled_s is not None:
        raise Rejected(
            f"this device is enrolled as {before.device}; edged enrol renew asks for a new certificate"
        )
    if not anchors:
        raise Rejected("no trust anchor: without a key of the fleet this device would believe nobody")
    certificates.authorities(broker_ca)
    certificates.authorities(device_ca)
    pending, request = _new_key(vault, _checked_name(device), tls)
    made = Enrolment(
        device=device,
        anchors=tuple(anchors),
        broker_ca=broker_ca,
        device_ca=device_ca,
        pending=pending,
        begun_s=now_s,
    )
    fields = {
        "device": device,
        "anchors": [a.kid.hex() for a in anchors],
        "protection": vault.protection.value,
    }
    _put(vault, "enrol.begin", fields, made)
    return Application(request, statement(vault, made, request))


def finish(
    vault: Vault, chain: bytes, now_s: int, prove: Callable[[Material], None] = lambda _: None
) -> Certificate:
    """Take the certificate that was asked for, once it is right; the device is enrolled, or goes on with the new one.

    A certificate that is valid now vouches for the clock: `now_s` becomes the floor below which no clock is right.
    `prove` tries it (a connection to the broker) and raises where it does not serve: the old one then stays.
    """
    known = current(vault)
    if known is None or known.pending is None:
        raise NotEnrolled("no certificate was asked for: edged enrol begin, or edged enrol renew")
    pending = msgspec.structs.replace(known.pending, certificate=chain)
    checked = certificates.check(
        chain,
        known.device_ca,
        spki=pending.spki,
        device=known.device,
        now_s=max(now_s, vault.committed.floor_s),
    )
    prove(_material(vault, known, pending))
    after = msgspec.structs.replace(known, tls=pending, pending=None, enrolled_s=known.enrolled_s or now_s)
    fields = {"certificate": checked.fingerprint, "not_after_s": checked.not_after_s}
    _put(vault, "enrol.certificate", fields, after, now_s)
    return checked


def renew(vault: Vault, tls: TlsKind) -> Application:
    """A new key and a request for it; the certificate in use stays in use until `finish`."""
    known = current(vault)
    if known is None or known.tls is None:
        raise NotEnrolled("not enrolled: there is no certificate to renew")
    pending, request = _new_key(vault, known.device, tls)
    after = msgspec.structs.replace(known, pending=pending)
    _put(vault, "enrol.renew", {"device": known.device}, after)
    return Application(request, statement(vault, after, request))


def replace_anchors(vault: Vault, message: bytes) -> Enrolment:
    """Believe other keys from now on, as the fleet has signed; raises Rejected, NotEnrolled."""
    known = current(vault)
    if known is None:
        raise NotEnrolled("not enrolled: there is nobody yet who could name other trust anchors")
    after = enrolment.with_anchors(known, message)
    fields = {"version": after.anchors_version, "anchors": [a.kid.hex() for a in after.anchors]}
    _put(vault, "enrol.anchors", fields, after)
    return after


def material(vault: Vault) -> Material:
    """What to connect to the broker with, on any thread; raises NotEnrolled where there is none."""
    known = current(vault)
    if known is None or known.tls is None:
        raise NotEnrolled("not enrolled: there is no certificate to connect with")
    return _material(vault, known, known.tls)


def statement(vault: Vault, known: Enrolment, request: bytes) -> bytes:
    """What the device says of itself, signed by its identity; a public key and encrypted copies, nothing secret."""
    keys = vault.keystore
    said: dict[str, Any] = {
        "device": known.device,
        "identity": vault.identity,
        "protection": vault.protection.value,
        "request": request,
        "recovery": [
            msgspec.to_builtins(r.recovery, builtin_types=(bytes,)) for r in keys.roots if r.recovery
        ],
        "attestation": None if keys.attestation is None else vault.backend.public_key(keys.attestation),
    }
    return vault.sign(STATEMENT, cbor2.dumps(said, canonical=True), "application/cbor")


def _new_key(vault: Vault, device: str, kind: TlsKind) -> tuple[TlsKey, bytes]:
    if kind == "tpm-native":
        return _new_native_key(vault, device)
    key = ec.generate_private_key(ec.SECP256R1())
    spki = recovery.spki(key.public_key())
    private = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    if kind == "tpm-sealed":
        private = vault.seal(Purpose.TLS, _place(spki), private)
    return TlsKey(kind=kind, spki=spki, private=private), certificates.request(key, device)


def _new_native_key(vault: Vault, device: str) -> tuple[TlsKey, bytes]:
    backend = _holder(vault)
    sealed = backend.make_tls_key()
    spki = vault.backend.public_key(sealed)
    key = DeviceKey(spki, functools.partial(backend.sign_tls, sealed))
    private = cbor2.dumps(msgspec.to_builtins(sealed, builtin_types=(bytes,)))
    return TlsKey(kind="tpm-native", spki=spki, private=private), certificates.request(key, device)


def native_key(vault: Vault, tls: TlsKey) -> NativeKey:
    """A key inside the TPM, as OpenSSL takes it; raises KeysUnavailable, KeysCorrupt."""
    try:
        sealed = msgspec.convert(cbor2.loads(tls.private), Sealed, builtin_types=(bytes,))
    except (cbor2.CBORDecodeError, msgspec.ValidationError) as exc:
        raise KeysCorrupt(f"the TLS key is damaged: {exc}") from exc
    return _holder(vault).tls_key(sealed)


def _holder(vault: Vault) -> HoldsTlsKeys:
    if not isinstance(vault.backend, HoldsTlsKeys):
        raise KeysUnavailable(
            f"tls_key = tpm-native needs a TPM, and these keys are protected by {vault.protection.value}: tpm-sealed"
        )
    return vault.backend


def _material(vault: Vault, known: Enrolment, tls: TlsKey) -> Material:
    if tls.kind == "tpm-native":
        native = native_key(vault, tls)
        return Material(tls.certificate, native.pem, known.broker_ca, native.password)
    der = tls.private if tls.kind == "file" else vault.open(Purpose.TLS, _place(tls.spki), tls.private)
    key = load_der_private_key(der, None)
    if not isinstance(key, ec.EllipticCurvePrivateKey) or recovery.spki(key.public_key()) != tls.spki:
        raise KeysCorrupt("the TLS key is not the one the certificate was asked for with")
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return Material(tls.certificate, pem, known.broker_ca)


def _place(spki: bytes) -> str:
    return f"tls/{cose.key_id(spki).hex()}"


def _checked_name(device: str) -> str:
    try:
        return msgspec.convert(device, enrolment.DeviceName)
    except msgspec.ValidationError as exc:
        raise Rejected(
            f"a device's name has letters a to z, digits and dashes, up to 63: {device!r}"
        ) from exc


def _put(
    vault: Vault, event: str, fields: Mapping[str, object], made: Enrolment, floor_s: int | None = None
) -> None:
    vault.note.note(event, fields)
    vault.commit({enrolment.NAME: enrolment.encode(made)}, floor_s=floor_s)
