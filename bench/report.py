"""The committed page: what was measured, on what, and which targets were met."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
import time
from pathlib import Path

import msgspec

from bench.job import ROOT
from bench.results import Report, Section, Table, number

RESULTS = ROOT / "bench" / "results"
PACKAGES = (
    "ai-edge-litert",
    "numpy",
    "numba",
    "msgspec",
    "simplejpeg",
    "opencv-python-headless",
    "fastapi",
    "uvicorn",
    "uvloop",
    "httptools",
    "mcp",
    "paho-mqtt",
    "pydantic",
)
HEAD = """\
# What it costs

Made by `python -m bench --write`; the same as data in `results.json`. How and why it is measured this way:
[decision 0060](../../docs/decisions/0060-how-we-measure.md). Milliseconds are this machine's on this day; the
ratios are what carries over.
"""


def machine() -> dict[str, str]:
    """Where and with what this run took place."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    versions = {name: importlib.metadata.version(name) for name in PACKAGES}
    return {
        "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "commit": _commit(),
        "processor": f"{_processor()}, {len(os.sched_getaffinity(0))} CPUs used of {os.cpu_count()}",
        "memory": f"{memory / (1 << 30):.0f} GiB",
        "kernel": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "packages": ", ".join(f"{name} {version}" for name, version in versions.items()),
    }


def write(report: Report) -> None:
    """Replace the committed results."""
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "results.json").write_bytes(msgspec.json.format(msgspec.json.encode(report)) + b"\n")
    (RESULTS / "README.md").write_text(page(report))


def page(report: Report) -> str:
    """The report as Markdown."""
    met = sum(target.met for section in report.sections for target in section.targets)
    all_ = sum(len(section.targets) for section in report.sections)
    facts = "\n".join(f"- {name}: {value}" for name, value in report.machine.items())
    sections = "\n".join(_section(section) for section in report.sections)
    return f"{HEAD}\n{met} of {all_} targets met.\n\n{facts}\n\n{sections}"


def _section(section: Section) -> str:
    targets = Table(
        title="",
        columns=["", "figure", "target", "what"],
        rows=[
            [
                "met" if t.met else "**missed**",
                f"{number(t.figure)}{t.unit}",
                f"{'at most' if t.at_most else 'at least'} {number(t.bound)}{t.unit}",
                t.what,
            ]
            for t in section.targets
        ],
    )
    tables = "\n".join(f"### {table.title}\n\n{_markdown(table)}" for table in section.tables)
    return f"## {section.title}\n\n{section.method}\n\n{_markdown(targets)}\n{tables}"


def _markdown(table: Table) -> str:
    rule = ["---", *("---:" for _ in table.columns[1:])]
    return "".join(f"| {' | '.join(row)} |\n" for row in (table.columns, rule, *table.rows))


def text(section: Section) -> str:
    """A section for a terminal."""
    tables = "\n".join(f"\n{table.title}\n{_columns(table)}" for table in section.tables)
    targets = "\n".join(map(str, section.targets))
    return f"\n== {section.title} ==\n{tables}\n\n{targets}"


def _columns(table: Table) -> str:
    rows = [table.columns, *table.rows]
    widths = [max(len(row[i]) for row in rows) for i in range(len(table.columns))]
    return "\n".join(
        "  "
        + row[0].ljust(widths[0])
        + "".join(f"  {cell.rjust(width)}" for cell, width in zip(row[1:], widths[1:], strict=True))
        for row in rows
    )


def _commit() -> str:
    git = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    return subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip() or "unknown"


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith(("model name", "Model"))]
    return names[0] if names else platform.machine()
