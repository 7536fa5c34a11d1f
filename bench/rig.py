"""What every bench is given: how long, where, the pictures, the models and the daemon's home."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from bench import job, services
from bench.daemon import Home, compile_kernels
from bench.services import Command


class Rig:
    """Everything costly is made when first asked for, and shared by the benches of a run."""

    def __init__(
        self, *, work: Path, cache: Path, command: Sequence[str], seconds: float, rounds: int
    ) -> None:
        self.work, self.cache = work, cache
        self.seconds, self.rounds = seconds, rounds
        self._command = command

    @cached_property
    def pictures(self) -> job.Pictures:
        """What everybody looks at."""
        return job.pictures()

    @cached_property
    def face(self) -> Path:
        """The model's folder."""
        return job.model("face", self.cache)

    @property
    def weights(self) -> Path:
        """BlazeFace's .tflite file."""
        return self.face / "face.tflite"

    @cached_property
    def home(self) -> Home:
        """A daemon with compiled kernels that serves BlazeFace."""
        return self.prepared("face", self.face)

    @cached_property
    def bare(self) -> Home:
        """A daemon without a model."""
        return self.prepared("bare")

    def prepared(self, name: str, *models: Path) -> Home:
        """Another daemon, serving these models."""
        home = Home(self.work / name, self._command)
        home.prepare(self._kernels, models)
        return home

    @cached_property
    def _kernels(self) -> Path:
        return compile_kernels(self._command, self.work / "kernels")

    def edged(self) -> Command:
        """The daemon, serving BlazeFace."""
        return services.edged(self.home, self.pictures)

    def peers(self) -> list[Command]:
        """FastAPI and the MCP SDK's HTTP server, each on plain uvicorn and on uvicorn[standard]."""
        return [
            peer(self.work, self.weights, self.pictures, standard=standard)
            for peer in (services.fastapi, services.sdk)
            for standard in (False, True)
        ]
