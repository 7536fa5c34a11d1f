"""Every error edged raises on purpose, ordered by what the caller can do about it.

    EdgedError
    ├── Rejected              never retry: the request itself is wrong
    │   ├── BadArgument       a tool argument, by its path
    │   ├── BadPicture        an image that cannot be decoded, or is not what it says
    │   ├── BadSound          likewise a recording
    │   ├── BadCbor           CBOR that is cut short, or uses what is refused here
    │   ├── BadConfig         every problem of a config file, each with path and line
    │   ├── BadManifest       likewise a model manifest
    │   ├── BadModel          a .tflite that fails its pre-flight
    │   ├── WrongHash         bytes that are not the ones named
    │   ├── TooLarge          over a cap, which the message names
    │   ├── NotFound          no such tool, model, version, handle or path
    │   ├── NotAllowed        above the peer's tier, or outside the configured roots
    │   └── NotEnrolled       the device does not know yet whom to believe
    ├── Refused               retry after `retry_after_s`
    │   ├── Overloaded        the queue is full
    │   ├── Throttled         the current Limits forbid it
    │   ├── NotReady          still loading, or restarting
    │   └── DeadlineExceeded  it waited longer than it was worth
    ├── DeviceError           the device failed at something it should be able to do
    │   ├── RuntimeFault      TFLite raised while loading or invoking
    │   ├── BadOutput         NaN or infinity in an output tensor
    │   ├── KeysUnavailable   what holds the keys is absent, busy or hung: it may come back
    │   ├── KeysReplaced      another TPM than the one enrolled, or a cleared one: the files are kept
    │   ├── KeysStale         an older state of the disk than the last one committed
    │   ├── KeysCorrupt       a key blob or the keystore is damaged
    │   └── KeysPolicy        the machine's measured state is not the one the keys are bound to
    ├── StorageError          the disk refused: full, read-only, damaged
    └── Unreachable           the other side is not there (CLI and links)

Adapters translate a library's error with `from exc`. Tools answer any of these as an `isError` result
whose structured content is `details()`; nothing else of an exception ever reaches a peer.
"""

from __future__ import annotations

from typing import ClassVar, TypeVar


class EdgedError(Exception):
    """The root; `message` is written for the person or agent who has to act on it."""

    retryable: ClassVar[bool] = False

    @property
    def message(self) -> str:
        """What went wrong and, where there is one, the remedy."""
        return str(self.args[0]) if self.args else type(self).__name__

    def details(self) -> dict[str, object]:
        """What a peer is told: the error's name, its message, whether and when to retry."""
        return {"error": type(self).__name__, "message": self.message, "retryable": self.retryable}


class Rejected(EdgedError):
    """The request is wrong and stays wrong."""


class BadArgument(Rejected):
    """A tool argument that is missing, mistyped or out of range; the message starts with its path."""


class BadPicture(Rejected):
    """An image that cannot be decoded or is not of the declared size or layout."""


class BadSound(Rejected):
    """A recording that cannot be decoded or is not of the declared format."""


class BadCbor(Rejected):
    """CBOR that is not one complete item of the plain kind `cborwalk` lets through."""


class BadConfig(Rejected):
    """A config file with one or more problems."""


class BadManifest(Rejected):
    """A model manifest with one or more problems."""


class BadModel(Rejected):
    """A model that failed its pre-flight."""


class WrongHash(Rejected):
    """Bytes whose SHA-256 is not the declared one."""


class TooLarge(Rejected):
    """Something over its cap; the message names the cap."""


class NotFound(Rejected):
    """No such tool, model, version, handle or path."""


class NotAllowed(Rejected):
    """Above the peer's tier, or outside what the config allows."""


class NotEnrolled(Rejected):
    """Nobody is trusted before `edged enrol`; every bundle of a fleet is refused."""


class Refused(EdgedError):
    """Right request, wrong moment."""

    retryable = True

    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s

    def details(self) -> dict[str, object]:
        """Likewise, with the seconds to wait."""
        return {**super().details(), "retry_after_s": self.retry_after_s}


class Overloaded(Refused):
    """The bounded queue is full."""


class Throttled(Refused):
    """The current Limits admit less than this."""


class NotReady(Refused):
    """Still loading, or restarting."""


class DeadlineExceeded(Refused):
    """The request waited past its deadline and was not run."""


class DeviceError(EdgedError):
    """The device failed at something it should be able to do."""


class RuntimeFault(DeviceError):
    """The TFLite runtime raised."""


class BadOutput(DeviceError):
    """NaN or infinity in a model's output."""


class KeysUnavailable(DeviceError):
    """What holds the keys does not answer; what needs no key goes on."""

    retryable = True


class KeysReplaced(DeviceError):
    """What holds the keys is not what this device was enrolled with; nothing is overwritten."""


class KeysStale(DeviceError):
    """The state on the disk is older than the last one committed; nothing is overwritten."""


class KeysCorrupt(DeviceError):
    """A key blob or the keystore is damaged, while the device it belongs to is the right one."""


class KeysPolicy(DeviceError):
    """The keys are bound to a measured state of the machine that is not this one."""


class StorageError(DeviceError):
    """The disk refused: full, read-only or damaged."""


class Unreachable(EdgedError):
    """The other side is not there."""

    retryable = True


E = TypeVar("E", bound=EdgedError)


def again(error: E) -> E:
    """A copy to raise: an exception collects a traceback each time it is raised."""
    copy = type(error).__new__(type(error), *error.args)
    copy.__dict__.update(error.__dict__)
    return copy
