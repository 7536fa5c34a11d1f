from __future__ import annotations

from pathlib import Path

from edged.tools.board import look


def tree(root: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return root


def test_a_board_with_a_device_tree_is_named_by_it(tmp_path: Path) -> None:
    files = {
        "proc/device-tree/model": b"Raspberry Pi 4 Model B Rev 1.4\0",
        "sys/class/dmi/id/product_name": b"not this\n",
        "proc/meminfo": b"MemTotal:        3884360 kB\nMemFree:          1234 kB\n",
        "etc/os-release": b'ID=debian\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n',
    }
    board = look(tree(tmp_path, files))
    assert board.model == "Raspberry Pi 4 Model B Rev 1.4"
    assert board.memory_bytes == 3884360 * 1024
    assert board.os == "Debian GNU/Linux 12 (bookworm)"


def test_a_computer_without_one_is_named_by_its_firmware(tmp_path: Path) -> None:
    files = {"sys/class/dmi/id/sys_vendor": b"LENOVO\n", "sys/class/dmi/id/product_name": b"20L7S0\n"}
    assert look(tree(tmp_path, files)).model == "LENOVO 20L7S0"


def test_what_cannot_be_read_is_unknown_and_never_zero(tmp_path: Path) -> None:
    board = look(tmp_path)
    assert (board.model, board.memory_bytes, board.os) == (None, None, None)
    assert board.cpus >= 1


def test_a_file_of_nonsense_is_unknown_too(tmp_path: Path) -> None:
    files = {
        "proc/meminfo": b"MemTotal:\n\xff\xfe",
        "etc/os-release": b"PRETTY_NAME=\n=\n",
        "proc/device-tree/model": b"\0",
    }
    board = look(tree(tmp_path, files))
    assert (board.model, board.memory_bytes, board.os) == (None, None, None)


def test_this_board_is_read_without_help() -> None:
    assert look().memory_bytes
