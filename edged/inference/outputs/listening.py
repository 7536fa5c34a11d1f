"""Listening: what one audio model remembers between pieces of sound.

Streaming models keep their state in variables inside the interpreter, so a stream is an interpreter, a front
end and a window of its own. A recording without a stream is judged from a fresh state, and whole.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edged.errors import BadSound
from edged.inference.inputs.resample import RATE_OUT_HZ, Resampler
from edged.inference.inputs.sound import Mono
from edged.inference.manifest import AudioInput, Keyword
from edged.inference.outputs.tensors import stored
from edged.inference.values import Heard, Hit, Score

if TYPE_CHECKING:
    from edged.inference.kernels.seam import Kernels
    from edged.inference.runtime import Interpreter

ROW_S = 0.010
"""The front end gives a row every 10 ms."""
WINDOW_S = 0.030
"""A row covers this much sound."""


class Track:
    """Averages scores over a window and notes when a label crosses its threshold. Pure, constant memory."""

    def __init__(self, labels: Sequence[str], window: int, threshold: float) -> None:
        self.threshold = threshold
        self._labels = labels
        self._recent: deque[NDArray[np.float64]] = deque(maxlen=window)
        self._window = window
        self._above = [False] * len(labels)
        self._best = [0.0] * len(labels)
        self._hits: list[Hit] = []

    def push(self, scores: NDArray[np.float32], at_s: float) -> None:
        """One invoke's scores, one a label. Nothing is judged before the window is full."""
        self._recent.append(scores.astype(np.float64))
        if len(self._recent) < self._window:
            return
        for index, mean in enumerate(np.mean(self._recent, axis=0).tolist()):
            self._best[index] = max(self._best[index], mean)
            if mean < self.threshold:
                self._above[index] = False
            elif not self._above[index]:
                self._above[index] = True
                self._hits.append(Hit(self._labels[index], mean, at_s))
            else:
                self._raise(self._labels[index], mean, at_s)

    def take(self, seconds: float) -> Heard:
        """What was heard since the last call; a hit is told once, in the piece where it began."""
        scores = [Score(label, round(best, 4)) for label, best in zip(self._labels, self._best, strict=True)]
        hits = [Hit(hit.label, round(hit.score, 4), round(hit.at_s, 2)) for hit in self._hits]
        self._best = [0.0] * len(self._labels)
        self._hits = []
        return Heard(scores, hits, round(seconds, 3))

    def _raise(self, label: str, mean: float, at_s: float) -> None:
        for place in range(len(self._hits) - 1, -1, -1):
            if self._hits[place].label == label:
                if mean > self._hits[place].score:
                    self._hits[place] = Hit(label, mean, at_s)
                return


class Times(NamedTuple):
    """Seconds spent in the front end and in the model."""

    preprocess_s: float
    invoke_s: float


class Listener:
    """One interpreter's ears; all of it belongs to one thread."""

    def __init__(
        self,
        interpreter: Interpreter,
        given: AudioInput,
        output: Keyword,
        kernels: Kernels,
        read: Callable[[Interpreter], NDArray[np.float32]],
    ) -> None:
        self.interpreter = interpreter
        self._given, self._output, self._read = given, output, read
        self._spec = interpreter.inputs[given.tensor]
        self._front_end = kernels.micro_frontend()
        self._track = Track(output.labels, output.window, output.threshold)
        self._rows = np.empty((0, given.features), np.float32)
        self._seen_rows = 0
        self._rate_hz = 0
        self._resampler: Resampler | None = None

    def hear(self, sound: Mono, threshold: float | None, *, last: bool) -> tuple[Heard, Times]:
        """Judge the next piece; `last` ends the sound after it. Raises BadSound when the rate changes."""
        started = perf_counter()
        self._track.threshold = self._output.threshold if threshold is None else threshold
        rows = self._front_end.feed(self._samples(sound, last=last))
        self._rows = np.concatenate((self._rows, rows)) if len(self._rows) else rows
        step = self._given.frames
        count = len(self._rows) // step
        windows = stored(self._rows[: count * step], self._spec)
        middle = perf_counter()
        for index in range(count):
            view = self.interpreter.input(self._given.tensor)
            view[...] = windows[index * step : (index + 1) * step].reshape(view.shape)
            del view
            self.interpreter.invoke()
            self._seen_rows += step
            self._track.push(self._read(self.interpreter), self._seen_rows * ROW_S - ROW_S + WINDOW_S)
        self._rows = self._rows[count * step :].copy()
        heard = self._track.take(sound.samples.size / sound.rate_hz)
        return heard, Times(middle - started, perf_counter() - middle)

    def _samples(self, sound: Mono, *, last: bool) -> NDArray[np.int16]:
        if self._rate_hz not in (0, sound.rate_hz):
            raise BadSound(f"the stream began at {self._rate_hz} Hz, this piece has {sound.rate_hz} Hz")
        samples = sound.samples
        if sound.rate_hz != RATE_OUT_HZ:
            self._resampler = self._resampler or Resampler(sound.rate_hz)
            samples = self._resampler.feed(samples, last=last)
        self._rate_hz = sound.rate_hz
        scaled: NDArray[np.float32] = np.clip(np.rint(samples * np.float32(32768)), -32768, 32767)
        return scaled.astype(np.int16)
