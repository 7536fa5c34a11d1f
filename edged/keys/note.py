"""What this room tells the audit log."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol


class Note(Protocol):
    """Writes an event down before it takes effect; what it raises keeps the event from happening."""

    def note(self, event: str, fields: Mapping[str, object]) -> None:
        """`event` is `keys.rotate` and the like; `fields` hold no secret."""
