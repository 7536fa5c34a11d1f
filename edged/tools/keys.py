"""What is said of the device's keys: what protects them, or why there are none to use."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from edged.errors import EdgedError

if TYPE_CHECKING:
    from edged.keys.status import KeysStatus

NONE = "none"
NO_KEYS = "no keys were made: nothing is sealed or signed; edged keys init or edged enrol makes them"


class KeysState(msgspec.Struct, frozen=True, kw_only=True):
    """A part of `device_status`."""

    protection: str
    """tpm-hw, tpm, tpm-sw, credential-tpm, credential-host, hostfile; none where there are no keys that work."""
    problem: str | None = None
    """Why there are none, in words."""
    identity: str | None = None
    """SHA-256 of the identity's public key: what a fleet compares."""
    enrolled: bool = False
    warnings: list[str] = []
    """What the owner should know of them."""


def closed(problem: EdgedError | None = None) -> KeysState:
    """There are none to use."""
    return KeysState(protection=NONE, problem=problem.message if problem else NO_KEYS)


def opened(status: KeysStatus, silence: EdgedError | None = None) -> KeysState:
    """They are in use; `silence` is what is said where what holds them does not answer now."""
    return KeysState(
        protection=status.protection.value,
        identity=status.identity,
        enrolled=status.enrolment is not None and status.enrolment.enrolled,
        warnings=[*([silence.message] if silence else []), *status.warnings],
    )
