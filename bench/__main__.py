"""`python -m bench [NAME …]`: measure edged, hold the figures against their targets, and print both."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import signal
import sys
import tempfile
from pathlib import Path

import msgspec

from bench import report
from bench.awake import kept_awake
from bench.job import ROOT
from bench.results import Report
from bench.rig import Rig

BENCHES = ("call", "echo", "mqtt", "mqtt_hostile", "mcp_peers", "start", "memory", "idle", "lateness")


def main() -> int:
    args = _arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that every server is ended
    if args.write and args.names:
        sys.exit("--write commits the results of one run of everything: give no names with it")
    with (
        tempfile.TemporaryDirectory(prefix="edged-bench-") as work,
        kept_awake() if args.awake else contextlib.nullcontext(),
    ):
        rig = Rig(
            work=Path(work),
            cache=args.cache,
            command=args.daemon or [sys.executable, "-m", "edged"],
            seconds=args.seconds,
            rounds=args.rounds,
        )
        sections = []
        for name in args.names or BENCHES:
            sections.append(importlib.import_module(f"bench.{name}").run(rig))
            print(report.text(sections[-1]), file=sys.stderr if args.json else sys.stdout, flush=True)
    machine = report.machine() | {"processors": "kept from halting" if args.awake else "free to halt"}
    made = Report(machine=machine, sections=sections)
    if args.json:
        print(msgspec.json.format(msgspec.json.encode(made)).decode())
    if args.write:
        report.write(made)
    missed = sum(not target.met for section in sections for target in section.targets)
    return 1 if args.strict and missed else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        choices=[*BENCHES, []],
        help=f"of {', '.join(BENCHES)}; default all",
    )
    parser.add_argument("--seconds", type=float, default=0.4, help="length of a timed block (default 0.4)")
    parser.add_argument(
        "--rounds", type=int, default=9, help="undisturbed blocks wanted of each contender (default 9)"
    )
    parser.add_argument(
        "--json", action="store_true", help="print the report as JSON; the tables go to stderr"
    )
    parser.add_argument(
        "--write", action="store_true", help="replace the committed results under bench/results"
    )
    parser.add_argument(
        "--awake",
        action="store_true",
        help="keep the CPUs from halting: for virtual machines, see bench/awake.py",
    )
    parser.add_argument("--strict", action="store_true", help="exit 1 where a target is missed")
    parser.add_argument("--cache", type=Path, default=ROOT / "build" / "bench", help="keeps fetched models")
    parser.add_argument(
        "--daemon", nargs="+", metavar="WORD", help="the `edged` program of another installation"
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
