"""Our image kernels against OpenCV: one thread each, the same work, taken in turns.

    python bench/kernels.py [--seconds 60] [--cache DIR]

Prints a table and writes bench/results/kernels.json and kernels.md. A round gives every contender of one row
the same slice of time in alternating order; a contender's figure is the median of its rounds' medians, and the
ratio is the median of the rounds' ratios, so that a busy machine slows both sides of a quotient.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from edged.inference.kernels.build import build
from edged.inference.kernels.plain import PlainKernels
from edged.inference.kernels.seam import Kernels, Target, choose
from edged.inference.values import Layout, Picture

RESULTS = Path(__file__).parent / "results"
ROUNDS = 11
VGA, FULL_HD = (480, 640), (1080, 1920)
TO_RGB = {Layout.NV12: cv2.COLOR_YUV2RGB_NV12, Layout.YUYV: cv2.COLOR_YUV2RGB_YUYV}

Run = Callable[[], object]


class Case(NamedTuple):
    """A row: a picture, a tensor, and the ratio to OpenCV that is aimed at (none where it is only reported)."""

    name: str
    layout: Layout
    size: tuple[int, int]
    target: Target
    aim: float | None


class Row(NamedTuple):
    """Microseconds a call, and how many times faster than OpenCV."""

    name: str
    ours_us: float
    opencv_us: float
    numpy_us: float
    ratio: float
    aim: float | None


def tensor(dtype: str, side: int = 224, fit: str = "stretch") -> Target:
    """What MobileNet and its kin take: -1 to 1, or the same in int8."""
    return Target(side, side, "rgb", fit, 114.0, (127.5,), (127.5,), np.dtype(dtype), 1 / 127.5, 0)  # type: ignore[arg-type] # one of three


def cases() -> list[Case]:
    rows = []
    for label, size, aim in (("640x480", VGA, 1.2), ("1920x1080", FULL_HD, 0.9)):
        rows.append(Case(f"RGB {label} to 224 float32", Layout.RGB, size, tensor("float32"), aim))
        rows.append(Case(f"RGB {label} to 224 int8", Layout.RGB, size, tensor("int8"), 0.8))
        rows.append(Case(f"BGR {label} to 224 float32", Layout.BGR, size, tensor("float32"), None))
        letterbox = tensor("float32", 320, "letterbox")
        rows.append(Case(f"RGB {label} letterboxed to 320 float32", Layout.RGB, size, letterbox, None))
        for layout in TO_RGB:
            name = f"{layout.value.upper()} {label} to 224 float32"
            rows.append(Case(name, layout, size, tensor("float32"), 1.2))
    return rows


def opencv(picture: Picture, target: Target, out: np.ndarray[Any, Any]) -> Run:
    """The quickest sequence of OpenCV calls found for the same tensor, every buffer allocated beforehand."""
    layout, height, width, pixels = picture
    scale = min(target.width / width, target.height / height) if target.fit == "letterbox" else 0
    inner = (round(width * scale), round(height * scale)) if scale else (target.width, target.height)
    left, top = (target.width - inner[0]) // 2, (target.height - inner[1]) // 2
    full = np.zeros((height, width, 3), np.uint8)
    small = np.full((target.height, target.width, 3), 114, np.uint8)
    window = np.zeros((inner[1], inner[0], 3), np.uint8) if scale else small
    factor, offset, flip = np.float32(1 / 127.5), np.float32(-1), np.uint8(0x80)

    def run() -> None:
        source = cv2.cvtColor(pixels, TO_RGB[layout], dst=full) if layout in TO_RGB else pixels
        cv2.resize(source, inner, dst=window, interpolation=cv2.INTER_LINEAR)
        if scale:
            small[top : top + inner[1], left : left + inner[0]] = window
        if layout is Layout.BGR:
            cv2.cvtColor(small, cv2.COLOR_BGR2RGB, dst=small)
        if target.dtype == np.int8:
            np.bitwise_xor(small, flip, out=out.view(np.uint8))
        else:
            np.multiply(small, factor, out=out, casting="unsafe")
            np.add(out, offset, out=out)

    return run


def timed(run: Run, seconds: float) -> float:
    """Median microseconds of as many calls as fit into `seconds`."""
    taken, end = [], time.perf_counter() + seconds
    while True:
        start = time.perf_counter()
        run()
        now = time.perf_counter()
        taken.append(now - start)
        if now > end:
            return statistics.median(taken) * 1e6


def measure(case: Case, native: Kernels, slice_s: float) -> Row:
    rng = np.random.default_rng(1)
    pixels = rng.integers(0, 256, case.layout.shape(*case.size), dtype=np.uint8)
    picture = Picture(case.layout, *case.size, pixels)
    outs = [np.zeros((case.target.height, case.target.width, 3), case.target.dtype) for _ in range(3)]
    plain = PlainKernels()
    runs: list[Run] = [
        lambda: native.fit(picture, case.target, outs[0]),
        opencv(picture, case.target, outs[1]),
        lambda: plain.fit(picture, case.target, outs[2]),
    ]
    for run in runs:
        run()
    rounds = []
    for index in range(ROUNDS):
        order = range(3) if index % 2 else reversed(range(3))
        taken = dict.fromkeys(range(3), 0.0)
        for contender in order:
            taken[contender] = timed(runs[contender], slice_s)
        rounds.append(taken)
    ours, theirs, numpy_us = (statistics.median(r[i] for r in rounds) for i in range(3))
    ratio = statistics.median(r[1] / r[0] for r in rounds)
    return Row(case.name, ours, theirs, numpy_us, ratio, case.aim)


def overhead_us(native: Kernels) -> float:
    """What a call costs besides the work: a fit of one pixel."""
    target = tensor("float32", 1)
    picture = Picture(Layout.RGB, 1, 1, np.zeros((1, 1, 3), np.uint8))
    out = np.zeros((1, 1, 3), np.float32)
    return min(timed(lambda: native.fit(picture, target, out), 0.05) for _ in range(ROUNDS))


def verdict(row: Row) -> str:
    return "" if row.aim is None else f"{row.aim} {'met' if row.ratio >= row.aim else 'missed'}"


def table(rows: list[Row]) -> str:
    head = "| work | ours | OpenCV | numpy fallback | ours is faster by | aim |\n|---|---|---|---|---|---|\n"
    return head + "".join(map(line, rows))


def line(row: Row) -> str:
    times = " | ".join(f"{us:.0f} µs" for us in (row.ours_us, row.opencv_us, row.numpy_us))
    return f"| {row.name} | {times} | {row.ratio:.2f}x | {verdict(row)} |\n"


def cpu_name() -> str:
    names = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith(("model name", "Model"))
    ]
    return names[0] if names else platform.machine()


def report(rows: list[Row], reason: str, call_us: float) -> str:
    return f"""# Image kernels against OpenCV

{cpu_name()}, {os.cpu_count()} CPUs, Linux {platform.release()}, Python {platform.python_version()},
numpy {np.__version__}, OpenCV {cv2.__version__} on one thread. Kernels: {reason.partition(", from ")[0]}.

{table(rows)}
A call that fits one pixel takes {call_us:.1f} µs: checks, plan look-up and the passage into compiled code.

Method: `python bench/kernels.py`. Noise pictures; every buffer of both sides allocated beforehand; OpenCV as
`cvtColor` (YUV), `resize` INTER_LINEAR, then numpy's multiply and add into float32, or a flip of the top bit into
int8, the quickest found. {ROUNDS} rounds, in which ours, OpenCV and the fallback take turns in alternating order; a
time is the median of the rounds' medians, a ratio the median of the rounds' ratios. YUV differs by design: OpenCV
converts every pixel with its nearest chroma and then resizes, ours resizes both planes and converts what is left.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="about how long to measure")
    parser.add_argument(
        "--cache", type=Path, default=Path(".cache/kernels"), help="where compiled kernels are kept"
    )
    options = parser.parse_args()
    cv2.setNumThreads(1)
    build(options.cache)
    native, reason = choose("native", options.cache)
    chosen = cases()
    slice_s = options.seconds / (len(chosen) * ROUNDS * 3)
    rows = [measure(case, native, slice_s) for case in chosen]
    call_us = overhead_us(native)
    text = report(rows, reason, call_us)
    print(text)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "kernels.md").write_text(text)
    document = {"cpu": cpu_name(), "call_us": round(call_us, 2), "rows": [row._asdict() for row in rows]}
    (RESULTS / "kernels.json").write_text(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    main()
