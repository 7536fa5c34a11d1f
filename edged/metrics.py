"""Counters and latency histograms that cost a fraction of a microsecond an event and never grow.

Not locked: one thread records (the event loop), and the same one reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

SUB_BITS = 4
"""Sixteen buckets an octave: a quantile is within 1/32 of the recorded value."""
LARGEST_US = (1 << 36) - 1
"""About 19 hours; longer times count as this."""
_BUCKETS = ((36 - SUB_BITS) << SUB_BITS) + (1 << SUB_BITS)
_LINEAR_BITS = SUB_BITS + 1


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """What a histogram says, in milliseconds."""

    count: int
    mean_ms: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    max_ms: float


class Mark(NamedTuple):
    """A histogram at a moment."""

    recorded: int
    buckets: tuple[int, ...]


class Histogram:
    """Log-linear, as in HdrHistogram: constant memory (4 kB), constant relative error over eleven decades."""

    __slots__ = ("_buckets", "_largest_us", "_total_us", "count")

    def __init__(self) -> None:
        self.count = 0
        self._total_us = 0
        self._largest_us = 0
        self._buckets = [0] * _BUCKETS

    def record(self, ms: float) -> None:
        """Count one duration; negative ones count as zero."""
        us = int(ms * 1e3)
        if not 0 <= us <= LARGEST_US:
            us = 0 if us < 0 else LARGEST_US
        shift = us.bit_length() - _LINEAR_BITS
        self._buckets[us if shift <= 0 else (shift << SUB_BITS) + (us >> shift)] += 1
        self.count += 1
        self._total_us += us
        self._largest_us = max(self._largest_us, us)

    def quantile_ms(self, q: float) -> float:
        """The duration that a share `q` (0 to 1) of the recorded ones do not exceed; 0.0 before any."""
        return min(_quantile_us(self._buckets, self.count, q), self._largest_us) / 1e3

    def mark(self) -> Mark:
        """What is recorded by now, to ask later what came `since`."""
        return Mark(self.count, tuple(self._buckets))

    def since(self, mark: Mark | None, *shares: float) -> tuple[float, ...] | None:
        """The durations, ms, that these shares (0 to 1) of what was recorded since do not exceed.

        None where nothing was; without a mark, of all there is.
        """
        count = self.count - (mark.recorded if mark else 0)
        if count <= 0:
            return None
        held = (
            self._buckets
            if mark is None
            else [b - a for a, b in zip(mark.buckets, self._buckets, strict=True)]
        )
        return tuple(min(_quantile_us(held, count, share), self._largest_us) / 1e3 for share in shares)

    def summary(self) -> Summary:
        """Count, mean, quantiles and the largest."""
        return Summary(
            count=self.count,
            mean_ms=round(self._total_us / 1e3 / max(1, self.count), 3),
            p50_ms=self.quantile_ms(0.50),
            p95_ms=self.quantile_ms(0.95),
            p99_ms=self.quantile_ms(0.99),
            max_ms=self._largest_us / 1e3,
        )


class Tally:
    """Events by name; past `names_max` names the rest count as `other`, so a caller's text cannot grow it."""

    __slots__ = ("_counts", "_names_max")

    def __init__(self, names_max: int = 64) -> None:
        self._counts: dict[str, int] = {}
        self._names_max = names_max

    def add(self, name: str, n: int = 1) -> None:
        """Count `n` events called `name`."""
        counts = self._counts
        if name not in counts and len(counts) >= self._names_max:
            name = "other"
        counts[name] = counts.get(name, 0) + n

    def __getitem__(self, name: str) -> int:
        return self._counts.get(name, 0)

    def by_name(self) -> dict[str, int]:
        """A copy, by name."""
        return dict(self._counts)


def _quantile_us(buckets: Sequence[int], count: int, share: float) -> float:
    rank = max(1, -int(-share * count // 1))
    seen = 0
    for index, held in enumerate(buckets):
        seen += held
        if seen >= rank:
            return _middle_us(index)
    return LARGEST_US


def _middle_us(index: int) -> float:
    """The middle of a bucket."""
    if index < 1 << _LINEAR_BITS:
        return index
    shift = (index >> SUB_BITS) - 1
    low = ((index & ((1 << SUB_BITS) - 1)) | (1 << SUB_BITS)) << shift
    return low + ((1 << shift) - 1) / 2
