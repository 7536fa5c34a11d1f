"""What a service and systemd say to each other: readiness, watchdog, passed sockets, log priorities.

Standard library only. Outside systemd every call is a quiet no-op, so the daemon needs no second path.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from typing import IO

LISTEN_FDS_START = 3  # sd_listen_fds(3)
NOTIFY_TIMEOUT_S = 1.0


def ready(status: str = "") -> bool:
    """Say that start-up, or a reload, is complete."""
    return notify(READY="1", **({"STATUS": status} if status else {}))


def reloading() -> bool:
    """Say that a reload has begun; `ready` ends it. Serves Type=notify and Type=notify-reload alike."""
    return notify(RELOADING="1", MONOTONIC_USEC=str(time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000))


def stopping() -> bool:
    """Say that a clean shutdown has begun."""
    return notify(STOPPING="1")


def status(text: str) -> bool:
    """Set the one line that `systemctl status` shows."""
    return notify(STATUS=text)


def watchdog() -> bool:
    """Say that the daemon is alive; due at least every `watchdog_interval_s`."""
    return notify(WATCHDOG="1")


def notify(**fields: str) -> bool:
    """Send sd_notify(3) assignments; True when the service manager took the datagram.

    Never raises: a daemon does not die because its manager is being restarted.
    """
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return False
    message = "\n".join(f"{key}={' '.join(value.splitlines())}" for key, value in fields.items())
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.settimeout(NOTIFY_TIMEOUT_S)
        try:
            sender.sendto(message.encode(), address.replace("@", "\0", 1) if address[0] == "@" else address)
        except OSError:
            return False
    return True


def watchdog_interval_s() -> float | None:
    """Seconds after which systemd kills a service it has not heard from; None where it does not watch.

    Ping at a third of it, from the event loop: a blocked loop is what the watchdog is there to find.
    """
    if os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    microseconds = os.environ.get("WATCHDOG_USEC", "")
    return int(microseconds) / 1e6 if microseconds.isdecimal() and int(microseconds) else None


def listen_fds() -> dict[str, list[socket.socket]]:
    """The sockets systemd passed to this process, by FileDescriptorName=, in unit order; now the caller's.

    They are taken once: the variables are removed, so neither a second call nor a child sees them.
    """
    passed = {key: os.environ.pop(key, "") for key in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")}
    if passed["LISTEN_PID"] != str(os.getpid()) or not passed["LISTEN_FDS"].isdecimal():
        return {}
    count = int(passed["LISTEN_FDS"])
    names = passed["LISTEN_FDNAMES"].split(":") if passed["LISTEN_FDNAMES"] else []
    sockets: dict[str, list[socket.socket]] = {}
    for fd, name in enumerate((names + ["unknown"] * count)[:count], LISTEN_FDS_START):
        os.set_inheritable(fd, False)
        sockets.setdefault(name, []).append(socket.socket(fileno=fd))
    return sockets


def journal_attached(stream: IO[str]) -> bool:
    """Whether the stream goes straight to the journal (JOURNAL_STREAM, systemd.exec(5))."""
    try:
        found = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"


class JournalFormatter(logging.Formatter):
    """Starts every line with its syslog priority (sd-daemon(3)); the journal has the time already."""

    def __init__(self) -> None:
        super().__init__("%(name)s: %(message)s%(trace)s", defaults={"trace": ""})

    def format(self, record: logging.LogRecord) -> str:
        """The record's lines, tracebacks included: the journal takes each line as an entry."""
        prefix = f"<{_priority(record.levelno)}>"
        return "\n".join(prefix + line for line in super().format(record).split("\n"))


def _priority(level: int) -> int:
    """The syslog priority of a logging level."""
    table = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))
    return next((priority for floor, priority in table if level >= floor), 7)
