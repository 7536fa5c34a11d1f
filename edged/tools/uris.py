"""Names of the resources, and the one format they all have."""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

JSON: Final = "application/json"

DEVICE: Final = "edged://device"
METRICS: Final = "edged://metrics"
NETWORK: Final = "edged://network"
CONFIG: Final = "edged://config"
AUDIT: Final = "edged://audit"
MODEL: Final = "edged://models/{name}"
LABELS: Final = "edged://models/{name}/labels"


def model_uri(name: str) -> str:
    """Where a model is described."""
    return MODEL.format(name=quote(name, safe=""))


def labels_uri(name: str) -> str:
    """Where its labels are."""
    return LABELS.format(name=quote(name, safe=""))
