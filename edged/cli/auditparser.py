"""The command line of `edged audit`."""

from __future__ import annotations

import argparse

Commands = argparse._SubParsersAction  # noqa: SLF001 - argparse has no public name for it


def audit(commands: Commands[argparse.ArgumentParser]) -> None:
    """`edged audit`."""
    group = commands.add_parser(
        "audit",
        help="read and verify what was asked of this device and what it decided",
        description="Works on the log's files; the daemon may run, or be on another machine.",
    )
    actions = group.add_subparsers(dest="action", required=True, metavar="ACTION")
    tail = actions.add_parser("tail", help="show the last records")
    tail.add_argument("--lines", type=int, default=20, metavar="N", help="how many (default 20)")
    verify = actions.add_parser(
        "verify",
        help="say whether the log is what the device wrote, and name every record where it is not",
        epilog="Exit codes: 0 intact, 1 it could not be read, 2 wrong usage, 3 changed.",
    )
    verify.add_argument(
        "--key", metavar="FILE", help="the device's public key (PEM or DER): check signatures"
    )
    verify.add_argument(
        "--checkpoint",
        action="append",
        default=[],
        metavar="FILE",
        help="a checkpoint that was published: an older copy of the log is then noticed; may be repeated",
    )
    verify.add_argument("--anchor", metavar="HEX", help="what the device's TPM says the anchor is")
    export = actions.add_parser("export", help="write records as JSON, one a line")
    export.add_argument("--first", type=int, default=1, metavar="N", help="from this record on")
    export.add_argument("--last", type=int, default=None, metavar="N", help="up to this one")
    export.add_argument("--output", default="-", metavar="FILE", help="default: standard output")
    for action in (tail, verify, export):
        action.add_argument("--dir", default=None, metavar="DIR", help="default: audit in [paths] state")
        action.add_argument(
            "--config", default=None, metavar="FILE", help="the config to find [paths] state in"
        )
        action.set_defaults(run=f"edged.cli.audit:{action.prog.rpartition(' ')[2]}")
    for action in (tail, verify):
        action.add_argument("--json", action="store_true", help="print as JSON")
