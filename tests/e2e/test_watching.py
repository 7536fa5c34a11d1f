"""`edged top` and `edged why` as people run them."""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
import sys
from pathlib import Path

from tests.rig.daemon import Daemon

CHECKOUT = Path(__file__).parents[2]
PATIENCE_S = 30.0


def run(device: Daemon, *arguments: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "edged", *arguments, "--socket", str(device.socket)],
        capture_output=True, check=True, timeout=60, cwd=CHECKOUT, text=True, env=os.environ | environment,
    )  # fmt: skip
    return done.stdout


def test_one_frame_names_the_model_and_what_limits_the_device(device: Daemon) -> None:
    said = run(device, "top", "--once", COLUMNS="140")
    assert "face" in said
    assert "limits" in said
    assert "answers/s" in said


def test_a_frame_that_goes_into_a_pipe_carries_no_escapes(device: Daemon) -> None:
    assert "\x1b" not in run(device, "top", TERM="dumb")


def test_top_with_json_prints_only_json(device: Daemon) -> None:
    found = json.loads(run(device, "top", "--json"))
    assert set(found) == {"status", "metrics"}
    assert "duty" in found["status"]["limits"]


def test_a_live_view_draws_until_q_is_pressed_and_restores_the_terminal(device: Daemon) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "edged", "top", "--interval", "0.2", "--socket", str(device.socket)],
        stdin=theirs, stdout=theirs, stderr=theirs, cwd=CHECKOUT, env=os.environ | {"TERM": "xterm-256color"},
    )  # fmt: skip
    os.close(theirs)
    shown = b""
    try:
        while shown.count(b"limits") < 2:
            assert select.select([ours], [], [], PATIENCE_S)[0], shown
            shown += os.read(ours, 65536)
        os.write(ours, b"xq")
        while select.select([ours], [], [], PATIENCE_S)[0]:
            try:
                shown += os.read(ours, 65536)
            except OSError:  # the other side is closed: it has ended
                break
        assert process.wait(PATIENCE_S) == 0
        assert b"\x1b[?1049h" in shown
        assert b"\x1b[?1049l" in shown
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        os.close(ours)


def test_why_answers_in_words(device: Daemon) -> None:
    said = run(device, "why")
    assert said.startswith("Slow?\n- ")
    for part in ("Hot?", "Failing?", "What happened:\n- The limits have not changed."):
        assert part in said
    assert set(json.loads(run(device, "why", "face", "--json"))) == {"slow", "hot", "failing", "events"}
