"""Severities of log messages, RFC 5424 section 6.2.1.

Pure.
"""

from __future__ import annotations

from typing import Final, get_args

from edged.mcp.offers import LogLevel

_RANK: Final = {level: rank for rank, level in enumerate(get_args(LogLevel))}


def at_least(level: LogLevel, asked: LogLevel) -> bool:
    """Whether a message of this level is to be sent to who asked for that one."""
    return _RANK[level] >= _RANK[asked]
