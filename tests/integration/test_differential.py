"""The official SDK's server as the oracle: where ours differs, a rule says by which passage ours is right."""

from __future__ import annotations

import asyncio

import pytest

from tests.chaos.differential import compare, describe
from tests.rig.oracle_compare import Exchange, exchanges
from tests.rig.oracle_rules import reasons

LIST = b'{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"_meta":%s}}'
MODERN = b'{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}'


def test_every_difference_over_many_seeded_connections_is_explained() -> None:
    tally, explained, unexplained = asyncio.run(compare(seed=20260728, runs=400))
    assert [describe(exchange) for exchange in unexplained] == []
    assert tally.answers > 1_000
    assert tally.different > 100
    assert explained["both eras on one connection"] > 100


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ({"id": 1, "result": {"tools": []}}, {"id": 1, "result": {"tools": ["t"]}}),
        ({"id": 1, "error": {"code": -32600, "message": "x"}}, {"id": 1, "result": {"tools": []}}),
        ({"id": 1, "result": {"tools": []}}, {"id": 1, "error": {"code": -32602, "message": "x"}}),
        ({"id": 2, "result": {"tools": []}}, {"id": 1, "result": {"tools": []}}),
        (
            {"id": 1, "error": {"code": 0, "message": "x"}},
            {"id": 1, "error": {"code": -32603, "message": "x"}},
        ),
    ],
)
def test_no_rule_explains_what_is_wrong_on_our_side(ours: object, theirs: object) -> None:
    found = Exchange(LIST % MODERN, [ours], [theirs], [])
    assert not found.same
    assert reasons(found) == []


def test_an_answer_that_never_comes_is_a_difference() -> None:
    found = Exchange(LIST % MODERN, [], [{"id": 1, "result": {"tools": []}}], [])
    assert not found.same
    assert reasons(found) == []


def test_where_the_sdk_refuses_an_era_its_answer_on_a_connection_for_that_era_counts() -> None:
    async def scenario() -> list[Exchange]:
        hello = b'{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-06-18",'
        hello += b'"capabilities":{},"clientInfo":{"name":"x","version":"1"}}}'
        return await exchanges([hello, LIST % MODERN])

    _hello, listed = asyncio.run(scenario())
    assert listed.locked
    assert listed.same
