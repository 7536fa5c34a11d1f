"""What every bench is given: how long, where, the pictures, the models and the daemon's home."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from bench import job, services
from bench.daemon import Home
from bench.services import Command


class Rig:
    """Everything costly is made when first asked for, and shared by the benches of a run."""

    def __init__(self, *, work: Path, cache: Path, command: Sequence[str], seconds: float, rounds: int) -> None:
        self.work, self.cache = work, cache
        self.seconds, self.rounds = seconds, rounds
        self._command = command

    @cached_property
    def pictures(self) -> job.Pictures:
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

    def prepared(self, name: str, *models: Path) -> Home:
        """Another daemon, serving these models."""
        home = Home(self.work / name, self._command)
        home.prepare(*models)
        return home

    def edged(self) -> Command:
        return services.edged(self.home, self.pictures)

    def peers(self) -> list[Command]:
        """FastAPI as installed and with its faster parts, and the MCP SDK's HTTP server (which takes those)."""
        return [
            services.fastapi(self.work, self.weights, self.pictures, standard=False),
            services.fastapi(self.work, self.weights, self.pictures, standard=True),
            services.sdk(self.work, self.weights, self.pictures),
        ]
