"""How the keys are, for status, MCP, MQTT and `edged keys status`: everything but the keys. Pure."""

from __future__ import annotations

import hashlib

import msgspec

from edged.keys import certificates, cose, recovery
from edged.keys.backend import Protection
from edged.keys.commits import Commit
from edged.keys.config import Mode
from edged.keys.credential import MEANING as CREDENTIAL_MEANING
from edged.keys.enrolment import Enrolment, TlsKind
from edged.keys.hostfile import MEANING as HOSTFILE_MEANING
from edged.keys.keystore import Keystore

MEANING: dict[Protection, str] = {
    **CREDENTIAL_MEANING,
    Protection.HOSTFILE: HOSTFILE_MEANING,
    Protection.TPM: "the keys are in a TPM that has not proven to be hardware (no vendor's certificate)",
    Protection.TPM_SW: "the keys are in a TPM that is software: worth as much as where its state is kept",
}


class RecoveryStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Who could open the data without this board."""

    kid: str
    fingerprint: str
    drilled_s: int | None
    """Wall time of the last proof that it does; None: never proven."""


class EnrolmentStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Whom the device believes, and as whom it speaks."""

    device: str
    enrolled: bool
    anchors: list[str]
    anchors_version: int
    tls_key: TlsKind | None
    certificate: str | None
    """SHA-256 of its DER."""
    not_after_s: int | None
    renewal_due: bool
    awaiting_certificate: bool


class KeysStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Nothing in it is secret."""

    protection: Protection
    mode: Mode
    identity: str
    """SHA-256 of the public key, in groups of four: what the fleet compares."""
    key_id: str
    epoch: int
    epochs: list[int]
    """Those that still open what was sealed in them."""
    cipher: str
    commits: int
    revision: int
    clock_floor_s: int
    recovery: RecoveryStatus | None
    attestation: bool
    enrolment: EnrolmentStatus | None
    warnings: list[str]


def status(
    keys: Keystore, protection: Protection, commit: Commit, cipher: str, known: Enrolment | None, now_s: int
) -> KeysStatus:
    """All of it, and what an owner should do about it."""
    enrolled = None if known is None else enrolment_status(known, now_s)
    recover = _recovery(keys)
    return KeysStatus(
        protection=protection,
        mode=keys.mode,
        identity=recovery.grouped(hashlib.sha256(keys.identity_public).hexdigest()),
        key_id=cose.key_id(keys.identity_public).hex(),
        epoch=keys.epoch,
        epochs=[root.epoch for root in keys.roots],
        cipher=cipher,
        commits=commit.counter,
        revision=commit.revision,
        clock_floor_s=commit.floor_s,
        recovery=recover,
        attestation=keys.attestation is not None,
        enrolment=enrolled,
        warnings=list(_warnings(protection, recover, enrolled)),
    )


def enrolment_status(known: Enrolment, now_s: int) -> EnrolmentStatus:
    """The enrolment's part."""
    certificate = None if known.tls is None else certificates.load(known.tls.certificate, known.device)
    return EnrolmentStatus(
        device=known.device,
        enrolled=known.enrolled_s is not None,
        anchors=[recovery.grouped(hashlib.sha256(anchor.spki).hexdigest()) for anchor in known.anchors],
        anchors_version=known.anchors_version,
        tls_key=None if known.tls is None else known.tls.kind,
        certificate=None if certificate is None else certificate.fingerprint,
        not_after_s=None if certificate is None else certificate.not_after_s,
        renewal_due=certificate is not None and certificates.renewal_due(certificate, now_s),
        awaiting_certificate=known.pending is not None,
    )


def _recovery(keys: Keystore) -> RecoveryStatus | None:
    if keys.recovery_public is None:
        return None
    public = recovery.load_spki(keys.recovery_public)
    return RecoveryStatus(
        kid=recovery.kid(public).hex(), fingerprint=recovery.fingerprint(public), drilled_s=keys.drilled_s
    )


def _warnings(
    protection: Protection, recover: RecoveryStatus | None, enrolled: EnrolmentStatus | None
) -> list[str]:
    found = [MEANING[protection]] if protection in MEANING else []
    if recover is None:
        found.append(
            "no recovery key: when this board or its TPM dies, what it sealed dies with it (edged enrol)"
        )
    elif recover.drilled_s is None:
        found.append("the recovery key was never proven: edged keys drill")
    if enrolled is None or not enrolled.enrolled:
        found.append("not enrolled: every config and model of a fleet is refused (edged enrol)")
    elif enrolled.renewal_due:
        found.append("the certificate is due for renewal: edged enrol renew")
    return found
