"""Evidence of what a device is and how it booted; made with its TPM, judged without one, anywhere.

Evidence is one CBOR map. Only two things in it are believed, and each only by the signature over it: a quote of boot
registers, and a certificate of the audit anchor (a quote covers registers alone). Both are by the same key, which the
verifier knows from the device's enrolment, and both carry the nonce the verifier gave.
"""

from __future__ import annotations

import enum
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from typing import Annotated, Final, NamedTuple, Protocol

import cbor2
import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from msgspec import Meta

from edged import cborwalk
from edged.errors import BadCbor
from edged.keys import statement
from edged.keys.backend import Sealed
from edged.keys.statement import Content, Malformed, Quote, Statement
from edged.keys.tpm import names

EVIDENCE_BYTES_MAX: Final = 16 * 1024
NONCE_BYTES: Final = range(16, 33)
"""Long enough never to come twice, short enough for every TPM."""
ANCHOR_INDEX: Final = 0x0180ED02
_ANCHOR_BYTES: Final = 32
_VERSION: Final = 1

Pcr = Annotated[int, Meta(ge=0, le=23)]
Digest = Annotated[bytes, Meta(min_length=32, max_length=32)]


class Signed(NamedTuple):
    """A statement as the TPM made it, and its signature (ECDSA P-256: r and s)."""

    statement: bytes
    signature: bytes


class Attesting(Protocol):
    """A backend that can state what it is; on the keys' thread."""

    def quote(self, key: Sealed, nonce: bytes, pcrs: Sequence[int]) -> tuple[Signed, dict[int, bytes]]:
        """The registers' values, and the TPM's word for them."""

    def certify_anchor(self, key: Sealed, nonce: bytes) -> Signed:
        """The TPM's word for the audit anchor, which must have been extended once."""


class Evidence(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What goes over the wire."""

    v: int
    pcrs: dict[Pcr, Digest]
    quote: bytes
    quote_signature: bytes
    anchor: bytes | None = None
    anchor_signature: bytes | None = None


class Reason(enum.StrEnum):
    """Why evidence is refused, in the order it is looked at."""

    TRUSTED = "trusted"
    MALFORMED = "malformed"
    WRONG_DEVICE = "wrong-device"
    """Not signed by the attestation key of the device that was asked."""
    NOT_A_TPMS = "not-a-tpms"
    """Signed by that key, and not made inside a TPM, or of another kind than it should be."""
    REPLAYED = "replayed"
    """Not the answer to this nonce."""
    WRONG_SELECTION = "wrong-selection"
    """Registers that were asked for are not in it."""
    WRONG_STATE = "wrong-state"
    """Registers do not hold what is expected, or not what the evidence says they do."""
    WRONG_ANCHOR = "wrong-anchor"
    """The audit anchor is missing, not ours, or not what is expected."""
    INTERRUPTED = "interrupted"
    """The device was reset between the two statements."""


class Expected(msgspec.Struct, frozen=True, kw_only=True):
    """What the verifier knows beforehand."""

    key: bytes
    """The device's attestation key, from its enrolment: DER SubjectPublicKeyInfo."""
    pcrs: Mapping[int, bytes | None] = {}
    """The registers that must be in it, and their values; None: any."""
    anchor: bytes | None = None
    """The audit anchor, by the log or a published checkpoint; None: any."""
    anchored: bool = True
    """Whether the anchor must be in it at all."""
    anchor_index: int = ANCHOR_INDEX


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """The judgement, and what may be believed where it is `trusted`."""

    reason: Reason
    detail: str = ""
    pcrs: dict[int, bytes] = {}
    anchor: bytes | None = None
    resets: int = 0
    restarts: int = 0
    firmware: int = 0

    @property
    def trusted(self) -> bool:
        """Whether everything is as expected."""
        return self.reason is Reason.TRUSTED


def quote(
    backend: Attesting, key: Sealed, nonce: bytes, pcrs: Sequence[int], *, anchored: bool = True
) -> bytes:
    """Evidence for this nonce (16 to 32 bytes the verifier has just drawn); raises what a backend raises."""
    if len(nonce) not in NONCE_BYTES:
        raise ValueError(f"a nonce is {NONCE_BYTES.start} to {NONCE_BYTES.stop - 1} bytes, not {len(nonce)}")
    state, values = backend.quote(key, nonce, sorted(set(pcrs)))
    anchor = backend.certify_anchor(key, nonce) if anchored else None
    evidence = Evidence(
        v=_VERSION,
        pcrs=values,
        quote=state.statement,
        quote_signature=state.signature,
        anchor=anchor.statement if anchor else None,
        anchor_signature=anchor.signature if anchor else None,
    )
    return cbor2.dumps(msgspec.structs.asdict(evidence), canonical=True)


def verify(evidence: bytes, nonce: bytes, expected: Expected) -> Verdict:
    """Judge evidence that a device gave for `nonce`. Raises Rejected where `expected.key` is no P-256 key."""
    key = names.p256(expected.key)
    try:
        given = _decode(evidence)
        state = _signed(given.quote, given.quote_signature, key, nonce, statement.QUOTE)
        pcrs = _registers(state, given, expected)
        anchor = _anchor(given, key, nonce, expected, state)
    except _Refused as exc:
        return Verdict(reason=exc.reason, detail=exc.detail)
    return Verdict(
        reason=Reason.TRUSTED,
        pcrs=pcrs,
        anchor=anchor,
        resets=state.resets,
        restarts=state.restarts,
        firmware=state.firmware,
    )


class _Refused(Exception):
    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail


def _decode(data: bytes) -> Evidence:
    if len(data) > EVIDENCE_BYTES_MAX:
        raise _Refused(Reason.MALFORMED, f"larger than {EVIDENCE_BYTES_MAX} bytes")
    try:
        given = msgspec.convert(cborwalk.decode(data, depth_max=2), Evidence, builtin_types=(bytes,))
    except (BadCbor, msgspec.ValidationError) as exc:
        raise _Refused(Reason.MALFORMED, str(exc)) from exc
    if given.v != _VERSION:
        raise _Refused(Reason.MALFORMED, f"version {given.v}, and this reads {_VERSION}")
    return given


def _signed(
    data: bytes, signature: bytes, key: ec.EllipticCurvePublicKey, nonce: bytes, kind: int
) -> Statement:
    """In this order: the signature, that a TPM made it, the kind, the nonce; nothing is read that is not signed."""
    half = names.COORDINATE_BYTES
    if len(signature) != 2 * half:
        raise _Refused(Reason.MALFORMED, "a signature of another length")
    r, s = int.from_bytes(signature[:half], "big"), int.from_bytes(signature[half:], "big")
    try:
        key.verify(encode_dss_signature(r, s), data, ec.ECDSA(hashes.SHA256()))
        found = statement.parse(data)
    except InvalidSignature as exc:
        raise _Refused(Reason.WRONG_DEVICE, "not signed by this device's attestation key") from exc
    except Malformed as exc:
        raise _Refused(Reason.NOT_A_TPMS, f"signed, and no statement of a TPM: {exc}") from exc
    if found.magic != statement.MAGIC or found.kind != kind:
        raise _Refused(Reason.NOT_A_TPMS, f"magic 0x{found.magic:x}, kind 0x{found.kind:x}")
    if not hmac.compare_digest(found.nonce, nonce):
        raise _Refused(Reason.REPLAYED, "it answers another nonce")
    return found


def _registers(state: Statement, given: Evidence, expected: Expected) -> dict[int, bytes]:
    assert isinstance(state.about, Quote)  # noqa: S101 - by its kind
    if set(state.about.pcrs) != set(given.pcrs):
        raise _Refused(
            Reason.WRONG_SELECTION, f"signed are {list(state.about.pcrs)}, told {sorted(given.pcrs)}"
        )
    if missing := set(expected.pcrs) - set(given.pcrs):
        raise _Refused(Reason.WRONG_SELECTION, f"PCRs that were asked for are missing: {sorted(missing)}")
    told = hashlib.sha256(b"".join(given.pcrs[pcr] for pcr in state.about.pcrs)).digest()
    if told != state.about.digest:
        raise _Refused(Reason.WRONG_STATE, "the PCRs are not what was signed")
    wrong = [pcr for pcr, value in expected.pcrs.items() if value is not None and given.pcrs[pcr] != value]
    if wrong:
        raise _Refused(Reason.WRONG_STATE, f"PCRs that are not as expected: {sorted(wrong)}")
    return given.pcrs


def _anchor(
    given: Evidence, key: ec.EllipticCurvePublicKey, nonce: bytes, expected: Expected, state: Statement
) -> bytes | None:
    """The audit anchor; the index's name is what makes it a chain, and not bytes somebody wrote."""
    if given.anchor is None or given.anchor_signature is None:
        if expected.anchored or expected.anchor is not None:
            raise _Refused(Reason.WRONG_ANCHOR, "the audit anchor is not in it")
        return None
    found = _signed(given.anchor, given.anchor_signature, key, nonce, statement.NV)
    about = found.about
    assert isinstance(about, Content)  # noqa: S101 - by its kind
    ours = names.index(expected.anchor_index, names.NV_EXTEND, _ANCHOR_BYTES)
    if about.name != ours or about.offset or len(about.content) != _ANCHOR_BYTES:
        raise _Refused(Reason.WRONG_ANCHOR, "an index is certified that is not the audit anchor")
    if (found.resets, found.restarts) != (state.resets, state.restarts):
        raise _Refused(Reason.INTERRUPTED, "the device was reset between the two statements")
    if expected.anchor is not None and about.content != expected.anchor:
        raise _Refused(Reason.WRONG_ANCHOR, "the audit anchor is not where the log says")
    return about.content
