"""What may start now, and as which variant. Pure: `now` is an argument."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from edged.errors import NotFound, Throttled
from edged.inference.budget import Budget
from edged.inference.manifest import Variant
from edged.limits import Limits

DWELL_S = 60.0
"""How long `power` stays in a band before it may leave it: the soonest that a floor is lifted."""
WAIT_MAX_S = 600.0
"""The longest that a caller is told to stay away: limits change."""


class Cost(NamedTuple):
    """What a call is expected to take."""

    service_s: float
    cpu_s: float
    """Of all threads."""


class Gate:
    """Concurrency, priority floor, rate and share of the CPU over all peers and models, as the current Limits say."""

    def __init__(self, cpus: int = 1) -> None:
        """For a board with so many CPUs."""
        self._cpus = cpus
        self._calls = Budget(least=1.0)
        self._cpu_s = Budget()

    def admit(self, limits: Limits, priority: int, in_hand: int, cost: Cost, now: float) -> None:
        """Let one in or raise Throttled; `in_hand` of this priority or a higher one are queued or running."""
        if priority < limits.priority_floor:
            raise Throttled(f"only priority {limits.priority_floor} and above now: {limits.reason}", DWELL_S)
        if in_hand >= limits.concurrency:
            raise Throttled(
                f"{in_hand} inferences are in the daemon, {limits.concurrency} allowed: {limits.reason}",
                cost.service_s,
            )
        self._calls.adopt(limits.rate_hz, now)
        if wait_s := self._calls.short_s(priority, 1.0, now):
            raise Throttled(
                f"{limits.rate_hz:g} inferences a second allowed: {limits.reason}", min(wait_s, WAIT_MAX_S)
            )
        self._cpu_s.adopt(None if limits.duty is None else limits.duty * self._cpus, now)
        if wait_s := self._cpu_s.short_s(priority, cost.cpu_s, now):
            raise Throttled(
                f"{limits.duty:.0%} of the CPU time is for inferences, and it is spent: {limits.reason}",
                min(wait_s, WAIT_MAX_S),
            )
        self._calls.spend(priority, 1.0)
        self._cpu_s.spend(priority, cost.cpu_s)

    def settle(self, priority: int, expected_cpu_s: float, took_cpu_s: float) -> None:
        """Charge what a call really took, in place of what was expected."""
        self._cpu_s.spend(priority, took_cpu_s - expected_cpu_s)


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
