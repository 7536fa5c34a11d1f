"""A client alone is free; together each has its share and no more."""

from __future__ import annotations

from edged.links.mqtt.allowance import BURST, RATE_HZ, Allowance


def test_alone_there_is_no_limit() -> None:
    allowance = Allowance()
    assert all(allowance.take("a", n / 1e5) for n in range(10_000))


def test_together_each_gets_its_burst_and_then_its_rate() -> None:
    allowance = Allowance()
    taken = {"a": 0, "b": 0}
    for n in range(40_000):
        name = "ab"[n % 2]
        taken[name] += allowance.take(name, n / 4000)
    for count in taken.values():
        assert BURST + 9 * RATE_HZ <= count <= BURST + 10 * RATE_HZ + 2


def test_who_sends_little_is_never_cut_by_who_sends_much() -> None:
    allowance = Allowance()
    for n in range(10_000):
        allowance.take("flood", n / 10_000)
        if n % 100 == 0:
            assert allowance.take("honest", n / 10_000)


def test_memory_has_a_bound_however_many_names_there_are() -> None:
    allowance = Allowance()
    for n in range(5000):
        allowance.take(f"c{n}", n / 1e4)
    assert len(allowance._buckets) <= 1024
