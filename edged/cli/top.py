"""`edged top`: the device, watched. Asks once a frame; q ends it."""

from __future__ import annotations

import argparse
import contextlib
import os
import select
import sys
import termios
import tty
from collections.abc import Iterator
from time import monotonic
from typing import Any

from rich.console import Console, RenderableType
from rich.live import Live

from edged.cli.call import checked
from edged.cli.connection import caller
from edged.cli.dashboard import BARS, PLAIN_BARS, History, frame
from edged.cli.resources import document
from edged.cli.tables import show, width
from edged.mcp.client import Caller

METRICS = "edged://metrics"
QUIT = frozenset({"q", "Q", "\x03", "\x04"})
INTERVAL_MIN_S = 0.1


def top(arguments: argparse.Namespace) -> int:
    """Print a frame, or keep one up to date until q is pressed."""
    console = Console(width=width())
    bars = BARS if "utf" in console.encoding.lower() else PLAIN_BARS
    with caller(arguments) as device:
        if arguments.json:
            status, metrics = _look(device)
            show({"status": status, "metrics": metrics}, as_json=True)
        elif arguments.once or not console.is_terminal or console.is_dumb_terminal:
            console.print(_frame(device, console, History(), bars))
        else:
            _watch(device, console, bars, max(INTERVAL_MIN_S, arguments.interval))
    return 0


def _watch(device: Caller, console: Console, bars: str, interval_s: float) -> None:
    history = History()
    with (
        _keys() as keys,
        Live(
            _frame(device, console, history, bars), console=console, screen=True, auto_refresh=False
        ) as live,
    ):
        due_s = monotonic()
        while not _quit(keys, due_s + interval_s - monotonic()):
            due_s = max(due_s + interval_s, monotonic() - interval_s)
            live.update(_frame(device, console, history, bars), refresh=True)


def _frame(device: Caller, console: Console, history: History, bars: str) -> RenderableType:
    status, metrics = _look(device)
    history.look(status, metrics)
    return frame(status, metrics, history, bars=bars, width=console.width)


def _look(device: Caller) -> tuple[dict[str, Any], dict[str, Any]]:
    return checked(device.call_tool("device_status", {})), document(device, METRICS)


@contextlib.contextmanager
def _keys() -> Iterator[int | None]:
    """Standard input, key by key; None where it is no terminal."""
    if not sys.stdin.isatty():
        yield None
        return
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    try:
        tty.setcbreak(descriptor)
        yield descriptor
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


def _quit(keys: int | None, seconds: float) -> bool:
    """Wait so long for a key; whether it was one that ends it."""
    waited_for = [] if keys is None else [keys]
    ready, _, _ = select.select(waited_for, [], [], max(0.0, seconds))
    return bool(ready) and os.read(ready[0], 1).decode(errors="replace") in {*QUIT, ""}
