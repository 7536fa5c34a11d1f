"""Why ours differs from the official SDK where it does: every rule cites what makes ours right."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import mcp_types as types
from pydantic import ValidationError

from tests.rig.oracle_compare import Exchange, plain
from tests.rig.schemas_judge import judge

BATCHES = "2025-03-26"
RESERVED_BY_NOBODY = 0


class Rule(NamedTuple):
    """A difference that is as it should be."""

    name: str
    cites: str
    """The passage, by page of modelcontextprotocol.io/specification, or another standard's section."""
    applies: Callable[[Exchange], bool]


def unreadable(exchange: Exchange) -> bool:
    """The SDK says nothing to what it cannot parse; we answer with an error, and the id if there is one."""
    try:
        types.jsonrpc_message_adapter.validate_json(exchange.line, by_name=False)
    except ValidationError:
        answers = exchange.ours
        return exchange.theirs == [] and len(answers) == 1 and _is_error(answers[0])
    return False


def bad_id(exchange: Exchange) -> bool:
    """The SDK takes a request whose id is null, a fraction or a list for a notification."""
    if not isinstance(exchange.value, dict) or isinstance(exchange.id, str) or type(exchange.id) is int:
        return False
    answered = exchange.codes(exchange.ours) == [types.INVALID_REQUEST] and "id" not in exchange.ours[0]
    return "id" in exchange.value and exchange.theirs == [] and answered


def batch(exchange: Exchange) -> bool:
    """The SDK says nothing to an array."""
    if exchange.theirs or not isinstance(exchange.value, list) or exchange.agreed() != BATCHES:
        return False
    return all(isinstance(answer, list) for answer in exchange.ours)


def before_the_handshake(exchange: Exchange) -> bool:
    """Without an envelope or a handshake the SDK says that it does not know the method, or serves it."""
    if exchange.agreed() is not None or exchange.modern or exchange.method in {"initialize", "ping"}:
        return False
    return exchange.codes(exchange.ours) == [types.INVALID_PARAMS]


def malformed_envelope(exchange: Exchange) -> bool:
    """The SDK looks for the method first, and for the envelope's types not at all where there is none."""
    return exchange.modern and (exchange.codes(exchange.ours), exchange.codes(exchange.theirs)) == (
        [types.INVALID_PARAMS],
        [types.METHOD_NOT_FOUND],
    )


def handler_failed(exchange: Exchange) -> bool:
    """The SDK tells a handshake peer what was raised, under the code 0."""
    return (exchange.codes(exchange.ours), exchange.codes(exchange.theirs)) == (
        [types.INTERNAL_ERROR],
        [RESERVED_BY_NOBODY],
    )


def unknown_method(exchange: Exchange) -> bool:
    """The SDK judges the parameters of methods it does not serve."""
    return (exchange.codes(exchange.ours), exchange.codes(exchange.theirs)) == (
        [types.METHOD_NOT_FOUND],
        [types.INVALID_PARAMS],
    )


def of_a_later_revision(exchange: Exchange) -> bool:
    """The SDK sends an old revision fields that only a later one has."""
    revision = exchange.agreed()
    if revision is None or exchange.modern or not isinstance(exchange.method, str):
        return False
    return _is_by_the_schema(revision, exchange.method, exchange.ours) and not _is_by_the_schema(
        revision, exchange.method, exchange.theirs
    )


def too_deep(exchange: Exchange) -> bool:
    """The SDK has no limit."""
    return exchange.codes(exchange.ours) == [types.INVALID_REQUEST] and "deeper" in exchange.texts(
        exchange.ours
    )


def id_in_use(exchange: Exchange) -> bool:
    """The SDK forgets the first request of two with one id."""
    return "in use" in exchange.texts(exchange.ours)


RULES = (
    Rule(
        "too deep", "RFC 8259 section 9: an implementation may set limits on the depth of nesting", too_deep
    ),
    Rule(
        "unreadable",
        "JSON-RPC 2.0 section 5: a response is due except to notifications, -32700 and -32600 to what cannot be read",
        unreadable,
    ),
    Rule("bad id", "2026-07-28/basic: requests MUST include a string or integer id, never null", bad_id),
    Rule("batch", "2025-03-26/basic: implementations MUST support receiving JSON-RPC batches", batch),
    Rule(
        "before the handshake",
        "2026-07-28/basic: a request missing any required field is malformed, MUST be rejected with -32602",
        before_the_handshake,
    ),
    Rule(
        "malformed envelope",
        "2026-07-28/basic: the envelope is what says by which rules the method is looked for",
        malformed_envelope,
    ),
    Rule("handler failed", "JSON-RPC 2.0 section 5.1: internal errors are -32603", handler_failed),
    Rule(
        "unknown method", "JSON-RPC 2.0 section 5.1: -32601 where the method does not exist", unknown_method
    ),
    Rule(
        "of a later revision",
        "schema/<revision>/schema.json, which knows no such field, kind of content or capability",
        of_a_later_revision,
    ),
    Rule("id in use", "2026-07-28/basic: the id MUST NOT be that of a request still in flight", id_in_use),
)
BOTH_ERAS = Rule(
    "both eras on one connection",
    "2026-07-28/basic/versioning: a dual-era server MAY serve both eras concurrently",
    lambda exchange: exchange.locked,
)


def reasons(exchange: Exchange) -> list[Rule]:
    """The rules that make a difference right; none where it is not explained."""
    if exchange.same:
        return [BOTH_ERAS] if exchange.locked else []
    found = next((rule for rule in RULES if rule.applies(exchange)), None)
    return [] if found is None else [BOTH_ERAS, found] if exchange.locked else [found]


def _is_error(message: Any) -> bool:
    return isinstance(message, dict) and "error" in message


def _is_by_the_schema(revision: str, method: str, said: list[Any]) -> bool:
    if len(said) != 1 or "result" not in said[0]:
        return False
    return judge(revision).answer(method, said[0]) is None


__all__ = ["BOTH_ERAS", "RULES", "Rule", "plain", "reasons"]
