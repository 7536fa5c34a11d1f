"""Payloads as they lie on the disk: encrypted from the first moment on at which the device has keys."""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from edged.errors import EdgedError, KeysCorrupt, StorageError
from edged.links.spool.values import Record, Row, Sealer

GONE = "it was sealed, and this device has no keys any more: edged keys init makes new ones"


class Sealing:
    """What `sealer` means for records; None: this device has no keys. On any thread."""

    def __init__(self, sealer: Sealer | None) -> None:
        self._sealer = sealer

    @property
    def on(self) -> bool:
        """Whether what comes now is encrypted."""
        return self._sealer is not None

    @property
    def opens(self) -> bool:
        """Whether sealed records can be sent now."""
        return self._sealer is not None and self._sealer.problem is None

    def trouble(self, *, sealed_before: bool) -> str | None:
        """Why nothing is taken in, and what is sealed stays; None where all is well."""
        if self._sealer is None:
            return GONE if sealed_before else None
        problem = self._sealer.problem
        return None if problem is None else f"{type(problem).__name__}: {problem.message}"

    def stored(self, record: Record, *, sealed_before: bool) -> tuple[Record, bool]:
        """A record for the disk, and whether its payload is sealed.

        Raises StorageError rather than write in the open what the device's keys should cover: whoever put it is
        told, and nothing that was acknowledged depends on keys that do not open.
        """
        if trouble := self.trouble(sealed_before=sealed_before):
            raise StorageError(f"the spool cannot seal: {trouble}")
        if self._sealer is None:
            return record, False
        try:
            payload = self._sealer.seal(place(record), record.payload)
        except EdgedError as exc:
            raise StorageError(f"the spool cannot seal: {type(exc).__name__}: {exc.message}") from exc
        return replace(record, payload=payload), True

    def opened(self, row: Row) -> Row | None:
        """A row to send; None where it is damaged or not of these keys. StorageError where nothing opens now."""
        if not row.sealed:
            return row
        if self._sealer is None:
            return None
        try:
            payload = self._sealer.open(place(row.record), row.record.payload)
        except KeysCorrupt:
            return None
        except EdgedError as exc:
            raise StorageError(f"the spool cannot open: {type(exc).__name__}: {exc.message}") from exc
        return replace(row, record=replace(row.record, payload=payload), sealed=False)


def place(record: Record) -> str:
    """What a payload is bound to: it cannot be passed off as another record's, nor be sent elsewhere.

    Not to its number: what is carried over from a damaged file has a new one, and no key has to open for that.
    """
    bound = (record.id, record.kind, record.topic, record.content_type, record.retain)
    return msgspec.json.encode(bound).decode()
