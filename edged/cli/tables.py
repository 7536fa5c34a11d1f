"""Answers as tables for people; `--json` prints the same answer for programs."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

WIDTH = 120
"""Of what goes to a file or a pipe, where COLUMNS says nothing else."""

SHORT = 32
"""Characters of a cell that is never broken."""

Cell = str | float | None


def show(value: Any, *, as_json: bool) -> None:
    """Print a structured answer."""
    if as_json:
        print(json.dumps(value, indent=2, ensure_ascii=False))
        return
    for title, columns, rows in tables(value):
        table(title, columns, rows)


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> None:
    """Print one table; columns of numbers are aligned right, None is a dash."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    headed = any(columns)
    made = Table(
        title=title or None,
        box=SIMPLE_HEAD if headed else None,
        show_header=headed,
        title_justify="left",
        title_style="bold",
        pad_edge=False,
        padding=(0, 2, 0, 0),
    )
    for index, column in enumerate(columns):
        numeric = all(isinstance(row[index], int | float) for row in rows)
        short = all(len(_cell(row[index])) <= SHORT for row in rows)
        made.add_column(column, justify="right" if numeric else "left", overflow="fold", no_wrap=short)
    for row in rows:
        made.add_row(*(Text(_cell(cell)) for cell in row))
    Console(width=width()).print(made)


def width() -> int | None:
    """Of what is printed; None leaves it to the terminal."""
    return None if sys.stdout.isatty() else int(os.environ.get("COLUMNS", WIDTH))


def tables(value: Mapping[str, Any]) -> list[tuple[str, list[str], list[list[Cell]]]]:
    """What to show of a structured answer: lists of things as tables, everything else as names and values."""
    found: list[tuple[str, list[str], list[list[Cell]]]] = []
    plain: list[list[Cell]] = []
    for path, item in _parts(value):
        if isinstance(item, list) and item and isinstance(item[0], Mapping):
            found.append(_list(path, item))
        elif isinstance(item, Mapping) and item:
            found.append(_named(path, item))
        else:
            plain.append([path, None if item == {} else _flat(item)])
    return found + ([("", ["", ""], plain)] if plain else [])


def _parts(value: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    """What is shown by itself, with its path: single values, lists, and mappings of things that are all alike."""
    for name, item in value.items():
        if isinstance(item, Mapping) and item and not _alike(item):
            yield from _parts(item, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", item


def _alike(item: Mapping[str, Any]) -> bool:
    """Whether a mapping names things of the same plain fields, and so is a table."""
    parts = list(item.values())
    if not all(isinstance(part, Mapping) and part.keys() == parts[0].keys() for part in parts):
        return False
    return not any(isinstance(leaf, Mapping | list) for part in parts for leaf in part.values())


def _named(path: str, items: Mapping[str, Mapping[str, Any]]) -> tuple[str, list[str], list[list[Cell]]]:
    columns = list(next(iter(items.values())))
    rows = [[name, *(_flat(item[column]) for column in columns)] for name, item in items.items()]
    return path, [path.rpartition(".")[2], *columns], rows


def _list(key: str, items: list[Mapping[str, Any]]) -> tuple[str, list[str], list[list[Cell]]]:
    columns = [name for name in items[0] if name != "keypoints"]
    return key, columns, [[_flat(item.get(column)) for column in columns] for item in items]


def _flat(value: Any) -> Cell:
    if isinstance(value, Mapping):
        return "  ".join(f"{name} {_cell(_flat(part))}" for name, part in value.items())
    if isinstance(value, list):
        return ", ".join(str(_cell(_flat(part))) for part in value[:16]) + (" …" if len(value) > 16 else "")
    return value if value is None or isinstance(value, int | float) else str(value)


def _cell(value: Cell) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.3f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
