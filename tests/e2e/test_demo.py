"""What `./dev demo` runs, on models already fetched."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from PIL import Image

CHECKOUT = Path(__file__).parents[2]


def test_the_demo_answers_its_questions_and_ends_by_itself(models: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "edged.cli.demo",
            "--models",
            str(models),
            "--cache",
            str(tmp_path),
            "--out",
            str(tmp_path),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
        cwd=CHECKOUT,
        env={key: value for key, value in os.environ.items() if key != "COLUMNS"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "a face at [180, 82, 274, 17" in done.stdout
    assert "0 1 2 3 4 5 6 7 8 9" in done.stdout
    assert "'okay_nabu' heard" in done.stdout
    assert "not heard" in done.stdout
    assert "Where is the face? (MQTT)" in done.stdout
    assert done.stdout.count("a face at [180, 82, 274, 17") == 2
    assert '"mcpServers"' in done.stdout
    with Image.open(tmp_path / "face.png") as picture:
        assert picture.size == (512, 512)
