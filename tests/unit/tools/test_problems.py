from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edged.tools.problems import CODES, NOTHING, WATCHED_MAX, Change, Facts, Key, ModelFacts, State, step

DAY_S = 86_400.0
WELL = Facts(undervoltage_events=0, disk_free_bytes=8 << 30, evicted=0)

Moment = tuple[float, Facts]


def follow(moments: Iterable[Moment], mute: tuple[str, ...] = ()) -> list[tuple[float, Change]]:
    """What begins and ends, and when."""
    state, told = NOTHING, []
    for now, facts in moments:
        state, changes = step(state, facts, now, mute)
        told += [(now, change) for change in changes]
    return told


def codes(told: list[tuple[float, Change]]) -> list[tuple[float, str, bool]]:
    return [(at, change.key.code, change.begins) for at, change in told]


def every(interval_s: float, *facts: Facts) -> list[Moment]:
    return [(n * interval_s, each) for n, each in enumerate(facts)]


def bands(**causes: str) -> Facts:
    return Facts(bands=causes, undervoltage_events=0, disk_free_bytes=8 << 30)


# what each fact says

CASES: list[tuple[str, list[Facts]]] = [
    ("heat.hot", [bands(heat="hot")]),
    ("heat.hot heat.critical", [bands(heat="critical")]),
    ("", [bands(heat="warm", battery="saving", memory="tight")]),
    ("battery.low", [bands(battery="low")]),
    ("battery.low battery.critical", [bands(battery="critical")]),
    ("cpu.throttled", [bands(throttling="throttled")]),
    ("memory.short", [bands(memory="short")]),
    ("memory.short memory.starved", [bands(memory="starved")]),
    ("supply.undervoltage", [bands(supply="brown-out")]),
    ("supply.undervoltage", [WELL, Facts(undervoltage_events=1)]),
    ("", [Facts(undervoltage_events=3)]),
    ("disk.low", [Facts(disk_free_bytes=255 << 20)]),
    ("", [Facts(disk_free_bytes=300 << 20)]),
    ("", [Facts(disk_free_bytes=None)]),
    ("sensor.silent", [Facts(silent={"heat.cpu": "gone"}), Facts(silent={"heat.cpu": "gone"})]),
    ("sensor.frozen", [Facts(frozen={"heat.cpu": "frozen"}), Facts(frozen={"heat.cpu": "frozen"})]),
    ("", [Facts(silent={"heat.cpu": "gone"}), WELL, Facts(silent={"heat.cpu": "gone"}), WELL]),
    ("model.quarantined", [Facts(barred={"face 2": "killed the daemon"})]),
    ("model.failing", [Facts(models={"face": ModelFacts(9, 0)}), Facts(models={"face": ModelFacts(19, 3)})]),
    ("", [Facts(models={"face": ModelFacts(9, 0)}), Facts(models={"face": ModelFacts(22, 3)})]),
    ("", [Facts(models={"face": ModelFacts(9, 0)}), Facts(models={"face": ModelFacts(9, 2)})]),
    ("", [Facts(models={"face": ModelFacts(9, 100)})]),
    ("spool.evicting", [WELL, Facts(evicted=5)]),
    ("", [Facts(evicted=5), Facts(evicted=5)]),
    ("spool.disk", [Facts(spool_error="the disk is full")]),
    ("keys.weak", [Facts(keys="hostfile")]),
    ("", [Facts(keys="tpm-hw")]),
    ("keys.unavailable", [Facts(keys="tpm", keys_error="the TPM hangs")]),
    ("identity.twin", [Facts(twin="another boot of this device is on the broker")]),
]  # fmt: skip


@pytest.mark.parametrize(("expected", "facts"), CASES)
def test_a_fact_is_a_problem(expected: str, facts: list[Facts]) -> None:
    began = [change.key.code for _, change in follow(every(15.0, *facts)) if change.begins]
    assert sorted(began) == sorted(expected.split())


def test_every_code_is_among_the_cases() -> None:
    assert {code for case, _ in CASES for code in case.split()} == set(CODES)


# beginning and ending


def test_a_problem_begins_once_and_ends_once_its_signs_were_gone_for_the_calm_time() -> None:
    told = follow(every(10.0, WELL, *[bands(heat="hot")] * 5, *[WELL] * 20))
    assert codes(told) == [(10.0, "heat.hot", True), (120.0, "heat.hot", False)]
    assert told[-1][1].lasted_s == 50.0  # to the first moment without


def test_going_up_and_down_a_band_ends_only_the_worse_one() -> None:
    told = follow(every(30.0, bands(heat="hot"), bands(heat="critical"), *[bands(heat="hot")] * 10))
    assert codes(told) == [
        (0.0, "heat.hot", True),
        (30.0, "heat.critical", True),
        (120.0, "heat.critical", False),
    ]


def test_the_words_are_the_governors_where_it_decided_by_this() -> None:
    facts = Facts(bands={"heat": "hot", "battery": "low"}, cause="heat", reason="hot: heat.cpu reached 75 °C")
    words = {change.key.code: change.words for _, change in follow([(0.0, facts)])}
    assert words == {"heat.hot": "hot: heat.cpu reached 75 °C", "battery.low": CODES["battery.low"].means}


def test_a_disk_between_its_two_thresholds_stays_as_it_was() -> None:
    low, between, unknown = (Facts(disk_free_bytes=b) for b in (200 << 20, 300 << 20, None))
    assert codes(follow(every(60.0, low, *[between, unknown] * 30))) == [(0.0, "disk.low", True)]
    assert codes(follow(every(60.0, *[between] * 30))) == []


def test_a_model_that_works_again_fails_no_more() -> None:
    bad = [Facts(models={"face": ModelFacts(0, n)}) for n in range(5)]
    good = [Facts(models={"face": ModelFacts(n * 100, 4)}) for n in range(80)]
    told = follow(every(10.0, *bad, *good))
    assert [code for _, code, _ in codes(told)] == ["model.failing"] * 2
    assert told[0][1].words == "3 of 3 calls of face failed in 30 s"


def test_a_failing_model_that_is_removed_has_its_problem_ended() -> None:
    told = follow(every(60.0, *[Facts(models={"face": ModelFacts(0, n)}) for n in (0, 9)], *[WELL] * 10))
    assert [begins for _, _, begins in codes(told)] == [True, False]


def test_two_sensors_have_a_problem_each() -> None:
    both = Facts(silent={"heat.cpu": "gone", "heat.gpu": "gone"})
    told = follow(every(20.0, both, both, both))
    assert [(change.key.subject, change.begins) for _, change in told] == [
        ("heat.cpu", True),
        ("heat.gpu", True),
    ]


def test_a_muted_code_never_begins() -> None:
    assert follow([(0.0, Facts(keys="hostfile", keys_error="gone"))], mute=("keys.weak",))[0][1].key == Key(
        "keys.unavailable"
    )
    assert follow([(0.0, Facts(keys="hostfile"))], mute=("keys.weak",)) == []


def test_what_relapses_stays_longer_each_time() -> None:
    lit = [bands(heat="hot") if (now // 120) % 2 == 0 else WELL for now in range(0, 7200, 10)]
    told = codes(follow(every(10.0, *lit)))
    ends = [at for at, _, begins in told if not begins]
    assert len(ends) < 3  # the third time outlasts the two minutes


# whatever happens

facts_of = st.builds(
    Facts,
    bands=st.dictionaries(
        st.sampled_from(["heat", "battery", "memory", "supply", "throttling"]),
        st.sampled_from(["warm", "hot", "critical", "low", "short", "starved", "throttled", "brown-out"]),
    ),
    undervoltage_events=st.none() | st.integers(0, 5),
    silent=st.dictionaries(st.sampled_from(["heat.cpu", "heat.gpu"]), st.just("gone")),
    disk_free_bytes=st.none() | st.integers(0, 1 << 30),
    models=st.dictionaries(st.sampled_from(["face", "digits"]), st.builds(ModelFacts, st.integers(0, 50), st.integers(0, 50))),
    barred=st.dictionaries(st.sampled_from(["face 1", "face 2"]), st.just("bad")),
    evicted=st.none() | st.integers(0, 5),
    spool_error=st.none() | st.just("full"),
    keys=st.none() | st.sampled_from(["tpm-hw", "hostfile"]),
    keys_error=st.none() | st.just("hangs"),
    twin=st.none() | st.just("twin"),
)  # fmt: skip
traces = st.lists(st.tuples(st.sampled_from([1.0, 10.0, 61.0, 400.0, 4000.0]), facts_of), max_size=60)


def moments(trace: list[tuple[float, Facts]]) -> list[Moment]:
    now, found = 0.0, []
    for gap, facts in trace:
        now += gap
        found.append((now, facts))
    return found


@given(traces)
def test_beginnings_and_ends_alternate_and_every_end_has_its_beginning(
    trace: list[tuple[float, Facts]],
) -> None:
    there: dict[Key, float] = {}
    for at, change in follow(moments(trace)):
        assert change.begins == (change.key not in there)
        if change.begins:
            there[change.key] = at
        else:
            assert 0.0 <= change.lasted_s <= at
            del there[change.key]


@given(traces)
def test_the_same_facts_give_the_same_alerts(trace: list[tuple[float, Facts]]) -> None:
    assert follow(moments(trace)) == follow(moments(trace))


@settings(max_examples=8, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 4500), st.integers(1, 4500)), min_size=1, max_size=8))
def test_whatever_flaps_alerts_less_than_two_hundred_times_a_day(beat: list[tuple[int, int]]) -> None:
    looks: list[Moment] = []
    now = 0.0
    while now < DAY_S:
        for lit_s, dark_s in beat:
            for facts, long_s in ((bands(heat="hot"), lit_s), (WELL, dark_s)):
                looks += [(now + at, facts) for at in range(0, long_s, 30)]
                now += long_s
    assert len(follow(look for look in looks if look[0] < DAY_S)) < 200


@pytest.mark.parametrize("relapses", range(8))
def test_the_worst_beats_stay_below_the_bound_too(relapses: int) -> None:
    """Lit again just after each end; after so many relapses dark until they are forgotten."""
    dark_s = [*(60 * 2**n for n in range(relapses)), 60 * 2**relapses + 3600]
    now, looks = 0.0, []
    while now < DAY_S:
        for long_s in dark_s:
            looks += [(now, bands(heat="hot")), *((now + at, WELL) for at in range(10, long_s + 20, 10))]
            now += long_s + 20
    told = len(follow(look for look in looks if look[0] < DAY_S))
    assert 20 < told < 200


def test_what_is_remembered_is_bounded() -> None:
    state: State = NOTHING
    for n in range(50):
        state, _ = step(state, Facts(barred={f"m{n} {v}": "bad" for v in range(20)}), 30.0 * n)
    assert len(state.watches) <= WATCHED_MAX
    state, _ = step(state, WELL, 1e5)
    state, _ = step(state, WELL, 2e5)
    state, _ = step(state, WELL, 3e5)
    assert state.watches == {}
