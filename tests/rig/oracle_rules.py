"""Why ours differs from the official SDK where it does: every rule cites what makes ours right."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

import mcp_types as types
from pydantic import ValidationError

from tests.chaos.mcp import due
from tests.rig.oracle_compare import Exchange
from tests.rig.oracle_offers import NOTE_URI
from tests.rig.schemas import NEWEST
from tests.rig.schemas_judge import judge

BATCHES = "2025-03-26"
NO_CODE = 0


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
        errors = all("error" in answer for answer in exchange.ours)
        return exchange.theirs == [] and errors and _answered_as_due(exchange, batches=False)
    return False


def bad_id(exchange: Exchange) -> bool:
    """The SDK takes a request whose id is null, a fraction or a list for a notification."""
    if not isinstance(exchange.value, dict) or isinstance(exchange.id, str) or type(exchange.id) is int:
        return False
    return "id" in exchange.value and exchange.theirs == [] and _refused_without_id(exchange)


def long_id(exchange: Exchange) -> bool:
    """The SDK has no limit."""
    return type(exchange.id) is int and exchange.id.bit_length() > 63 and _refused_without_id(exchange)


def batch(exchange: Exchange) -> bool:
    """The SDK says nothing to an array."""
    if exchange.theirs or not isinstance(exchange.value, list) or exchange.agreed() != BATCHES:
        return False
    return _answered_as_due(exchange, batches=True)


def no_parameters(exchange: Exchange) -> bool:
    """The SDK takes null for no parameters."""
    wrong = isinstance(exchange.value, dict) and not isinstance(exchange.params, dict)
    return wrong and exchange.codes(exchange.ours) == [types.INVALID_PARAMS]


def nothing_to_watch(exchange: Exchange) -> bool:
    """The SDK promises to tell of resources there are none of."""
    ours, theirs = _granted(exchange.ours), _granted(exchange.theirs)
    if ours is None or theirs is None:
        return False
    watched = [uri for uri in theirs.pop("resourceSubscriptions", []) if uri == NOTE_URI]
    return ours == ({**theirs, "resourceSubscriptions": watched} if watched else theirs)


def before_the_handshake(exchange: Exchange) -> bool:
    """Without an envelope or a handshake the SDK says that it does not know the method, or serves it."""
    if exchange.agreed() is not None or exchange.modern or exchange.method in {"initialize", "ping"}:
        return False
    return exchange.codes(exchange.ours) == [types.INVALID_PARAMS]


def malformed_envelope(exchange: Exchange) -> bool:
    """The SDK looks for the version or the method first, and never at the types of some members."""
    meta = exchange.params.get("_meta", {}) if isinstance(exchange.params, dict) else {}
    if judge(NEWEST).part("RequestMetaObject", meta) is None:
        return False
    theirs = exchange.codes(exchange.theirs)
    return exchange.codes(exchange.ours) == [types.INVALID_PARAMS] and (
        theirs in ([types.METHOD_NOT_FOUND], [types.UNSUPPORTED_PROTOCOL_VERSION])
    )


def handler_failed(exchange: Exchange) -> bool:
    """The SDK tells a handshake peer what was raised, under the code 0."""
    return (exchange.codes(exchange.ours), exchange.codes(exchange.theirs)) == (
        [types.INTERNAL_ERROR],
        [NO_CODE],
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
    Rule("batch", "2025-03-26/basic: implementations MUST support receiving JSON-RPC batches", batch),
    Rule("bad id", "2026-07-28/basic: requests MUST include a string or integer id, never null", bad_id),
    Rule("long id", "RFC 8259 section 6: an implementation may set limits on the range of numbers", long_id),
    Rule("no parameters", "JSON-RPC 2.0 section 4.2: parameters MUST be a structured value", no_parameters),
    Rule(
        "nothing to watch",
        "2026-07-28/basic/patterns/subscriptions: acknowledged is what the server agreed to honour",
        nothing_to_watch,
    ),
    Rule(
        "before the handshake",
        "2026-07-28/basic: a request missing any required field is malformed, MUST be rejected with -32602",
        before_the_handshake,
    ),
    Rule(
        "malformed envelope",
        "2026-07-28/schema RequestMetaObject: the envelope is what says by which rules the rest is read",
        malformed_envelope,
    ),
    Rule("handler failed", "JSON-RPC 2.0 section 5.1: internal errors are -32603", handler_failed),
    Rule(
        "of a later revision",
        "schema/<revision>/schema.json, which knows no such field, kind of content or capability",
        of_a_later_revision,
    ),
    Rule(
        "id in use",
        "2026-07-28/basic: the id MUST NOT match that of another request still unanswered",
        id_in_use,
    ),
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


def _granted(said: list[Any]) -> dict[str, Any] | None:
    """A copy of the one acknowledged filter."""
    if len(said) != 1 or said[0].get("method") != "notifications/subscriptions/acknowledged":
        return None
    return dict(said[0]["params"]["notifications"])


def _refused_without_id(exchange: Exchange) -> bool:
    return exchange.codes(exchange.ours) == [types.INVALID_REQUEST] and "id" not in exchange.ours[0]


def _answered_as_due(exchange: Exchange, *, batches: bool) -> bool:
    """Whether every id is answered once, by the oracle of the malformed messages."""
    answers = [one for said in exchange.ours for one in (said if isinstance(said, list) else [said])]
    return Counter(answer.get("id") for answer in answers) == due(exchange.line, batches=batches)


def _is_by_the_schema(revision: str, method: str, said: list[Any]) -> bool:
    spoken = judge(revision)
    problems = [
        spoken.unasked(message) if "method" in message else spoken.answer(method, message)
        for message in said
        if "error" not in message
    ]
    return bool(problems) and not any(problems)
