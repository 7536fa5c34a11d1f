"""`./dev demo`: a private daemon, three real questions over MCP, the answers as a table; one of them across MQTT, too.

Everything goes through the same sockets, clients and tools that a user has; nothing is called in process.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple

from edged import data
from edged.cli import demobroker
from edged.cli.call import checked, save_picture
from edged.cli.demobroker import DemoBroker
from edged.cli.models import INSTALL_TIMEOUT_S, package
from edged.cli.tables import Cell, table
from edged.errors import EdgedError, Unreachable
from edged.links.unix_client import UnixClient
from edged.mcp.client import Caller

START_TIMEOUT_S = 30.0
STAGES = {
    "queue": "queue",
    "decode": "decode",
    "preprocess": "prepare",
    "invoke": "invoke",
    "postprocess": "read",
}


class Question(NamedTuple):
    """One thing to ask of one or more files, and how to read what comes back."""

    asked: str
    model: str
    argument: str
    files: tuple[str, ...]
    read: Callable[[dict[str, Any]], tuple[str, float]]
    picture: str | None = None


def main(argv: list[str] | None = None) -> int:
    """Run the demo; exit 0 when every question was answered."""
    arguments = _parser().parse_args(argv)
    home = Path(tempfile.mkdtemp(prefix="edged-demo-"))
    try:
        with (
            demobroker.running(home / "broker", keep=arguments.keep) as broker,
            _daemon(home, Path(arguments.cache).resolve(), broker, keep=arguments.keep) as socket,
        ):
            _ask_everything(socket, broker, arguments)
            _say_how_to_connect(socket, broker, arguments)
    except EdgedError as exc:
        print(f"demo: {exc.message}", file=sys.stderr)
        return 1
    finally:
        if not arguments.keep:
            shutil.rmtree(home, ignore_errors=True)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="./dev demo", description="Ask a private daemon three real questions."
    )
    parser.add_argument("--keep", action="store_true", help="leave the daemon running")
    weights = os.environ.get("EDGED_MODELS", ".cache/models")
    parser.add_argument("--models", default=weights, metavar="DIR", help="folders with manifest and weights")
    inputs = str(data.folder("models") / "demo")
    parser.add_argument(
        "--inputs", default=inputs, metavar="DIR", help="pictures and recordings to ask about"
    )
    cache = os.environ.get("CACHE_DIRECTORY", ".cache")
    parser.add_argument("--cache", default=cache, metavar="DIR", help="where the compiled kernels are")
    parser.add_argument("--out", default="demo-out", metavar="DIR", help="where the annotated pictures go")
    return parser


def _ask_everything(socket: Path, broker: DemoBroker | None, arguments: argparse.Namespace) -> None:
    rows = []
    out = Path(arguments.out)
    out.mkdir(exist_ok=True)
    with UnixClient(socket) as device:
        for model in dict.fromkeys(question.model for question in QUESTIONS):
            _step(f"installing {model}: hashes checked, tried in a process of its own")
            given = {**package(device, Path(arguments.models) / model), "activate": True}
            checked(device.call_tool("models_add", given, timeout_s=INSTALL_TIMEOUT_S))
        for question in QUESTIONS:
            _step(f"asking infer_{question.model} about {', '.join(question.files)}")
            rows.append(_ask(device, question, Path(arguments.inputs), out))
    if broker:
        rows += _ask_across(broker, Path(arguments.inputs), out)
    table("Scores are 0 to 1, stages in milliseconds", ["asked", "answer", "score", *STAGES.values()], rows)
    for question in QUESTIONS:
        if question.picture:
            print(f"{question.asked} The answer, drawn in: {out / question.picture}")


def _ask_across(broker: DemoBroker, inputs: Path, out: Path) -> list[list[Cell]]:
    """The first question again, by a client that knows nothing but the broker."""
    (found,) = broker.discover()
    _step(f"asking {found.id} the first one again, across mosquitto on {broker.client_url}")
    with broker.client() as device:
        asked, *rest = _ask(device, QUESTIONS[0], inputs, out)
    return [[f"{asked} (MQTT)", *rest]]


def _ask(device: Caller, question: Question, inputs: Path, out: Path) -> list[Cell]:
    """Ask about every file: the answers side by side, the lowest score, the mean of each stage."""
    tool = f"infer_{question.model}"
    given = [{question.argument: {"data": (inputs / file).read_bytes()}} for file in question.files]
    device.call_tool(tool, given[0])  # loads the model, so that the times are those of every later call
    found = [checked(device.call_tool(tool, one)) for one in given]
    if question.picture:
        save_picture(device.call_tool(tool, {**given[0], "annotate": True}), out / question.picture)
    answers, scores = zip(*map(question.read, found), strict=True)
    stages = [mean(one["ran"]["stages"][f"{stage}_ms"] for one in found) for stage in STAGES]
    return [question.asked, " ".join(answers), min(scores), *stages]


def _face(found: dict[str, Any]) -> tuple[str, float]:
    best = found["objects"][0]
    corners = ", ".join(f"{best['box'][side]:.0f}" for side in ("x0", "y0", "x1", "y1"))
    return f"a face at [{corners}]", best["score"]


def _digit(found: dict[str, Any]) -> tuple[str, float]:
    best = found["labels"][0]
    return best["label"], best["score"]


def _wake_word(found: dict[str, Any]) -> tuple[str, float]:
    best = max(found["scores"], key=lambda score: score["score"])
    if not found["heard"]:
        return "not heard", best["score"]
    return f"{best['label']!r} heard at {found['heard'][0]['at_s']:.1f} s", best["score"]


DIGITS = tuple(f"digit_{digit}.png" for digit in range(10))
QUESTIONS = [
    Question("Where is the face?", "face", "image", ("astronaut.jpg",), _face, "face.png"),
    Question("Which digits are these?", "digits", "image", DIGITS, _digit),
    Question("Was the wake word said?", "okay_nabu", "audio", ("okay_nabu.wav",), _wake_word),
    Question("And in this one?", "okay_nabu", "audio", ("alexa.wav",), _wake_word),
]


@contextlib.contextmanager
def _daemon(home: Path, cache: Path, broker: DemoBroker | None, *, keep: bool) -> Iterator[Path]:
    config = home / "edged.toml"
    paths = f'[paths]\nstate = "{home}/state"\ncache = "{cache}"\nrun = "{home}/run"\n'
    config.write_text(paths + (broker.settings if broker else ""))
    _step(f"starting edged run --config {config}")
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(  # noqa: S603 - our own module, our own interpreter
            [sys.executable, "-m", "edged", "run", "--config", str(config)],
            stdin=subprocess.DEVNULL,
            stderr=log,
            start_new_session=keep,
        )
    socket = home / "run" / "mcp.sock"
    try:
        _wait_until_up(process, socket, home / "log")
        yield socket
    except BaseException:
        keep = False
        raise
    finally:
        if keep:
            print(
                f"\nThe daemon runs on as process {process.pid}; `kill {process.pid}` ends it. Its log: {home}/log"
            )
        else:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=START_TIMEOUT_S)


def _wait_until_up(process: subprocess.Popen[bytes], socket: Path, log: Path) -> None:
    until = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < until:
        if process.poll() is not None:
            raise Unreachable(f"the daemon ended at start:\n{log.read_text()[-2000:]}")
        with contextlib.suppress(Unreachable), UnixClient(socket):
            return
        time.sleep(0.02)
    raise Unreachable(f"the daemon did not open {socket} within {START_TIMEOUT_S:g} s; see {log}")


def _say_how_to_connect(socket: Path, broker: DemoBroker | None, arguments: argparse.Namespace) -> None:
    edged = Path(sys.executable).with_name("edged")
    if broker:
        print(f"\nAcross MQTT:  {edged} call --mqtt {broker.device_url} --username {demobroker.CLIENT}")
    print(f"""
To connect an MCP host (Claude Desktop or Code, Cursor, the Inspector), give it this server:
  {{"mcpServers": {{"edged": {{"command": "{edged}", "args": ["stdio", "--socket", "{socket}"]}}}}}}
or, from another machine:  "command": "ssh", "args": ["{os.uname().nodename}", "{edged}", "stdio"]""")
    if not arguments.keep:
        print("This daemon ends now; `./dev demo --keep` leaves it running.")


def _step(what: str) -> None:
    print(f"· {what}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
