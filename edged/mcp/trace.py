"""The W3C trace context a client sent, carried to the log lines of its call.

Pure. A request without one costs nothing. What is logged is the trace id alone, and only where it is well-formed.
Source: W3C Trace Context; MCP 2026-07-28 basic/index.mdx, "OpenTelemetry trace context".
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final, NamedTuple

# version 00, 16 bytes of trace id, 8 of parent id, flags; neither id may be all zeros
_TRACEPARENT: Final = re.compile(
    r"[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?"
)


class Trace(NamedTuple):
    """What came in `_meta`, as it came."""

    parent: str
    state: str | None
    baggage: str | None

    @property
    def trace_id(self) -> str:
        """32 hexadecimal digits, or nothing where the client sent something else."""
        found = _TRACEPARENT.fullmatch(self.parent)
        return found[1] if found else ""


current: ContextVar[Trace | None] = ContextVar("trace", default=None)
"""The trace of the call that runs."""


class Stamp(logging.Filter):
    """Gives each log record a `trace`: ` trace=0af7…` within a call that has one, else nothing.

    To be added to the handler, whose format then ends with `%(trace)s`.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Set `trace`; every record passes."""
        trace = current.get()
        trace_id = trace.trace_id if trace else ""
        record.trace = f" trace={trace_id}" if trace_id else ""
        return True


@contextmanager
def carried(parent: str, state: str | None, baggage: str | None) -> Iterator[None]:
    """Let everything that is started or logged within belong to this trace."""
    token = current.set(Trace(parent, state, baggage))
    try:
        yield
    finally:
        current.reset(token)
