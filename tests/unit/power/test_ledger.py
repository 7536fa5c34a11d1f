from __future__ import annotations

import pytest

from edged.power.ledger import FROZEN_S, Gauge, Ledger
from edged.power.readings import Raw, Readings


def raw(key: str, value: float | None, note: str = "") -> Raw:
    return Raw(key, value, "", f"/sys/{key}", note)


def test_the_first_source_that_knows_is_believed() -> None:
    sample = Ledger().update([raw("heat.cpu", None), raw("heat.cpu", 50.0), raw("heat.cpu", 60.0)], 0.0)
    assert sample["heat.cpu"].value == 50.0


def test_what_vanishes_is_unknown_with_an_age_and_never_zero() -> None:
    ledger = Ledger()
    ledger.update([raw("heat.cpu", 50.0)], 10.0)
    gone = ledger.update([], 25.0)["heat.cpu"]
    assert (gone.value, gone.age_s, gone.note, gone.source) == (None, 15.0, "gone", "/sys/heat.cpu")


def test_what_was_never_known_keeps_its_reason() -> None:
    sample = Ledger().update([raw("heat.cv0", None, "powered down")], 0.0)
    assert (sample["heat.cv0"].value, sample["heat.cv0"].note) == (None, "powered down")


@pytest.mark.parametrize(
    ("key", "value"),
    [("heat.cpu", -274.0), ("heat.cpu", 999.0), ("battery.percent", -1.0), ("battery.percent", 255.0)],
)
def test_a_reading_that_cannot_be_is_unknown(key: str, value: float) -> None:
    reading = Ledger().update([raw(key, value)], 0.0)[key]
    assert reading.value is None
    assert reading.note.startswith(f"implausible: {value:g}")


def test_a_temperature_that_stands_still_while_the_load_moves_is_frozen() -> None:
    ledger = Ledger()
    ledger.update([raw("heat.cpu", 48.2), raw("cpu.busy", 3.0)], 0.0)
    ledger.update([raw("heat.cpu", 48.2), raw("cpu.busy", 90.0)], FROZEN_S / 2)
    frozen = ledger.update([raw("heat.cpu", 48.2), raw("cpu.busy", 90.0)], FROZEN_S)["heat.cpu"]
    assert frozen.value is None
    assert frozen.note == "frozen at 48.2 for 600 s while the load went from 3 to 90 %"
    assert (
        ledger.update([raw("heat.cpu", 48.7), raw("cpu.busy", 90.0)], FROZEN_S + 2)["heat.cpu"].value == 48.7
    )


def test_a_temperature_that_stands_still_on_an_idle_board_is_believed() -> None:
    ledger = Ledger()
    for at in range(0, 7200, 60):
        sample = ledger.update([raw("heat.cpu", 48.2), raw("cpu.busy", 3.0 + at % 7)], float(at))
        assert sample["heat.cpu"].value == 48.2


def test_every_beginning_of_an_under_voltage_is_counted() -> None:
    ledger = Ledger()
    for at, alarm in enumerate([0, 1, 1, 0, None, 1, None, 1, 0]):
        sample = ledger.update([raw("supply.undervoltage", alarm)], float(at))
    assert sample["supply.undervoltage-events"].value == 2
    assert sample["supply.undervoltage"].value == 0


@pytest.mark.parametrize(("mains", "reserve"), [(1.0, 100.0), (0.0, 9.0), (None, 9.0)])
def test_the_reserve_is_full_on_mains_and_the_charge_else(mains: float | None, reserve: float) -> None:
    sample = Ledger().update([raw("battery.percent", 9.0), raw("battery.mains", mains)], 0.0)
    assert sample["battery.reserve"].value == reserve


def test_without_a_battery_there_is_no_reserve() -> None:
    assert "battery.reserve" not in Ledger().update([raw("battery.mains", 0.0)], 0.0)


@pytest.mark.parametrize(
    ("volts", "amperes", "percent", "mains"),
    [
        (7.2, -0.4, 50.0, 0.0),
        (8.4, 0.6, 100.0, 1.0),
        (8.4, 0.01, 100.0, None),
        (3.3, -0.2, 25.0, 0.0),
        (3.0, -1.0, 0.0, 0.0),
    ],
)
def test_an_ina219_pack_is_known_by_its_voltage(
    volts: float, amperes: float, percent: float, mains: float | None
) -> None:
    ledger = Ledger([Gauge(empty_v=6.0, full_v=8.4), Gauge(empty_v=3.0, full_v=4.2)])
    read = [
        raw("gauge.ina219.voltage", volts),
        raw("gauge.ina219.current", amperes),
        raw("gauge.ina219.power", 3.0),
    ]
    sample = ledger.update(read, 0.0)
    assert (sample["battery.percent"].value, sample["battery.mains"].value) == (percent, mains)
    assert sample["battery.power"].value == 3.0


def test_an_ina219_on_a_rail_that_is_no_battery_is_none() -> None:
    assert "battery.percent" not in Ledger([Gauge(empty_v=6.0, full_v=8.4)]).update(
        [raw("gauge.ina219.voltage", 12.1)], 0.0
    )


@pytest.mark.parametrize(
    ("reads", "slowed"),
    [
        ({"throttle.firmware": 0b0100}, 1.0),
        ({"throttle.firmware": 0b0010}, 1.0),
        ({"throttle.firmware": 0b1000}, 0.0),  # the 3B+'s soft limit
        ({"throttle.firmware": 0b0001}, 0.0),
        ({"cooling.cpufreq-cpu0": 3.0}, 1.0),
        ({"cooling.cpufreq-cpu0": 0.0, "throttle.firmware": 0}, 0.0),
        ({"cooling.pwm-fan": 4.0, "throttle.firmware": 0}, 0.0),
        ({"cooling.cpufreq-cpu0": None}, None),
    ],
)
def test_throttling_is_what_slows_the_cpu(reads: dict[str, float | None], slowed: float | None) -> None:
    sample = Ledger().update([raw(key, value) for key, value in reads.items()], 0.0)
    assert sample["throttle.active"].value == slowed


def test_shares_follow_from_what_there_is_of_a_whole() -> None:
    read = [
        raw("memory.available", 1.0),
        raw("memory.total", 8.0),
        raw("cgroup.memory.used", 3.0),
        raw("cgroup.memory.max", 4.0),
    ]
    sample = Ledger().update(read, 0.0)
    assert sample["memory.available-share"].value == 12.5
    assert sample["cgroup.memory.used-share"].value == 75.0


def test_the_few_that_everybody_asks_for_are_none_where_unknown() -> None:
    few = Readings.of(
        Ledger().update([raw("heat.a", 40.0), raw("heat.b", 55.0), raw("battery.mains", 0.0)], 0.0)
    )
    assert (few.temperature_c, few.mains, few.battery_pct, few.rss_bytes) == (55.0, False, None, None)
