"""What a bench found: tables for the reader, figures held against targets, and how they came about."""

from __future__ import annotations

import msgspec


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """A figure and the bound it was meant to keep."""

    what: str
    figure: float
    bound: float
    unit: str = ""
    at_most: bool = True
    """Else: at least."""

    @property
    def met(self) -> bool:
        """Whether the figure keeps the bound."""
        return self.figure <= self.bound if self.at_most else self.figure >= self.bound

    def __str__(self) -> str:
        verdict = "PASS" if self.met else "MISS"
        sign = "<=" if self.at_most else ">="
        figure, bound = number(self.figure) + self.unit, number(self.bound) + self.unit
        return f"{verdict}  {self.what}: {figure} ({sign} {bound})"


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """Rows of text, the first column naming what the row is about."""

    title: str
    columns: list[str]
    rows: list[list[str]]


class Section(msgspec.Struct, frozen=True, kw_only=True):
    """One bench."""

    name: str
    title: str
    method: str
    """For the reader who wants to repeat or doubt it."""
    targets: list[Target]
    tables: list[Table]


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """One run."""

    machine: dict[str, str]
    sections: list[Section]


def number(value: float) -> str:
    """Three significant digits, thousands with a comma."""
    if abs(value) >= 999.5:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def at_most(what: str, figure: float, bound: float, unit: str = "") -> Target:
    return Target(what=what, figure=figure, bound=bound, unit=unit)


def at_least(what: str, figure: float, bound: float, unit: str = "") -> Target:
    return Target(what=what, figure=figure, bound=bound, unit=unit, at_most=False)
