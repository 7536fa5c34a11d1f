"""Recordings, whole or in pieces: a model that listens keeps what it heard."""

from __future__ import annotations

from collections.abc import Hashable
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from edged.inference.inputs import sound
from edged.inference.manifest import AudioInput, Keyword
from edged.inference.outputs.listening import Listener
from edged.inference.outputs.tensors import real
from edged.inference.pipelines.pipeline import Outcome, Parts, Pipeline
from edged.inference.request import Encoded, Pcm, Request
from edged.inference.runtime import Interpreter
from edged.inference.streams import Key


class AudioPipeline(Pipeline):
    """Recordings, whole or in pieces, to what was heard in them."""

    options = frozenset({"threshold", "stream"})

    def __init__(self, parts: Parts, given: AudioInput, output: Keyword) -> None:
        super().__init__(parts)
        self._given, self._output = given, output
        self._spec = self._interpreter.outputs[output.tensor]
        self._interpreter.invoke()  # shows that it runs
        self._streams: dict[Hashable, Listener] = {}

    def _run(self, request: Request) -> Outcome:
        started = perf_counter()
        mono = self._decode(request)
        decoded = perf_counter()
        listener = self._whole() if request.stream is None else self._stream(request)
        heard, times = listener.hear(mono, request.threshold, last=request.stream is None)
        return Outcome(heard, (decoded - started) * 1e3, times.preprocess_s * 1e3, times.invoke_s * 1e3, 0.0)

    def close_stream(self, key: Hashable) -> None:
        """Free a stream's interpreter."""
        listener = self._streams.pop(key, None)
        if listener is not None:
            listener.interpreter.close()

    def close(self) -> None:
        """Free every interpreter."""
        for key in list(self._streams):
            self.close_stream(key)
        super().close()

    def _decode(self, request: Request) -> sound.Mono:
        config = self._parts.config
        match request.given:
            case Encoded(data=data):
                return sound.read_wav(data, config.sound_max_bytes, config.sound_max_s)
            case Pcm(data=data, rate_hz=rate_hz):
                return sound.read_pcm(data, rate_hz, config.sound_max_bytes, config.sound_max_s)
        raise self._misfit(request)

    def _whole(self) -> Listener:
        """Ears that never heard anything: TFLite cannot reset resource variables, and loading takes 1 ms."""
        self._interpreter.close()
        self._interpreter = self._parts.open_interpreter()
        return self._listener(self._interpreter)

    def _stream(self, request: Request) -> Listener:
        key = Key(request.peer, request.model, str(request.stream))
        listener = self._streams.get(key)
        if listener is None:
            self._streams[key] = listener = self._listener(self._parts.open_interpreter())
        return listener

    def _listener(self, interpreter: Interpreter) -> Listener:
        return Listener(interpreter, self._given, self._output, self._kernels, self._scores)

    def _scores(self, interpreter: Interpreter) -> NDArray[np.float32]:
        raw = interpreter.output(self._output.tensor)
        return real(raw, self._spec, self._manifest.name, self._kernels).reshape(-1)
