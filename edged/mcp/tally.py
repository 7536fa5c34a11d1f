"""How much of one peer's work is in flight, and whether there is room for more.

Pure.
"""

from __future__ import annotations

from edged.mcp.config import McpConfig
from edged.mcp.request import InFlight


class Tally:
    """The calls whose work has not ended, and what their requests weigh."""

    def __init__(self, limits: McpConfig) -> None:
        self._limits = limits
        self._calls: set[InFlight] = set()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._calls)

    def add(self, call: InFlight) -> None:
        """Count a call."""
        self._calls.add(call)
        self._bytes += call.request.size_bytes

    def remove(self, call: InFlight) -> None:
        """Count it no more; a second time nothing happens."""
        if call in self._calls:
            self._calls.remove(call)
            self._bytes -= call.request.size_bytes

    def answered(self) -> list[InFlight]:
        """Those that a thread has answered."""
        return [call for call in self._calls if call.answered]

    def lacking(self, size_bytes: int) -> str | None:
        """What there are too many of for one more call of that size, in words."""
        limits = self._limits
        if len(self._calls) >= limits.in_flight_max:
            return f"{limits.in_flight_max} calls"
        if self._bytes + size_bytes > limits.in_flight_max_bytes:
            return f"{limits.in_flight_max_bytes} bytes"
        return None
