from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from edged.inference import stats
from edged.inference.models.library import State
from edged.limits import Limits
from edged.links.mqtt.people.vitals import Look, Status
from edged.tools.problems import CODES, GROUPS
from edged.tools.telemetry import WORDS_MAX, Keys, identify
from tests.rig.board import Board
from tests.rig.telling import EPOCH_S, Device, GiB


def test_a_sample_holds_what_the_board_reads() -> None:
    device = Device()
    device.forward(10.0)
    now = device.telemetry.look(sampled=True).now
    assert (now.at, now.uptime_s) == (EPOCH_S + 5010.0, 10.0)
    assert (now.temperature_c, now.temperatures) == (48.5, {"cpu-thermal": 48.5})
    assert (now.cpu_pct, now.cpu_mhz, now.load_1min) == (12.0, 1500.0, 0.4)
    assert (now.memory_available_bytes, now.rss_bytes, now.disk_free_bytes) == (3 * GiB, 90_000_000, 8 * GiB)
    assert (now.band, now.cause, now.reason) == ("nominal", "", "unconstrained")
    assert now.undervoltage_events == 0


def test_what_the_board_does_not_have_is_null_and_never_zero() -> None:
    look = Device().telemetry.look(sampled=True)
    assert (look.now.battery_pct, look.now.mains) == (None, None)
    assert look.has == {"heat"}


def test_a_battery_that_does_not_answer_is_still_there() -> None:
    device = Device()
    device.raws |= {"battery.percent": 80.0}
    device.sense()
    device.forward(5.0)
    device.sense(battery_percent=None)
    look = device.telemetry.look(sampled=True)
    assert look.now.battery_pct is None
    assert look.has == {"heat", "battery"}


def test_rates_and_latencies_are_those_since_the_last_sample() -> None:
    device = Device()
    device.install("face")
    device.work("face", answers=100, ms=900.0)
    device.forward(10.0)
    device.telemetry.look(sampled=True)
    device.work("face", answers=50, ms=8.0, Overloaded=3)
    device.forward(10.0)
    face = device.telemetry.look(sampled=True).now.models["face"]
    assert (face.rate_hz, face.errors) == (5.0, {"Overloaded": 3})
    assert face.p50_ms == pytest.approx(8.0, rel=1 / 16)
    assert face.p99_ms == pytest.approx(8.0, rel=1 / 16)
    device.forward(10.0)
    idle = device.telemetry.look(sampled=True).now.models["face"]
    assert (idle.rate_hz, idle.p50_ms, idle.p99_ms, idle.errors) == (0.0, None, None, {})


def test_a_look_between_two_samples_takes_nothing_from_the_next() -> None:
    device = Device()
    device.install("face")
    device.telemetry.look(sampled=True)
    device.work("face", answers=50, ms=8.0)
    device.forward(5.0)
    device.telemetry.look(sampled=False)
    device.forward(5.0)
    assert device.telemetry.look(sampled=True).now.models["face"].rate_hz == 5.0


def test_what_waits_and_what_is_loaded_are_told_of_a_model() -> None:
    device = Device()
    device.install("face", "2.1")
    loaded = stats.ModelStatus(
        name="face", version="2.1", variant="int8", state="ready", memory_bytes=1, in_hand=4, streams=0
    )
    device.loaded = [loaded, msgspec.structs.replace(loaded, variant="f32", state="loading", in_hand=1)]
    face = device.telemetry.look(sampled=True).now.models["face"]
    assert (face.version, face.variants, face.waiting) == ("2.1", ["int8"], 5)


def test_a_model_of_which_no_version_serves_is_no_model() -> None:
    device = Device()
    device.install("face", state=State.READY)
    look = device.telemetry.look(sampled=True)
    assert (look.now.models, look.now.active, look.status.models) == ({}, "none", {})


def test_words_fit_into_what_home_assistant_takes() -> None:
    device = Device()
    for n in range(64):
        device.install(f"a_model_with_a_long_name_{n}")
    device.limits.set(Limits(reason="hot: " + "x" * 400))
    now = device.telemetry.look(sampled=True).now
    assert len(now.reason) == len(now.active) == WORDS_MAX


def test_the_status_is_new_only_when_more_than_the_time_is() -> None:
    device = Device()
    first = device.telemetry.look(sampled=True).status
    device.forward(10.0)
    second = device.telemetry.look(sampled=True).status
    assert first.differs(None)
    assert not second.differs(first)
    device.install("face")
    assert device.telemetry.look(sampled=True).status.differs(second)


def test_every_start_has_an_id_of_its_own(tmp_path: Path) -> None:
    board = Board(tmp_path, {"proc/device-tree/model": "Raspberry Pi 4 Model B Rev 1.4\0"})
    board.write("proc/sys/kernel/random/boot_id", "0d9c...\n")
    one, other = (identify("lab-7", tmp_path) for _ in range(2))
    assert (one.boot_id, one.board) == ("0d9c...", "Raspberry Pi 4 Model B Rev 1.4")
    assert one.start_id != other.start_id
    assert identify("lab-7", tmp_path / "nowhere").boot_id == "unknown"


# problems


def alerts(look: Look) -> list[tuple[str, str, str]]:
    return [(alert.code, alert.subject, alert.event) for alert in look.alerts]


def test_heat_is_told_once_as_it_begins_and_once_as_it_ends() -> None:
    device = Device()
    device.telemetry.look(sampled=True)
    device.sense(heat_cpu_thermal=75.0)
    device.forward(5.0)
    hot = device.telemetry.look(sampled=False)
    assert alerts(hot) == [("heat.hot", "", "begin")]
    assert hot.alerts[0].message.startswith("hot: heat.cpu-thermal reached 75 °C")
    assert list(hot.status.problems) == list(hot.alerts)
    assert hot.now.problem == {group: group == "heat" for group in GROUPS}
    ended: list[Look] = []
    for _ in range(40):
        device.forward(5.0)
        device.sense(heat_cpu_thermal=50.0)
        ended += [look] if (look := device.telemetry.look(sampled=False)).alerts else []
    assert [alerts(look) for look in ended] == [[("heat.hot", "", "end")]]
    (end,) = ended[0].alerts
    assert (end.ends, end.severity) == (hot.alerts[0].id, "warning")
    assert ended[0].status.problems == []
    assert not any(ended[0].now.problem.values())


def test_heat_is_told_though_the_battery_decides() -> None:
    device = Device()
    device.raws |= {"battery.percent": 9.0, "battery.mains": 0.0}
    device.sense(heat_cpu_thermal=75.0)
    look = device.telemetry.look(sampled=True)
    assert look.now.cause == "battery"
    assert {alert.code for alert in look.alerts} == {"battery.low", "battery.critical", "heat.hot"}


def test_a_sensor_that_goes_away_is_told_and_one_that_sleeps_is_not() -> None:
    device = Device()
    device.forward(5.0)
    device.sense(heat_cpu_thermal=None)
    device.telemetry.look(sampled=True)
    device.forward(20.0)
    device.sense()
    assert ("sensor.silent", "heat.cpu-thermal", "begin") in alerts(device.telemetry.look(sampled=True))
    asleep = Device()
    asleep._ledger.update([], 5001.0)  # known once
    asleep.forward(5.0)
    read = dict(asleep._read)
    read["heat.cpu-thermal"] = msgspec.structs.replace(
        read["heat.cpu-thermal"], value=None, age_s=5.0, note="powered down"
    )
    asleep._read = read
    for _ in range(3):
        asleep.forward(20.0)
        assert alerts(asleep.telemetry.look(sampled=True)) == []


def test_a_temperature_that_stands_still_while_the_load_moves_is_told() -> None:
    device = Device()
    for n in range(80):
        device.forward(10.0)
        device.sense(cpu_busy=5.0 if n % 10 else 95.0)
        look = device.telemetry.look(sampled=True)
        if look.alerts:
            break
    assert alerts(look)[0] == ("sensor.frozen", "heat.cpu-thermal", "begin")


def test_every_other_room_is_heard() -> None:
    device = Device()
    device.install("face", "1.0")
    device.install("face", "2.0", State.QUARANTINED, "killed the daemon")
    device.keys = Keys("hostfile", "keystore is damaged")
    device.twin = "another boot is on the broker"
    device.spool_error = "the disk is full"
    first = device.telemetry.look(sampled=True)
    assert {alert.code for alert in first.alerts} == {
        "model.quarantined", "keys.weak", "keys.unavailable", "identity.twin", "spool.disk",
    }  # fmt: skip
    device.evicted = 7
    device.work("face", answers=1, ms=1.0, RuntimeFault=5)
    device.sense(disk_free=1e6, supply_undervoltage=1.0)
    device.forward(10.0)
    second = device.telemetry.look(sampled=True)
    assert {alert.code for alert in second.alerts} == {
        "spool.evicting", "model.failing", "disk.low", "supply.undervoltage",
    }  # fmt: skip
    assert second.status.keys == "hostfile"
    assert len(second.status.problems) == 9


def test_ids_of_alerts_are_never_the_same() -> None:
    device = Device()
    ids = []
    for n in range(50):
        device.keys = Keys("hostfile", "hangs" if n % 4 < 2 else None)
        ids += [alert.id for alert in device.telemetry.look(sampled=True).alerts]
        device.forward(4000.0)
    assert len(ids) > 20
    assert len(set(ids)) == len(ids)
    assert all(name.startswith("57a27-") for name in ids)


def test_muted_problems_are_nowhere() -> None:
    device = Device(mute=["keys.weak"])
    device.keys = Keys("hostfile")
    look = device.telemetry.look(sampled=True)
    assert (look.alerts, look.status.problems) == ([], [])
    assert not look.now.problem["keys"]


def test_a_status_can_be_read_back() -> None:
    device = Device()
    device.install("face")
    device.keys = Keys("hostfile")
    status = device.telemetry.look(sampled=True).status
    assert msgspec.json.decode(msgspec.json.encode(status), type=Status).models == {"face": "1.0"}
    assert CODES["keys.weak"].severity == status.problems[0].severity
