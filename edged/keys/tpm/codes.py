"""What a TPM's response codes mean for us: wait, make room, open again, or a named error.

TPM 2.0 Library, part 2, 6.6; the upper half of a code is the layer of the TSS that made it (TSS 2.0 Overview, 5.3).
"""

from __future__ import annotations

import enum
from typing import Final

from edged.errors import DeviceError, KeysCorrupt, KeysPolicy, KeysUnavailable

AUTH_FAIL: Final = 0x8E
BAD_AUTH: Final = 0xA2
PCR_CHANGED: Final = 0x128
NV_UNINITIALIZED: Final = 0x14A
NO_HANDLE: Final = 0x8B

_WAIT: Final = frozenset({PCR_CHANGED, 0x908, 0x90A, 0x920, 0x922})  # …, YIELDED, TESTING, NV_RATE, RETRY
_MAKE_ROOM: Final = frozenset({0x902, 0x903})  # OBJECT_MEMORY, SESSION_MEMORY
_REFERENCES: Final = range(0x910, 0x91F)  # REFERENCE_H0 … S6: gone from the TPM, by a reset in between
_TPM_LAYERS: Final = (0, 11, 12)  # the TPM itself, and a resource manager speaking for it
_MU_LAYER: Final = 9


class Unauthorised(KeysPolicy):
    """The TPM refuses the secret that was shown: the caller knows which, and says so."""


class Course(enum.Enum):
    """What to do about a code."""

    WAIT = enum.auto()
    """The command was not started; the same may succeed in a moment."""
    MAKE_ROOM = enum.auto()
    """No slot for a key or a session."""
    REOPEN = enum.auto()
    """The line or the context is broken; whether the command ran is unknown."""
    FAIL = enum.auto()


def base(code: int) -> int:
    """A TPM's code without layer, and without the number of the handle, parameter or session (part 2, 6.6.3)."""
    code &= 0xFFF
    return code & 0xBF if code & 0x80 else code


def from_tpm(code: int) -> bool:
    """Whether the TPM, or its resource manager, said so, and not the library or the line."""
    return code >> 16 in _TPM_LAYERS


def course(code: int) -> Course:
    """What to do about it."""
    if not from_tpm(code):
        return Course.FAIL if code >> 16 == _MU_LAYER else Course.REOPEN
    said = base(code)
    if said in _WAIT:
        return Course.WAIT
    if said in _MAKE_ROOM:
        return Course.MAKE_ROOM
    return Course.REOPEN if said in _REFERENCES else Course.FAIL


_CORRUPT: Final = "the TPM finds a key blob damaged: restore the keystore from a copy, or recover it"
_STATE: Final = (
    "the machine's measured state is not approved: send an approval for it, or use the recovery secret"
)
_SECRET: Final = "the TPM refuses the secret it was shown"  # noqa: S105 - a message
_SLOTS: Final = "the TPM has no free slot for {}: end the program that holds them, or restart the TPM"

_ERRORS: Final[dict[int, tuple[type[DeviceError], str]]] = {
    0x9D: (KeysPolicy, _STATE),  # POLICY_FAIL
    0x126: (
        KeysPolicy,
        "the approval for this state was revoked: send a newer one, or use the recovery secret",
    ),
    PCR_CHANGED: (KeysPolicy, "the measured state kept changing while a key was used: try again later"),
    0x9B: (KeysPolicy, "the approval is not signed by the key that approves states of this device"),
    0x12F: (KeysPolicy, "the key is bound to a policy, and none was shown"),
    AUTH_FAIL: (Unauthorised, _SECRET),
    BAD_AUTH: (Unauthorised, _SECRET),
    0x9F: (KeysCorrupt, _CORRUPT),  # INTEGRITY
    0x95: (KeysCorrupt, _CORRUPT),  # SIZE
    0x9A: (KeysCorrupt, _CORRUPT),  # INSUFFICIENT
    0x85: (KeysUnavailable, "the TPM's owner hierarchy is disabled: enable it in the firmware's setup"),
    0x100: (KeysUnavailable, "nobody has started the TPM: load its kernel driver, or reboot"),
    0x101: (
        KeysUnavailable,
        "the TPM is in failure mode: cut the board's power, and replace the TPM if it stays so",
    ),
    0x14B: (KeysUnavailable, "the TPM's NV memory is full: remove an index with tpm2_nvundefine"),
    0x902: (KeysUnavailable, _SLOTS.format("a key")),
    0x903: (KeysUnavailable, _SLOTS.format("a session")),
    0x905: (KeysUnavailable, _SLOTS.format("a session")),
    **dict.fromkeys((0x908, 0x90A, 0x920, 0x922), (KeysUnavailable, "the TPM stays busy: try again later")),
    0x921: (
        KeysUnavailable,
        "the TPM is locked after other programs' wrong passwords: wait, or tpm2_dictionarylockout --clear-lockout",
    ),
}


def error(code: int) -> DeviceError:
    """The error a caller can act on, with the remedy in its message."""
    if code >> 16 == _MU_LAYER:
        return KeysCorrupt(f"{_CORRUPT} (0x{code:x})")
    if not from_tpm(code):
        return KeysUnavailable(f"the TPM does not answer (0x{code:x}); it is tried again at the next use")
    kind, message = _ERRORS.get(base(code), (KeysUnavailable, "the TPM failed in a way that is not foreseen"))
    return kind(f"{message} (0x{code:x})")
