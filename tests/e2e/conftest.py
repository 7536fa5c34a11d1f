from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rig import daemon, weights

MODELS = ("face", "digits", "shuttle_radiator", "imagenet", "okay_nabu", "alexa")


@pytest.fixture(scope="session")
def models() -> Path:
    return weights.fetched()


@pytest.fixture(scope="session")
def device(tmp_path_factory: pytest.TempPathFactory, models: Path) -> Iterator[daemon.Daemon]:
    """One daemon with every model, for tests that leave it as it was."""
    with daemon.running(tmp_path_factory.mktemp("device")) as running:
        for name in MODELS:
            running.install(models / name)
        yield running
