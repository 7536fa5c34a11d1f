from __future__ import annotations

import pytest

from edged.errors import Overloaded
from edged.inference.config import InferenceConfig
from edged.inference.streams import Key, StreamLedger


def ledger(**settings: float) -> StreamLedger:
    return StreamLedger(InferenceConfig(**settings))  # type: ignore[arg-type] # each field has its own type


def test_a_stream_is_new_once() -> None:
    open_ = ledger()
    assert open_.touch(Key("a", "m", "s"), 0.0)
    assert not open_.touch(Key("a", "m", "s"), 1.0)


def test_a_peer_opening_streams_without_end_meets_its_cap_and_others_do_not() -> None:
    open_ = ledger(streams_max_per_peer=2, stream_idle_s=60.0)
    for name in ("1", "2"):
        open_.touch(Key("a", "m", name), 0.0)
    with pytest.raises(Overloaded, match="streams_max_per_peer") as caught:
        open_.touch(Key("a", "m", "3"), 10.0)
    assert caught.value.retry_after_s == pytest.approx(50.0)
    assert open_.touch(Key("b", "m", "1"), 10.0)
    assert len(open_) == 3


def test_many_peers_together_meet_the_cap_in_all() -> None:
    open_ = ledger(streams_max=3)
    for peer in range(3):
        open_.touch(Key(peer, "m", "s"), 0.0)
    with pytest.raises(Overloaded, match="streams_max"):
        open_.touch(Key(3, "m", "s"), 0.0)


def test_a_stream_is_idle_after_its_time_and_use_renews_it() -> None:
    open_ = ledger(stream_idle_s=5.0)
    used, left = Key("a", "m", "used"), Key("a", "m", "left")
    open_.touch(used, 0.0)
    open_.touch(left, 0.0)
    open_.touch(used, 3.0)
    assert open_.next_check_s(3.0) == pytest.approx(2.0)
    assert open_.idle(5.0) == [left]
    open_.drop(left)
    assert open_.next_check_s(5.0) == pytest.approx(3.0)
    open_.drop(used)
    assert open_.next_check_s(5.0) is None


def test_streams_are_found_by_peer() -> None:
    open_ = ledger()
    mine = Key("a", "m", "s")
    open_.touch(mine, 0.0)
    open_.touch(Key("b", "m", "s"), 0.0)
    assert open_.of_peer("a") == [mine]
    assert mine in open_
