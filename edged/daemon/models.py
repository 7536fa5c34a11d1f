"""What runs models, brought up when the first one serves: numpy, TFLite and the kernels come with it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from edged.config import Config
from edged.inference import stats
from edged.inference.models.library import Library
from edged.inference.models.sealing import Sealer
from edged.limits import Limits
from edged.metrics import Histogram
from edged.tasks import Latest, OneThread
from edged.tools.device import Engine

if TYPE_CHECKING:
    from edged.inference.runtime import Runtime
    from edged.inference.scheduler import Scheduler
    from edged.inference.trial.report import Report, Trial

LOG = logging.getLogger("edged")


class Models:
    """The library, the runtime and the scheduler, each as soon as there is one."""

    def __init__(self, config: Config, limits: Latest[Limits], disk: OneThread, sealer: Sealer) -> None:
        self._config = config
        self._limits = limits
        self._disk = disk
        self._sealer = sealer
        self._runtime: Runtime | None = None
        self._library: Library | None = None
        self.scheduler: Scheduler | None = None

    @property
    def library(self) -> Library:
        """What is installed."""
        assert self._library is not None  # noqa: S101 - `open_library` comes before anybody is served
        return self._library

    def open_library(self) -> Library:
        """Blocks: call it on the disk's thread."""
        self._library = Library(
            Path(self._config.paths.state) / "models", self._preflight, sealer=self._sealer
        )
        self._library.watch()
        return self._library

    async def start(self, library: Library) -> tuple[Scheduler, Engine]:
        """Import and prove what runs models."""
        from edged.inference.kernels import seam  # noqa: PLC0415 - numpy and TFLite come with the first model
        from edged.inference.scheduler import Scheduler  # noqa: PLC0415 - likewise

        runtime = await self._disk.run(self._proven_runtime)
        kernels, reason = seam.choose(
            self._config.inference.kernels, Path(self._config.paths.cache) / "kernels"
        )
        LOG.info(
            "engine runtime=%s-%s kernels=%s reason=%s", runtime.name, runtime.version, kernels.name, reason
        )
        self.scheduler = Scheduler(self._config.inference, library, runtime, kernels, self._limits)
        engine = Engine(
            runtime=f"{runtime.name} {runtime.version}", kernels=kernels.name, kernels_reason=reason
        )
        return self.scheduler, engine

    def status(self) -> stats.Status | None:
        """What it has done; None before the first model serves."""
        return self.scheduler.status() if self.scheduler else None

    def times(self) -> Mapping[str, Histogram]:
        """How long answers took, by model."""
        return self.scheduler.times() if self.scheduler else {}

    def limits_changed(self) -> None:
        """Have the new limits obeyed at once."""
        if self.scheduler is not None:
            self.scheduler.limits_changed()

    def _preflight(self, trial: Trial) -> Report:
        from edged.inference.trial.preflight import Preflight  # noqa: PLC0415 - only who installs a model needs it

        return Preflight(self._proven_runtime().key)(trial)

    def _proven_runtime(self) -> Runtime:
        from edged.inference import runtime  # noqa: PLC0415 - numpy and TFLite come with the first model

        if self._runtime is None:
            self._runtime = runtime.choose(self._config.inference.runtime)
        return self._runtime
