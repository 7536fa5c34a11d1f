"""What `edged top` shows: one frame from what the device says, with how it came about as sparklines. Pure but for rich.

`History` remembers; `frame` draws. Nothing here knows a socket or a key.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from rich.box import ROUNDED
from rich.columns import Columns
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

KEPT = 120
BARS, PLAIN_BARS = "▁▂▃▄▅▆▇█", "_.-=+*#@"
COLOURS: Mapping[str, str] = {
    "nominal": "green", "shaped": "cyan", "warm": "yellow", "saving": "yellow", "tight": "yellow",
    "throttled": "yellow", "hot": "dark_orange", "low": "dark_orange", "short": "dark_orange",
    "brown-out": "red", "critical": "red", "starved": "red",
}  # fmt: skip
PANEL_WIDTH, WIDE = 30, 110
MiB = 1 << 20
EVENTS = 5

Status = Mapping[str, Any]


class History:
    """The last figures of each kind, oldest first; None where it was not known."""

    def __init__(self) -> None:
        self.series: dict[str, deque[float | None]] = {}
        self._answered: dict[str, tuple[int, float]] = {}

    def look(self, status: Status, metrics: Status) -> None:
        """Remember one look."""
        readings, limits = status["readings"], status["limits"]
        self._add("heat", readings["temperature_c"])
        self._add("battery", readings["battery_pct"])
        self._add("duty", 100.0 if limits["duty"] is None else 100 * limits["duty"])
        self._add("queue", float(metrics["in_hand"]))
        self._add("memory", metrics["memory_bytes"] / MiB)
        for model in status["models"]:
            self._add(f"rate {model['name']}", self._rate(model, status["uptime_s"]))
            self._add(f"p50 {model['name']}", model["p50_ms"])

    def of(self, name: str) -> Sequence[float | None]:
        """One series."""
        return self.series.get(name, ())

    def last(self, name: str) -> float | None:
        """Its newest figure."""
        return next(reversed(self.of(name)), None)

    def _rate(self, model: Status, now: float) -> float | None:
        """Answers a second since the look before."""
        answered: int = model["answered"]
        before = self._answered.get(model["name"])
        self._answered[model["name"]] = answered, now
        if before is None or now <= before[1]:
            return None
        return max(0.0, (answered - before[0]) / (now - before[1]))

    def _add(self, name: str, figure: float | None) -> None:
        self.series.setdefault(name, deque(maxlen=KEPT)).append(figure)


def spark(
    series: Sequence[float | None],
    width: int,
    low: float | None = None,
    high: float | None = None,
    bars: str = BARS,
) -> str:
    """A line of bars, newest right; blank where nothing is known, and where nothing was yet."""
    shown = list(series)[-width:]
    known = [figure for figure in shown if figure is not None]
    if not known:
        return " " * width
    bottom = min(known) if low is None else low
    span = max((max(known) if high is None else high) - bottom, 1e-9)

    def bar(figure: float | None) -> str:
        if figure is None:
            return " "
        return bars[min(len(bars) - 1, max(0, int((figure - bottom) / span * len(bars))))]

    return "".join(map(bar, shown)).rjust(width)


def frame(
    status: Status, metrics: Status, history: History, *, bars: str = BARS, width: int = 120
) -> RenderableType:
    """All of it; a terminal that is narrower than `WIDE` gets the models without their history."""
    band = status["limits"]["band"]
    panels = [_heat(status, history, bars), _battery(status, history, bars)]
    panels += [_share(status, metrics, history, bars), _memory(metrics, history, bars)]
    return Group(
        _headline(status),
        Columns([panel for panel in panels if panel is not None], padding=(0, 1)),
        Text.assemble((" limits  ", "dim"), (status["limits"]["reason"], COLOURS.get(band, "white"))),
        Text(),
        _models(status, history, bars, wide=width >= WIDE),
        *_events(status["power"]["recent"]),
    )


def _headline(status: Status) -> Text:
    band = status["limits"]["band"]
    return Text.assemble(
        (" edged ", f"bold white on {COLOURS.get(band, 'grey37')}"),
        (f" {status['hostname']}", "bold"),
        (f"  {status['power']['board']}  {status['version']}  up {span(status['uptime_s'])}", "dim"),
        (f"  {band}", f"bold {COLOURS.get(band, 'white')}"),
    )


def _heat(status: Status, history: History, bars: str) -> Panel:
    celsius, outlook = status["readings"]["temperature_c"], status["power"]["to_throttle"]["words"]
    said = "unknown" if celsius is None else f"{celsius:.1f} °C"
    colour = (
        COLOURS.get(status["limits"]["band"], "green") if status["limits"]["cause"] == "heat" else "green"
    )
    return _panel("heat", said, f"trip: {outlook}", spark(history.of("heat"), 26, 30, 90, bars), colour)


def _battery(status: Status, history: History, bars: str) -> Panel | None:
    percent = status["readings"]["battery_pct"]
    if percent is None and history.last("battery") is None:
        return None
    mains = {True: "on mains", False: "on battery", None: "mains unknown"}[status["readings"]["mains"]]
    empty = "" if status["readings"]["mains"] else f"empty: {status['power']['to_empty']['words']}"
    said = "unknown" if percent is None else f"{percent:.0f} %  {mains}"
    colour = "green" if (percent or 0) > 50 else "yellow" if (percent or 0) > 20 else "red"
    return _panel("battery", said, empty, spark(history.of("battery"), 26, 0, 100, bars), colour)


def _share(status: Status, metrics: Status, history: History, bars: str) -> Panel:
    duty = status["limits"]["duty"]
    said = "all of the CPU" if duty is None else f"{100 * duty:.0f} % of the CPU"
    queue = f"{metrics['in_hand']} in hand, {status['limits']['concurrency']} allowed"
    colour = "green" if duty is None else "cyan"
    return _panel("inference", said, queue, spark(history.of("duty"), 26, 0, 100, bars), colour)


def _memory(metrics: Status, history: History, bars: str) -> Panel:
    budget = (metrics["memory_budget_bytes"] or 0) / MiB
    said = f"{metrics['memory_bytes'] / MiB:.0f} MiB" + (f" of {budget:.0f}" if budget else "")
    loaded = sum(len(parts) for parts in metrics["loaded"].values())
    line = spark(history.of("memory"), 26, 0, budget or None, bars)
    return _panel("models in memory", said, f"{loaded} loaded", line, "magenta")


def _panel(title: str, said: str, below: str, line: str, colour: str) -> Panel:
    body = Group(
        Text(said, f"bold {colour}"),
        Text(line, colour),
        Text(below, "dim", overflow="ellipsis", no_wrap=True),
    )
    return Panel(body, title=title, title_align="left", box=ROUNDED, width=PANEL_WIDTH, border_style="grey37")


def _models(status: Status, history: History, bars: str, *, wide: bool) -> Table:
    table = Table(box=None, padding=(0, 2 if wide else 1, 0, 1), header_style="dim", expand=False)
    columns: list[tuple[str, Literal["left", "right"]]] = [
        ("model", "left"), ("runs as", "left"), ("waiting", "right"), ("answers/s", "right"), ("lately", "left"),
        ("p50 ms", "right"), ("p99 ms", "right"), ("lately", "left"), ("answered", "right"), ("failed", "right"),
    ]  # fmt: skip
    shown = [index for index, (title, _) in enumerate(columns) if wide or title != "lately"]
    for index in shown:
        table.add_column(columns[index][0], justify=columns[index][1], no_wrap=True)
    for model in status["models"]:
        cells = _cells(model, history, bars)
        table.add_row(*(cells[index] for index in shown))
    if not status["models"]:
        table.add_row(Text("no model serves", "dim"))
    return table


def _cells(model: Status, history: History, bars: str) -> list[Text]:
    name = model["name"]
    loaded = Text(", ".join(model["loaded"])) if model["loaded"] else Text("not loaded", "dim")
    return [
        Text(f"{name} {model['version']}", "bold"),
        loaded,
        _bar(model["waiting"], bars),
        Text(_figure(history.last(f"rate {name}"))),
        Text(spark(history.of(f"rate {name}"), 16, 0, None, bars), "cyan"),
        Text(_figure(model["p50_ms"])),
        Text(_figure(model["p99_ms"])),
        Text(spark(history.of(f"p50 {name}"), 16, 0, None, bars), "blue"),
        Text(str(model["answered"])),
        Text(str(model["failed"]), "red" if model["failed"] else "dim"),
    ]


def _bar(waiting: int, bars: str) -> Text:
    return Text(f"{waiting} " + bars[-1] * min(8, waiting), "yellow" if waiting else "dim")


def _events(recent: Sequence[Status]) -> list[Text]:
    lines = [
        Text.assemble(
            (f" {span(event['ago_s']):>8} ago  ", "dim"),
            (event["after"], COLOURS.get(event["after"], "white")),
            (f"  {event['reason'].removeprefix(event['after'] + ': ')}", "dim"),
            overflow="ellipsis",
            no_wrap=True,
        )
        for event in recent[:EVENTS]
    ]
    return [Text(), *lines] if lines else []


def _figure(figure: float | None) -> str:
    return "-" if figure is None else f"{figure:.1f}" if figure < 100 else f"{figure:.0f}"


def span(seconds: float) -> str:
    """A span of time, short."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h" if seconds < 172_800 else f"{seconds / 86_400:.0f} d"
