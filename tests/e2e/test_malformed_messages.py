"""Ten thousand malformed messages: the connection and the server live, every readable id is answered once."""

from __future__ import annotations

from tests.chaos import mcp


def test_ten_thousand_malformed_messages_harm_nothing() -> None:
    with mcp.daemon() as path:
        assert mcp.fuzz(path, seed=20260728, runs=10_000) == []
