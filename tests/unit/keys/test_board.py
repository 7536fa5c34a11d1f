from __future__ import annotations

from pathlib import Path

from edged.keys import board


def write(root: Path, name: str, text: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def interface(root: Path, name: str, address: str, *, bus: str = "platform", assigned: str = "0") -> None:
    device = root / "sys/devices" / bus / name
    device.mkdir(parents=True)
    write(root, f"sys/class/net/{name}/address", f"{address}\n")
    write(root, f"sys/class/net/{name}/addr_assign_type", f"{assigned}\n")
    (root / f"sys/class/net/{name}/device").symlink_to(device)


def test_the_serial_number_of_the_device_tree_comes_first(tmp_path: Path) -> None:
    write(tmp_path, "proc/device-tree/serial-number", "10000000abcdef01\0")
    write(tmp_path, "etc/machine-id", "0123\n")
    assert board.mark(tmp_path) == ("device-tree", "10000000abcdef01")


def test_a_serial_number_of_zeros_is_none(tmp_path: Path) -> None:
    write(tmp_path, "proc/device-tree/serial-number", "0000000000000000\0")
    write(tmp_path, "proc/cpuinfo", "processor: 0\nSerial\t\t: 100000003d1d1c36\n")
    assert board.mark(tmp_path) == ("cpuinfo", "100000003d1d1c36")


def test_without_one_it_is_an_address_that_nobody_can_unplug(tmp_path: Path) -> None:
    interface(tmp_path, "aaa0", "00:00:00:00:00:01", bus="usb1")
    interface(tmp_path, "bbb0", "00:00:00:00:00:02", assigned="3")
    interface(tmp_path, "eth0", "dc:a6:32:00:00:03")
    assert board.mark(tmp_path) == ("mac", "dc:a6:32:00:00:03")


def test_the_machine_id_is_last(tmp_path: Path) -> None:
    assert board.mark(tmp_path).source == "none"
    write(tmp_path, "etc/machine-id", "0123456789abcdef\n")
    assert board.mark(tmp_path).source == "machine-id"


def test_boards_are_told_apart_without_telling_their_numbers(tmp_path: Path) -> None:
    write(tmp_path, "proc/device-tree/serial-number", "10000000abcdef01\0")
    mark = board.mark(tmp_path)
    assert mark.digest != mark._replace(value="10000000abcdef02").digest
    assert mark.digest != mark._replace(source="cpuinfo").digest
    assert mark.value.encode() not in mark.digest
