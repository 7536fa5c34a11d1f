from __future__ import annotations

import errno
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from edged.power.readings import Raw, slug
from edged.power.sensors import Trips
from edged.power.sources.hwmon import Hwmon
from edged.power.sources.pisugar import PiSugar
from edged.power.sources.pressure import Cgroup, Emmc, Pressure
from edged.power.sources.source import RESCAN_S, Source
from edged.power.sources.supply import Supply
from edged.power.sources.thermal import Thermal
from edged.power.sysfs import Attribute, folders, reason
from tests.rig.board import Board
from tests.rig.board_trees import MAX17040, TREES, supply


def by_key(source: Source | PiSugar | Trips, now: float = 0.0) -> dict[str, Raw]:
    return {raw.key: raw for raw in source.read(now)}


def test_an_attribute_keeps_its_descriptor_and_reads_anew(tmp_path: Path) -> None:
    (tmp_path / "temp").write_text("48199\n")
    attribute = Attribute(tmp_path / "temp")
    assert attribute.number(1e-3).value == 48.199
    before = len(os.listdir("/proc/self/fd"))
    (tmp_path / "temp").write_text("50000\n")
    assert attribute.number(1e-3).value == 50.0
    assert len(os.listdir("/proc/self/fd")) == before
    attribute.close()


@pytest.mark.parametrize("text", ["nonsense", "nan", "inf", "\xff", "12 34"])
def test_what_is_no_number_is_unknown(text: str, tmp_path: Path) -> None:
    (tmp_path / "temp").write_text(text)
    number = Attribute(tmp_path / "temp").number()
    assert number.value is None
    assert number.note.startswith("not a number")


def test_what_is_not_there_or_goes_away_is_unknown_and_may_come_back(tmp_path: Path) -> None:
    attribute = Attribute(tmp_path / "temp")
    assert attribute.number() == (None, "gone")
    (tmp_path / "temp").write_text("1\n")
    assert attribute.number().value == 1.0
    (tmp_path / "temp").write_text("")
    (tmp_path / "temp").unlink()
    assert attribute.number() == (None, "gone")
    (tmp_path / "temp").write_text("2\n")
    assert attribute.number().value == 2.0


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.EAGAIN, "powered down"),
        (errno.ENODEV, "gone"),
        (errno.EREMOTEIO, "the device did not answer"),
        (errno.EACCES, "not permitted"),
    ],
)
def test_why_a_read_failed_is_said_in_words(number: int, said: str) -> None:
    assert reason(OSError(number, os.strerror(number))) == said


def test_a_pipe_in_place_of_an_attribute_does_not_hang_us(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "temp")
    assert Attribute(tmp_path / "temp").number().value is None


def test_folders_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for name in ("zone10", "zone2", "zone1"):
        (tmp_path / name).mkdir()
    assert [p.name for p in folders(tmp_path, "zone*")] == ["zone1", "zone2", "zone10"]


def test_powered_down_zones_of_a_jetson_are_unknown_and_the_others_read(tmp_path: Path) -> None:
    Board(tmp_path, "jetson-orin-nano")
    found = by_key(Thermal(tmp_path))
    assert found["heat.cpu-thermal"].value == pytest.approx(49.312)
    assert (found["heat.cv1-thermal"].value, found["heat.cv1-thermal"].note) == (None, "powered down")
    assert found["cooling.pwm-fan"].value == 1.0


def test_what_the_firmware_says_is_read_in_its_bits(tmp_path: Path) -> None:
    board = Board(tmp_path, "raspberry-pi-4")
    thermal = Thermal(tmp_path)
    assert by_key(thermal)["throttle.firmware"].value == 0
    board.write("sys/devices/platform/soc/soc:firmware/get_throttled", "50005\n")
    told = by_key(thermal)["throttle.firmware"]
    assert (told.value, told.note) == (0b0101, "under-voltage, throttled")


def test_the_kernels_own_trips_are_found(tmp_path: Path) -> None:
    Board(tmp_path, "generic-arm")
    assert {key: raw.value for key, raw in by_key(Trips(tmp_path)).items()} == {
        "trip.cpu-thermal": 70.0,
        "trip.gpu-thermal": 75.0,
    }


def test_rails_of_a_jetson_are_volts_times_amperes(tmp_path: Path) -> None:
    Board(tmp_path, "jetson-orin-nano")
    found = by_key(Hwmon(tmp_path))
    assert found["rail.VDD_IN.power"].value == pytest.approx(5.064 * 0.920, abs=1e-4)
    assert found["rail.VDD_IN.overcurrent"].value == 0.0


def test_rails_of_jetpack_4_come_through_iio(tmp_path: Path) -> None:
    Board(tmp_path, "jetson-nano")
    assert by_key(Hwmon(tmp_path))["rail.POM_5V_IN.power"].value == 1.834


def test_the_under_voltage_alarm_is_found_by_its_driver_wherever_it_is(tmp_path: Path) -> None:
    tree = {path.replace("hwmon1", "hwmon4"): text for path, text in TREES["raspberry-pi-4"].items()}
    board = Board(tmp_path, tree)
    hwmon = Hwmon(tmp_path)
    assert by_key(hwmon)["supply.undervoltage"].value == 0.0
    board.write("sys/class/hwmon/hwmon4/in0_lcrit_alarm", "1\n")
    assert by_key(hwmon)["supply.undervoltage"].value == 1.0


def test_a_fuel_gauge_knows_charge_and_voltage_but_no_mains(tmp_path: Path) -> None:
    board = Board(tmp_path, "raspberry-pi-4+max17040")
    gauge = Supply(tmp_path)
    found = by_key(gauge)
    assert (found["battery.percent"].value, found["battery.voltage"].value) == (76.0, 3.915)
    assert found["battery.mains"].value is None
    board.write("sys/class/power_supply/battery/capacity", "104\n")
    assert by_key(gauge)["battery.percent"].value == 100.0


def test_a_charger_on_a_gpio_tells_mains(tmp_path: Path) -> None:
    Board(tmp_path, {**MAX17040, **supply("gpio-charger", type="Mains", online="1")})
    assert by_key(Supply(tmp_path))["battery.mains"].value == 1.0


def test_a_mouse_is_not_the_systems_battery(tmp_path: Path) -> None:
    Board(tmp_path, "x86-laptop")
    found = by_key(Supply(tmp_path))
    assert found["battery.percent"].value == 63.0
    assert (found["battery.power"].value, found["battery.energy"].value) == (9.0, 31.5)
    Board(tmp_path / "b", {k: v for k, v in TREES["x86-laptop"].items() if "BAT0" not in k})
    assert by_key(Supply(tmp_path / "b")) == {}


@pytest.mark.parametrize(
    ("status", "mains"), [("Charging", 1.0), ("Full", 1.0), ("Discharging", 0.0), ("Unknown", None)]
)
def test_a_battery_without_a_charger_device_tells_by_its_status(
    status: str, mains: float | None, tmp_path: Path
) -> None:
    Board(tmp_path, supply("BAT0", type="Battery", capacity="50", status=status))
    assert by_key(Supply(tmp_path))["battery.mains"].value == mains


def test_devices_that_come_later_are_found_at_the_next_search(tmp_path: Path) -> None:
    board = Board(tmp_path, "raspberry-pi-4")
    source = Supply(tmp_path)
    assert by_key(source, 0.0) == {}
    for path, text in MAX17040.items():
        board.write(path, text)
    assert by_key(source, RESCAN_S / 2) == {}
    assert by_key(source, RESCAN_S)["battery.percent"].value == 76.0


def test_descriptors_are_let_go_of(tmp_path: Path) -> None:
    Board(tmp_path, "jetson-orin-nano")
    sources = [kind(tmp_path) for kind in (Thermal, Hwmon, Supply, Pressure, Cgroup, Emmc)]
    before = len(os.listdir("/proc/self/fd"))
    for source in sources:
        for _ in range(3):
            source.read(0.0)
    assert len(os.listdir("/proc/self/fd")) > before
    for source in sources:
        source.close()
    assert len(os.listdir("/proc/self/fd")) == before


def test_pressure_is_the_last_ten_seconds(tmp_path: Path) -> None:
    board = Board(tmp_path, "generic-arm")
    board.memory(100_000, some_pct=33.5)
    found = by_key(Pressure(tmp_path))
    assert (found["pressure.memory.some"].value, found["pressure.memory.full"].value) == (33.5, 0.0)


def test_a_kernel_without_pressure_or_memory_group_shows_none(tmp_path: Path) -> None:
    Board(tmp_path, {"proc/self/cgroup": "0::/system.slice/edged.service\n"})
    assert by_key(Pressure(tmp_path)) == by_key(Cgroup(tmp_path)) == {}


def test_limits_of_the_control_group_are_read_where_they_are_limits(tmp_path: Path) -> None:
    group = "sys/fs/cgroup/system.slice/edged.service"
    Board(
        tmp_path,
        {
            "proc/self/cgroup": "0::/system.slice/edged.service\n",
            f"{group}/memory.current": "104857600\n",
            f"{group}/memory.stat": "anon 80000000\nfile 20000000\ninactive_file 4857600\nactive_file 9\n",
            f"{group}/memory.max": "268435456\n",
            f"{group}/memory.high": "max\n",
        },
    )
    assert {key: raw.value for key, raw in by_key(Cgroup(tmp_path)).items()} == {
        "cgroup.memory.used": 100000000.0,
        "cgroup.memory.max": 268435456.0,
    }


@pytest.mark.parametrize(
    ("text", "used"), [("0x01 0x03", 30.0), ("0x0B 0x01", 110.0), ("0x00 0x00", None), ("", None)]
)
def test_wear_of_an_emmc_is_the_worse_of_its_two_kinds(text: str, used: float | None, tmp_path: Path) -> None:
    Board(tmp_path, {"sys/block/mmcblk0/device/life_time": f"{text}\n"})
    assert by_key(Emmc(tmp_path))["storage.mmcblk0.life-used"].value == used


def test_names_are_spelled_one_way() -> None:
    assert slug("cpu_thermal") == slug("cpu-thermal") == "cpu-thermal"
    assert slug("Package id 0") == "package-id-0"


@contextmanager
def pisugar(path: Path, answers: dict[str, str]) -> Iterator[None]:
    """The board's daemon: one line, one answer, and a button event in between."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()
    clients: list[socket.socket] = []

    def serve() -> None:
        with suppress(OSError):  # the test is over
            client = listener.accept()[0]
            clients.append(client)
            client.sendall(b"single\n")
            while line := client.recv(4096).decode():
                for name in line.split()[1::2]:
                    answer = f"{name}: {answers[name]}" if name in answers else "Invalid request."
                    client.sendall(f"{answer}\n".encode())

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield
    finally:
        for held in (listener, *clients):
            with suppress(OSError):
                held.shutdown(socket.SHUT_RDWR)
        thread.join()
        for held in (listener, *clients):
            held.close()


def test_a_pisugar_is_asked_through_its_daemon(tmp_path: Path) -> None:
    answers = {
        "battery": "76.5",
        "battery_v": "3.98",
        "battery_power_plugged": "false",
        "battery_charging": "false",
    }
    with pisugar(tmp_path / "s", answers):
        source = PiSugar(tmp_path / "s")
        for _ in range(2):
            assert {key: raw.value for key, raw in by_key(source).items()} == {
                "battery.percent": 76.5,
                "battery.voltage": 3.98,
                "battery.mains": 0.0,
            }
        source.close()


def test_an_old_pisugar_knows_only_whether_it_charges(tmp_path: Path) -> None:
    with pisugar(tmp_path / "s", {"battery": "40", "battery_charging": "true"}):
        source = PiSugar(tmp_path / "s")
        assert by_key(source)["battery.mains"].value == 1.0
        source.close()


def test_without_a_pisugar_daemon_there_is_no_battery(tmp_path: Path) -> None:
    assert PiSugar(tmp_path / "s").read(0.0) == []


def test_a_daemon_that_went_away_leaves_its_battery_unknown(tmp_path: Path) -> None:
    with pisugar(tmp_path / "s", {"battery": "40"}):
        source = PiSugar(tmp_path / "s")
        source.read(0.0)
    assert by_key(source)["battery.percent"].value is None
    assert by_key(source)["battery.percent"].note == "connection refused"
    source.close()
