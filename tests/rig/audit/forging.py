"""A log made in memory, the device that signs it, and the hands that change it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

import cbor2
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils

from edged.audit import chain
from edged.audit.chain import CHECKPOINT, LEAVES, MAGIC, ZERO, Checkpoint, Event, Record, State
from edged.audit.verdict import Verdict
from edged.audit.verify import Verifier
from edged.clock import Instant
from edged.errors import Rejected

LOG_ID = bytes(range(16))
_PROTECTED = cbor2.dumps({1: -7})
_CURVE = ec.ECDSA(hashes.SHA256())


class Device:
    """An identity key in software, and an anchor that only goes on."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.value = ZERO

    def sign(self, payload: bytes) -> bytes:
        r, s = utils.decode_dss_signature(self._key.sign(_to_sign(payload), _CURVE))
        signature = r.to_bytes(32, "big") + s.to_bytes(32, "big")
        return cbor2.dumps(cbor2.CBORTag(18, [_PROTECTED, {}, payload, signature]))

    def opened(self, signed: bytes) -> bytes:
        payload: bytes
        _, _, payload, signature = cbor2.loads(signed).value
        numbers = (int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big"))
        try:
            self._key.public_key().verify(utils.encode_dss_signature(*numbers), _to_sign(payload), _CURVE)
        except Exception as exc:
            raise Rejected("the signature is not the device's") from exc
        return payload

    def extend(self, digest: bytes) -> bytes:
        self.value = hashlib.sha256(self.value + digest).digest()
        return self.value

    def anchor(self) -> bytes:
        return self.value


def _to_sign(payload: bytes) -> bytes:
    return cbor2.dumps(["Signature1", _PROTECTED, b"edged/v1/audit", payload])


class Written:
    """A log under the pen; `frames` are its records as they stand on disk."""

    def __init__(self, device: Device, log: bytes = LOG_ID) -> None:
        self.device, self.log = device, log
        self.frames: list[bytes] = []
        self.published: list[Checkpoint] = []
        self.state, self.anchor = State(), ZERO
        self.add(
            Event("edged", chain.SEGMENT, "begun", {"log": log, "covered": 0, "anchor": ZERO, "folded": b""})
        )

    def add(self, event: Event) -> None:
        at = len(self.frames)
        frame, self.state = chain.link(self.state, event, Instant(1.8e9 + at, True, 100.0 + at))
        self.frames.append(frame)

    def act(self, count: int = 1) -> None:
        for _ in range(count):
            self.add(Event("uid:1000", "models_activate", "allowed", {"name": "face", "n": len(self.frames)}))

    def check(self) -> None:
        """Make a checkpoint of all there is."""
        state = self.state
        checkpoint = Checkpoint(
            log=self.log,
            seq=state.seq,
            head=state.head,
            leaves=state.leaves,
            anchor=self.anchor,
            wall_ms=0,
            trusted=True,
            counts={},
        )
        signed = self.device.sign(checkpoint.payload())
        self.anchor = chain.fold(self.anchor, signed)
        self.device.extend(chain.digest_of(signed))
        self.published.append(checkpoint)
        self.add(Event("edged", CHECKPOINT, "made", {"signed": signed}))


def a_log(records: int, *, every: int = LEAVES) -> Written:
    """A log of so many records, with a checkpoint whenever `every` are without one."""
    written = Written(Device())
    while written.state.seq < records:
        since = written.state.seq - (written.published[-1].seq if written.published else 0)
        if since >= every:
            written.check()
        else:
            written.act()
    return written


def rewritten(frames: Sequence[bytes], at: int, event: Event) -> list[bytes]:
    """The log with record `at + 1` replaced by this event, and every later hash made to fit."""
    state, made = State(), []
    for index, frame in enumerate(frames):
        record = Record.read(frame[4:-32])
        kept = event if index == at else Event(record.who, record.what, record.decision, record.about)
        instant = Instant(record.wall_ms / 1000, record.trusted, record.uptime_ms / 1000)
        linked, state = chain.link(state, kept, instant)
        made.append(linked)
    return made


def verified(
    written: Written,
    frames: Iterable[bytes] | bytes | None = None,
    *,
    published: Iterable[Checkpoint] = (),
    anchor: bytes | None = None,
    signed: bool = True,
) -> Verdict:
    """The verdict on a log: its own frames, or these, or these bytes after the magic."""
    verifier = Verifier(written.device.opened if signed else None, published)
    if not isinstance(frames, bytes):
        frames = b"".join(written.frames if frames is None else frames)
    verifier.take("0000000000000001.audit", MAGIC + frames)
    return verifier.finish(anchor)
