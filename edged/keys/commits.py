"""Which state of the disk is in force. Pure.

Everything that must neither be lost nor go back (the keystore, the enrolment, the fleet's config) is an object, a file
named by its hash. A commit is an object too: it names the others, and its own hash lies in the backend's record, beside
the count of commits. So exactly one commit is in force at any moment:

1. the new objects and the new commit are written and on the disk (nothing has changed yet);
2. the record is set to `count + 1 | hash of the commit`: from here on the new state is in force;
3. the counter is raised to `count + 1`;
4. objects that no commit in force names are removed.

A power cut after 1 leaves the old state, after 2 the new one, whose step 3 the next start repeats. An older image of
the disk lacks the commit the record names. An older record, put back beside it, does not match the counter, which
cannot go back.
"""

from __future__ import annotations

import hashlib
import hmac
import struct
from collections.abc import Mapping
from typing import Final, NamedTuple

import cbor2
import msgspec

from edged.errors import KeysCorrupt, KeysStale
from edged.keys.secret import Secret

_RECORD: Final = struct.Struct(">Q32s")
_MAC_BYTES: Final = 32


class Commit(msgspec.Struct, frozen=True, kw_only=True):
    """What is in force."""

    counter: int
    """The backend's counter when it is."""
    revision: int = 0
    """Of the fleet's config."""
    floor_s: int = 0
    """Wall time, in seconds, before which this state did not exist: no clock that shows less is right."""
    pins: dict[str, bytes] = {}
    """The SHA-256 of each object in force, by what it is."""


class Verdict(NamedTuple):
    """Which commit to start from."""

    id: bytes
    commit: Commit
    advance: bool
    """Whether the counter has still to be raised: the power went between the record and the counter."""


def encode(commit: Commit, key: Secret) -> bytes:
    """A commit as an object, authenticated by the root it was made under."""
    body = cbor2.dumps(msgspec.structs.asdict(commit), canonical=True)
    return key.mac(body) + body


def decode(data: bytes) -> Commit:
    """The commit in an object, not yet authenticated; KeysCorrupt for anything else."""
    try:
        return msgspec.convert(cbor2.loads(data[_MAC_BYTES:]), Commit, builtin_types=(bytes,))
    except (cbor2.CBORDecodeError, msgspec.ValidationError) as exc:
        raise KeysCorrupt(f"a commit record is damaged: {exc}") from exc


def authentic(data: bytes, key: Secret) -> bool:
    """Whether it was made under this root."""
    return hmac.compare_digest(data[:_MAC_BYTES], key.mac(data[_MAC_BYTES:]))


def identify(data: bytes) -> bytes:
    """An object's name: its SHA-256."""
    return hashlib.sha256(data).digest()


def record(commit: Commit, identity: bytes) -> bytes:
    """The 40 bytes that the backend keeps: the counter, the hash of the commit."""
    return _RECORD.pack(commit.counter, identity)


def decide(counter: int, kept: bytes, found: Mapping[bytes, Commit]) -> Verdict | None:
    """What is in force, by the backend's counter and record and the commits on the disk; None where it knows of none.

    Raises KeysStale (the disk is not the newest state), KeysCorrupt (counter and record cannot both be right).
    """
    if not kept:
        return None
    count, identity = _unpacked(kept)
    if not 0 <= count - counter <= 1:
        raise _contradiction(count, counter)
    if (commit := found.get(identity)) is None:
        raise KeysStale(
            f"the state on this disk is not commit {count}, the last one: it is an older image of the disk, or files "
            "were lost. Put the newest backup back, or recover the keys"
        )
    if commit.counter != count:
        raise KeysCorrupt(f"the record names commit {count} and means commit {commit.counter}")
    return Verdict(identity, commit, advance=count == counter + 1)


def successor(
    commit: Commit, counter: int, changes: Mapping[str, bytes | None], revision: int | None
) -> Commit:
    """The commit after one, with the hashes of what changes (None: no longer there)."""
    pins = {name: pin for name, pin in {**commit.pins, **changes}.items() if pin is not None}
    after = commit.revision if revision is None else revision
    return msgspec.structs.replace(commit, counter=counter + 1, revision=after, pins=pins)


def _unpacked(kept: bytes) -> tuple[int, bytes]:
    if len(kept) != _RECORD.size:
        raise KeysCorrupt(f"the record in what holds the keys has {len(kept)} bytes, not {_RECORD.size}")
    count, identity = _RECORD.unpack(kept)
    return count, identity


def _contradiction(count: int, counter: int) -> KeysStale | KeysCorrupt:
    if count < counter:
        return KeysStale(
            f"the record says commit {count}, the counter {counter}: an older record was put back"
        )
    return KeysCorrupt(
        f"the record says commit {count}, the counter only {counter}: the counter was made anew"
    )
