"""Who may have how many audio streams open, and which are to be closed. Pure: `now` is an argument."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, NamedTuple

from edged.errors import Overloaded

if TYPE_CHECKING:
    from edged.inference.config import InferenceConfig


class Key(NamedTuple):
    """Whose stream, at which model, by which name."""

    peer: Hashable
    model: str
    name: str


class StreamLedger:
    """Which streams are open: caps a peer and in all, and when an idle one is to be closed. Pure."""

    def __init__(self, config: InferenceConfig) -> None:
        self._config = config
        self._used_at_s: dict[Key, float] = {}

    def __len__(self) -> int:
        return len(self._used_at_s)

    def __contains__(self, key: Key) -> bool:
        return key in self._used_at_s

    def touch(self, key: Key, now: float) -> bool:
        """Note that `key` is used; give whether it is new. Raises Overloaded for one too many."""
        new = key not in self._used_at_s
        if new:
            own = sum(open_.peer == key.peer for open_ in self._used_at_s)
            if own >= self._config.streams_max_per_peer:
                raise Overloaded(
                    f"{own} streams are open to this peer (streams_max_per_peer)",
                    self._soonest(key.peer, now),
                )
            if len(self._used_at_s) >= self._config.streams_max:
                raise Overloaded(
                    f"{len(self._used_at_s)} streams are open (streams_max)", self._soonest(None, now)
                )
        self._used_at_s[key] = now
        return new

    def drop(self, key: Key) -> None:
        """Forget a stream that was closed."""
        self._used_at_s.pop(key, None)

    def of_peer(self, peer: Hashable) -> list[Key]:
        """Every open stream of a peer."""
        return [key for key in self._used_at_s if key.peer == peer]

    def idle(self, now: float) -> list[Key]:
        """Every stream that got nothing for `stream_idle_s`."""
        return [key for key, used in self._used_at_s.items() if now - used >= self._config.stream_idle_s]

    def next_check_s(self, now: float) -> float | None:
        """Seconds until the next stream may be idle; None while none is open."""
        if not self._used_at_s:
            return None
        return max(0.0, min(self._used_at_s.values()) + self._config.stream_idle_s - now)

    def _soonest(self, peer: Hashable | None, now: float) -> float:
        """When the next place may be free: as soon as the least used one has been idle long enough."""
        used = [at for key, at in self._used_at_s.items() if peer is None or key.peer == peer]
        return max(1.0, min(used, default=now) + self._config.stream_idle_s - now)
