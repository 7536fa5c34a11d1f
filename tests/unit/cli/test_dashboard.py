from __future__ import annotations

import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from edged.cli.dashboard import BARS, PLAIN_BARS, History, frame, span, spark

figures = st.lists(st.one_of(st.none(), st.floats(-1e9, 1e9)), max_size=200)


def status(**changes: Any) -> dict[str, Any]:
    made: dict[str, Any] = {
        "version": "0.1.0", "hostname": "shed", "uptime_s": 100.0,
        "readings": {"temperature_c": 71.5, "battery_pct": 42.0, "mains": False},
        "limits": {"band": "warm", "cause": "heat", "reason": "warm: it is", "duty": 0.4, "concurrency": 16},
        "power": {
            "board": "raspberry-pi-4", "to_throttle": {"words": "in 90 s"}, "to_empty": {"words": "in 60 min"},
            "recent": [{"ago_s": 5.0, "before": "nominal", "after": "warm", "cause": "heat", "reason": "warm: it is"}],
        },
        "models": [
            {"name": "digits", "version": "1", "loaded": ["int8"], "waiting": 3, "answered": 10, "failed": 1,
             "p50_ms": 1.25, "p99_ms": 140.0}
        ],
    }  # fmt: skip
    return made | changes


METRICS = {
    "in_hand": 3,
    "memory_bytes": 3 << 20,
    "memory_budget_bytes": 256 << 20,
    "loaded": {"digits": [{}]},
}


def drawn(shown: dict[str, Any], width: int = 130, bars: str = BARS) -> str:
    history = History()
    history.look(shown, METRICS)
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(frame(shown, METRICS, history, bars=bars, width=width))
    said: str = console.file.getvalue()  # type: ignore[attr-defined] # the StringIO above
    return said


@given(figures, st.integers(1, 60))
def test_a_sparkline_is_as_wide_as_asked_whatever_it_is_given(series: list[float | None], width: int) -> None:
    line = spark(series, width)
    assert len(line) == width
    assert set(line) <= set(BARS) | {" "}


def test_a_sparkline_rises_with_its_figures_and_is_blank_where_nothing_is_known() -> None:
    assert spark([0, 1, 2, 3, 4, 5, 6, 7, None], 10, 0, 8) == " ▁▂▃▄▅▆▇█ "


def test_a_frame_says_what_the_device_does_and_why() -> None:
    said = drawn(status())
    for part in ("71.5 °C", "trip: in 90 s", "42 %", "empty: in 60 min", "40 % of the CPU", "3 MiB of 256"):
        assert part in said
    for part in ("warm: it is", "digits 1", "int8", "1.2", "140", "5 s ago", "3 in hand, 16 allowed"):
        assert part in said


def test_a_narrow_frame_keeps_every_figure() -> None:
    said = drawn(status(), width=80)
    assert max(map(len, said.splitlines())) <= 80
    for part in ("digits 1", "140", "10", "71.5 °C"):
        assert part in said


def test_what_is_unknown_is_said_to_be_and_a_board_without_a_battery_shows_none() -> None:
    said = drawn(status(readings={"temperature_c": None, "battery_pct": None, "mains": None}, models=[]))
    assert "unknown" in said
    assert "battery" not in said
    assert "no model serves" in said


def test_a_terminal_without_unicode_gets_plain_bars() -> None:
    said = drawn(status(), bars=PLAIN_BARS)
    assert not set(said) & set(BARS)


def test_answers_a_second_are_counted_from_look_to_look() -> None:
    history = History()
    for at, answered in ((100.0, 10), (102.0, 30), (103.0, 0)):
        model = status()["models"][0] | {"answered": answered}
        history.look(status(uptime_s=at, models=[model]), METRICS)
    assert list(history.of("rate digits")) == [None, 10.0, 0.0]


@pytest.mark.parametrize(("seconds", "said"), [(5, "5 s"), (300, "5 min"), (7200, "2 h"), (200_000, "2 d")])
def test_spans_are_short(seconds: float, said: str) -> None:
    assert span(seconds) == said
