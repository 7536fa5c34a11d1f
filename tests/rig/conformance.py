"""The official MCP conformance suite against the real daemon: `./dev conformance [--write PAGE]`.

Runs what each revision requires, and what the suite runs beside it without scoring. Every check counts;
a scenario that gives no result counts as a failure.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.rig.conformance_page import page, table
from tests.rig.conformance_results import REVISIONS, Outcome, expected, outcome
from tests.rig.http_pump import pumped
from tests.rig.served import ROOT, served

SUITE = ROOT / ".venv" / "conformance" / "node_modules" / "@modelcontextprotocol" / "conformance"
NODE = ROOT / ".venv" / "bin" / "node"
SETTINGS = """
[http]
enabled = true
poll_after_s = 0.4
retry_ms = 100
"""
REVISION_S = 600.0


@contextlib.contextmanager
def everything(home: Path) -> Iterator[Path]:
    """The daemon with all that the suite wants; gives its HTTP socket."""
    paths = f'[paths]\nstate = "{home}/state"\ncache = "{home}/cache"\nrun = "{home}/run"\n'
    config = home / "edged.toml"
    config.write_text(paths + SETTINGS)
    with served([sys.executable, "-m", "tests.rig.everything_daemon", str(config)]):
        yield home / "run" / "http.sock"


async def run(socket: Path, revision: str, results: Path) -> list[Outcome]:
    """One revision's scenarios, one after the other, as the suite runs them."""
    found: dict[str, Path] = {}
    async with pumped(socket) as port, asyncio.timeout(REVISION_S):
        arguments = ("--url", f"http://localhost:{port}/mcp", "--requirements", revision, "-o", str(results))
        suite = await asyncio.create_subprocess_exec(
            NODE,
            SUITE / "dist" / "index.js",
            "server",
            *arguments,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            stdin=asyncio.subprocess.DEVNULL,
            limit=1 << 24,
        )
        try:
            assert suite.stdout is not None
            scenario = ""
            async for raw in suite.stdout:
                line = raw.decode(errors="replace").rstrip()
                if line.startswith("=== Running scenario: "):
                    scenario = line.removeprefix("=== Running scenario: ").removesuffix(" ===")
                    print(f"{revision}  {scenario}", flush=True)
                elif line.startswith("Results saved to "):
                    found[scenario] = Path(line.removeprefix("Results saved to "))
            await suite.wait()
        finally:
            if suite.returncode is None:
                suite.kill()
                await suite.wait()
    return [outcome(revision, name, scored, found.get(name)) for name, scored in expected(SUITE, revision)]


def main() -> int:
    """Run everything; 0 where nothing failed."""
    parser = argparse.ArgumentParser(prog="./dev conformance", description=__doc__)
    parser.add_argument(
        "--revision", choices=REVISIONS, action="append", help="only this one; may be repeated"
    )
    parser.add_argument("--write", type=Path, metavar="PAGE", help="also write the results as a page")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="keep each scenario's checks there")
    options = parser.parse_args()
    outcomes: list[Outcome] = []
    with tempfile.TemporaryDirectory() as folder, everything(Path(folder)) as socket:
        for revision in options.revision or REVISIONS:
            results = (options.keep or Path(folder)) / revision
            outcomes += asyncio.run(run(socket, revision, results.absolute()))
    print(table(outcomes))
    if options.write:
        options.write.write_text(page(outcomes))
    checks = sum(one.checks for one in outcomes)
    failures = sum(one.failed for one in outcomes)
    print(f"conformance: {checks} checks, {failures} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
