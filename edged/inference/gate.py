"""What may start now, as which variant, and which models leave to make room. Pure: `now` is an argument."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import Generic, NamedTuple, TypeVar

from edged.errors import NotFound, Throttled
from edged.inference.manifest import Variant
from edged.limits import Limits

DWELL_S = 60.0
"""How long `power` stays in a band before it may leave it: the soonest that a floor is lifted."""
BURST_S = 1.0
"""A rate limit lets this much of itself through at once."""


class Gate:
    """Concurrency, priority floor and rate over all peers and models, as the current Limits say."""

    def __init__(self) -> None:
        self._tokens = 0.0
        self._rate_hz: float | None = None
        self._at_s = 0.0

    def admit(self, limits: Limits, priority: int, in_daemon: int, service_s: float, now: float) -> None:
        """Let one in or raise Throttled; `in_daemon` are queued or running, `service_s` is what one takes."""
        if priority < limits.priority_floor:
            raise Throttled(f"only priority {limits.priority_floor} and above now: {limits.reason}", DWELL_S)
        if in_daemon >= limits.concurrency:
            raise Throttled(
                f"{in_daemon} inferences are in the daemon, {limits.concurrency} allowed: {limits.reason}",
                service_s,
            )
        if limits.rate_hz is not None:
            self._take(limits.rate_hz, limits.reason, now)

    def _take(self, rate_hz: float, reason: str, now: float) -> None:
        if rate_hz <= 0:
            raise Throttled(f"no inferences now: {reason}", DWELL_S)
        burst = max(1.0, rate_hz * BURST_S)
        if rate_hz != self._rate_hz:  # a new limit starts with a full bucket of its own size
            self._rate_hz, self._tokens, self._at_s = rate_hz, burst, now
        self._tokens = min(burst, self._tokens + (now - self._at_s) * rate_hz)
        self._at_s = now
        if self._tokens < 1.0:
            raise Throttled(
                f"{rate_hz:g} inferences a second allowed: {reason}", (1.0 - self._tokens) / rate_hz
            )
        self._tokens -= 1.0


def choose_variant(model: str, variants: Sequence[Variant], wanted: str | None, limits: Limits) -> int:
    """The index of the variant to run: the best the Limits allow, or the one asked for.

    Raises NotFound for an unknown one and Throttled for one that is too dear now.
    """
    floor = min(limits.variant_floor, len(variants) - 1)
    if wanted is None:
        return floor
    for index, variant in enumerate(variants):
        if variant.name == wanted:
            if index < floor:
                raise Throttled(f"variant {wanted} of {model} is too dear now: {limits.reason}", DWELL_S)
            return index
    known = ", ".join(v.name for v in variants)
    raise NotFound(f"model {model} has no variant {wanted!r}; it has {known}")


K = TypeVar("K", bound=Hashable)


class Resident(NamedTuple, Generic[K]):
    """One loaded model as the budget sees it."""

    key: K
    memory_bytes: int
    used_at_s: float
    idle: bool


def to_unload(residents: Iterable[Resident[K]], need_bytes: int, budget_bytes: int) -> list[K] | None:
    """Whom to unload for `need_bytes`: idle ones, least recently used first; None where not enough are."""
    residents = list(residents)
    over = sum(r.memory_bytes for r in residents) + need_bytes - budget_bytes
    leave: list[K] = []
    for resident in sorted((r for r in residents if r.idle), key=lambda r: r.used_at_s):
        if over <= 0:
            break
        leave.append(resident.key)
        over -= resident.memory_bytes
    return leave if over <= 0 else None
