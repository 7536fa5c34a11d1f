from __future__ import annotations

import pytest

from bench.report import page, text
from bench.results import Report, Section, Table, at_least, at_most, number


def test_a_missed_target_says_so() -> None:
    assert str(at_most("p50", 1.2, 1.15, "x")) == "MISS  p50: 1.2x (<= 1.15x)"


def test_a_target_is_met_at_its_bound() -> None:
    assert at_most("p50", 1.15, 1.15).met
    assert at_least("rate", 12_000, 12_000).met


@pytest.mark.parametrize(
    ("value", "written"),
    [(0.0, "0"), (0.12345, "0.123"), (17.26, "17.3"), (999.6, "1,000"), (30_123.4, "30,123")],
)
def test_a_number_has_the_digits_that_matter(value: float, written: str) -> None:
    assert number(value) == written


def test_a_page_counts_what_was_met_and_names_what_was_not() -> None:
    section = Section(
        name="echo",
        title="A call that does nothing",
        method="Five bytes.",
        targets=[at_least("rate", 20_000, 12_000, "/s"), at_most("CPU", 70, 60, " us")],
        tables=[Table(title="Calls", columns=["server", "req/s"], rows=[["edged", "20,000"]])],
    )
    written = page(Report(machine={"python": "3.11"}, sections=[section]))
    assert "1 of 2 targets met" in written
    assert "| **missed** | 70 us | at most 60 us | CPU |" in written
    assert "| edged | 20,000 |" in written
    assert "MISS  CPU: 70 us (<= 60 us)" in text(section)
