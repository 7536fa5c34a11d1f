"""Some hours of a device's samples: a board that is busy now and then in a room that warms up, with three models."""

from __future__ import annotations

import random
from collections.abc import Iterator
from math import pi, sin

from edged.inference import stats
from edged.links.mqtt.people.vitals import Sample, sample_of
from tests.rig.board_heat import Heat, sensed
from tests.rig.telling import Device, GiB

HOURS = range(8, 12)
MODELS = {"face": "1.2.0", "digits": "2.0.1", "okay_nabu": "1.0"}
PAGE = 4096


def samples(seed: int, interval_s: int = 10) -> Iterator[Sample]:
    """Every sample of those hours."""
    dice = random.Random(seed)  # noqa: S311 - repeatable, not secret
    device, board = _device(), Heat(20.0)
    load = 0.05
    for second in range(HOURS.start * 3600, HOURS.stop * 3600, interval_s):
        board.ambient_c = 22.0 + 6.0 * sin((second / 3600 - 9) / 24 * 2 * pi)
        if dice.random() < 0.01:
            load = dice.choice((0.05, 0.05, 0.15, 0.6))
        board.run(interval_s, load)
        device.forward(interval_s)
        _sense(device, board, dice, load)
        for name in MODELS:
            faults = {"Overloaded": dice.randrange(1, 4)} if dice.random() < 0.02 else {}
            device.work(
                name,
                int(load * 20 * interval_s * dice.uniform(0.8, 1.2)),
                dice.lognormvariate(2.2, 0.3),
                **faults,
            )
        yield sample_of(device.telemetry.look(sampled=True).now)


def _device() -> Device:
    device = Device()
    device.raws |= {"heat.gpu-thermal": 48.0, "heat.nvme.composite": 40.0}
    device.raws |= {"battery.percent": 97.0, "battery.mains": 1.0}
    for name, version in MODELS.items():
        device.install(name, version)
        device.loaded.append(
            stats.ModelStatus(
                name=name,
                version=version,
                variant="int8",
                state="ready",
                memory_bytes=1,
                in_hand=0,
                streams=0,
            )
        )
    return device


def _sense(device: Device, board: Heat, dice: random.Random, load: float) -> None:
    device.sense(
        heat_cpu_thermal=sensed(board.die_c, dice),
        heat_gpu_thermal=sensed(board.die_c - 1.5, dice),
        cpu_busy=round(100 * min(1.0, max(0.0, load + dice.gauss(0, 0.02))), 1),
        cpu_load=round(load * 4 + dice.uniform(0, 0.3), 2),
        cpu_frequency=dice.choice((600.0, 1000.0, 1500.0, 1500.0)),
        memory_available=float(3 * GiB - dice.randrange(0, 100 << 20, PAGE)),
        memory_rss=float((90 << 20) + dice.randrange(0, 1 << 20, PAGE)),
        disk_free=(device.raws["disk.free"] or 0.0) - 3 * PAGE,
    )
