"""What the inference room counts, and says of itself."""

from __future__ import annotations

import msgspec

from edged.inference.values import Answer
from edged.metrics import Histogram, Summary, Tally


class ModelStats:
    """Counts and times of one model, over all its versions."""

    STAGES = ("queue", "decode", "preprocess", "invoke", "postprocess")

    def __init__(self) -> None:
        self.outcomes = Tally()
        self.stages = {stage: Histogram() for stage in (*self.STAGES, "total")}

    def answered(self, answer: Answer) -> None:
        """Count an answer and its stages."""
        self.outcomes.add("answered")
        times = answer.stages
        stages = self.stages
        stages["queue"].record(times.queue_ms)
        stages["decode"].record(times.decode_ms)
        stages["preprocess"].record(times.preprocess_ms)
        stages["invoke"].record(times.invoke_ms)
        stages["postprocess"].record(times.postprocess_ms)
        stages["total"].record(
            times.queue_ms + times.decode_ms + times.preprocess_ms + times.invoke_ms + times.postprocess_ms
        )


class ModelStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One loaded, loading or leaving model."""

    name: str
    version: str
    variant: str
    state: str
    """loading, ready or leaving."""
    memory_bytes: int
    in_hand: int
    """Calls queued or running."""
    streams: int


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """What the inference room does now."""

    models: list[ModelStatus]
    memory_bytes: int
    memory_budget_bytes: int
    loading_s: float
    """Spent on loading models since the start."""
    in_hand: int
    outcomes: dict[str, dict[str, int]]
    """By model: answers, and errors by name."""
    stages: dict[str, dict[str, Summary]]
    """By model and stage."""
