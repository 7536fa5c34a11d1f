from __future__ import annotations

from pathlib import Path

import pytest

from edged.inference.kernels.seam import Kernels
from tests.rig.kernels import BACKENDS, backend, library


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """A directory with compiled kernels, the same for all workers of one run."""
    base = tmp_path_factory.getbasetemp()
    return library(base if worker_id == "master" else base.parent)


@pytest.fixture(scope="session", params=BACKENDS)
def kernels(request: pytest.FixtureRequest, compiled: Path) -> Kernels:
    """Each backend in turn."""
    return backend(request.param, compiled)
