from __future__ import annotations

import pytest

from bench.harness import Block, Sample, clean, percentile, quietest, repeat, speedup, summarise


def sample(p50_s: float, reference_s: float = 0.001, foreign: float = 0.0) -> Sample:
    block = Block(calls=100, p50_s=p50_s, p99_s=2 * p50_s, per_s=1 / p50_s, cpu_s=p50_s / 2, foreign=foreign)
    return Sample(block, reference_s, foreign)


def test_a_ratio_is_taken_against_the_reference_of_its_own_moment() -> None:
    on_a_slow_and_a_fast_machine = [sample(0.004, 0.002), sample(0.002, 0.001)]
    assert summarise(on_a_slow_and_a_fast_machine, 2).ratio == 2.0


def test_disturbed_samples_do_not_count_where_enough_are_clean() -> None:
    samples = [sample(0.002), sample(0.002), sample(0.009, foreign=1.2)]
    result = summarise(samples, 2)
    assert (result.ratio, result.clean, result.blocks) == (2.0, 2, 3)


def test_the_quietest_samples_count_where_too_few_are_clean() -> None:
    loud, louder, loudest = (sample(0.002, foreign=foreign) for foreign in (0.5, 0.8, 1.5))
    assert quietest([loudest, loud, louder], 2) == [loud, louder]
    assert clean([loudest, loud, louder]) == 0


def test_a_speedup_pairs_the_rounds() -> None:
    samples = {"a": [sample(0.001), sample(0.010)], "b": [sample(0.003), sample(0.030)]}
    assert speedup(samples, "a", "b", 2) == pytest.approx(3.0)


def test_a_round_disturbed_on_either_side_is_left_out_of_a_speedup() -> None:
    samples = {
        "a": [sample(0.001), sample(0.001), sample(0.001)],
        "b": [sample(0.002), sample(0.002), sample(0.009, foreign=0.9)],
    }
    assert speedup(samples, "a", "b", 2) == pytest.approx(2.0)


def test_a_share_of_throughput_is_one_for_the_reference_itself() -> None:
    assert sample(0.001).share == pytest.approx(1.0)


@pytest.mark.parametrize(("share", "expected"), [(0.0, 1), (0.5, 51), (0.99, 100), (1.0, 100)])
def test_a_percentile_is_one_of_the_values(share: float, expected: int) -> None:
    assert percentile(range(1, 101), share) == expected


def test_a_repeated_call_is_timed_at_least_once() -> None:
    calls: list[int] = []
    latencies = repeat(lambda: calls.append(1))(1e-9)
    assert len(latencies) == len(calls) == 1
