"""Attributes of sysfs and procfs, read through descriptors that stay open. Nothing here raises for what is missing."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ATTRIBUTE_MAX_BYTES = 4096  # Documentation/filesystems/sysfs.rst: an attribute is at most one page

_REASONS = {
    errno.EAGAIN: "powered down",  # Tegra BPMP thermal zones answer so while their block is gated
    errno.ENOENT: "gone",
    errno.ENODEV: "gone",
    errno.ENXIO: "gone",
    errno.EACCES: "not permitted",
    errno.EPERM: "not permitted",
    errno.EIO: "the device did not answer",
    errno.EREMOTEIO: "the device did not answer",
    errno.ETIMEDOUT: "the device did not answer",
    errno.EINVAL: "not ready",
    errno.ENODATA: "no data",
}


class Text(NamedTuple):
    """What an attribute said: its text, or why there is none."""

    text: str | None
    note: str = ""


class Number(NamedTuple):
    """Likewise as a number."""

    value: float | None
    note: str = ""


def reason(exc: OSError) -> str:
    """Why an attribute is unknown, in words."""
    return _REASONS.get(exc.errno or 0, (exc.strerror or "unreadable").lower())


class Attribute:
    """One file, opened at its first read and kept open; opened anew when its device went away."""

    __slots__ = ("_fd", "path")

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd: int | None = None

    def text(self) -> Text:
        """What it says now, without surrounding space and NUL."""
        try:
            if self._fd is None:
                self._fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            raw = os.pread(self._fd, ATTRIBUTE_MAX_BYTES, 0)
        except OSError as exc:
            self.close()
            return Text(None, reason(exc))
        text = raw.decode(errors="replace").strip(" \t\r\n\0")
        return Text(text) if text else Text(None, self._why_empty())

    def number(self, scale: float = 1.0) -> Number:
        """Its value times `scale`; decimal, or hexadecimal after 0x."""
        text, note = self.text()
        if text is None:
            return Number(None, note)
        try:
            number = int(text, 16) if text[:2] in {"0x", "0X"} else float(text)
        except ValueError:
            return Number(None, f"not a number: {text[:32]!r}")
        if number != number or abs(number) == float("inf"):  # noqa: PLR0124 - NaN is what differs from itself
            return Number(None, f"not a number: {text[:32]!r}")
        return Number(round(number * scale, 6))

    def close(self) -> None:
        """Let go of the descriptor."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _why_empty(self) -> str:
        """An attribute whose file is unlinked reads as empty through an old descriptor."""
        try:
            gone = self._fd is not None and os.fstat(self._fd).st_nlink == 0
        except OSError:
            gone = True
        if gone:
            self.close()
            return "gone"
        return "powered down"


class Attributes:
    """The attributes a source reads, opened once; what a rescan no longer names is closed."""

    def __init__(self) -> None:
        self._open: dict[Path, Attribute] = {}

    def at(self, path: Path) -> Attribute:
        """The attribute at `path`."""
        found = self._open.get(path)
        if found is None:
            found = self._open[path] = Attribute(path)
        return found

    def keep(self, paths: set[Path]) -> None:
        """Close every attribute but these."""
        for path in self._open.keys() - paths:
            self._open.pop(path).close()

    def close(self) -> None:
        """Close every attribute."""
        self.keep(set())


def folders(parent: Path, pattern: str = "*") -> list[Path]:
    """The folders (or links to some) in `parent`, in the order of their numbers; empty where it is missing."""
    with contextlib.suppress(OSError):
        return sorted((p for p in parent.glob(pattern) if p.is_dir()), key=_natural)
    return []


def files(parent: Path, pattern: str) -> Iterator[Path]:
    """The files in `parent`, likewise."""
    with contextlib.suppress(OSError):
        yield from sorted(parent.glob(pattern), key=_natural)


def once(path: Path) -> str | None:
    """What a file says, read and closed: for what does not change."""
    attribute = Attribute(path)
    text = attribute.text().text
    attribute.close()
    return text


def _natural(path: Path) -> tuple[str, int, str]:
    name = path.name
    stem = name.rstrip("0123456789")
    return stem, int(name[len(stem) :] or 0), name
