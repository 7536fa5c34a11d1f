"""The same lines to the official SDK's server and to ours: `python -m tests.chaos.differential --seed N --runs N`.

Each run is one connection: a seeded sequence of lines of both eras, some broken. Every difference between the
answers has to be one that a rule of `tests.rig.oracle_rules` explains, by the passage that makes ours right.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
from collections import Counter

from tests.rig.oracle_compare import Exchange, Tally, plain, told
from tests.rig.oracle_rules import BOTH_ERAS, RULES, reasons


async def compare(seed: int, runs: int) -> tuple[Tally, Counter[str], list[Exchange]]:
    """What was told, how often each rule explained a difference, and the differences that none explains."""
    logging.disable(logging.CRITICAL)  # both servers tell of every broken line
    tally, explained, unexplained = Tally(), Counter[str](), []
    try:
        async for exchange in told(seed, runs, tally):
            if exchange.same and not exchange.locked:
                continue
            tally.different += 1
            if found := reasons(exchange):
                explained.update(rule.name for rule in found)
            else:
                unexplained.append(exchange)
    finally:
        logging.disable(logging.NOTSET)
    return tally, explained, unexplained


def describe(exchange: Exchange) -> str:
    """One difference, for whoever has to judge it."""
    return (
        f"{exchange.line[:600]!r}, agreed on {exchange.agreed()}\n"
        f"    SDK:  {plain(exchange.theirs)}\n    ours: {plain(exchange.ours)}"
    )


def main(arguments: list[str]) -> int:
    """Run and report; 1 where a difference is not explained."""
    parser = argparse.ArgumentParser(prog="chaos differential", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--runs", type=int, default=3_000, help="connections, each a sequence of lines")
    given = parser.parse_args(arguments)
    tally, explained, unexplained = asyncio.run(compare(given.seed, given.runs))
    for exchange in unexplained:
        print(describe(exchange))
    print(
        f"seed {given.seed}: {tally.lines} lines, {tally.answers} answers of ours, {tally.different} different"
    )
    for rule in (BOTH_ERAS, *RULES):
        print(f"{explained[rule.name]:>6}  {rule.name}: {rule.cites}")
    print(f"differential: {given.runs} runs, {len(unexplained)} failures")
    return 1 if unexplained else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
