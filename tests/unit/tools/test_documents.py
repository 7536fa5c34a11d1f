"""The page for agents says what the documents hold: a field without a word there is a field nobody finds."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from edged.links.mqtt.status import Health, McpStatus
from edged.links.spool.status import SpoolStatus, Total
from edged.tools import documents
from edged.tools.board import Board
from edged.tools.device import Engine
from edged.tools.readings import Reading

PAGE = (Path(__file__).parents[3] / "docs" / "agents.md").read_text()
SECTIONS: dict[str, list[type[msgspec.Struct]]] = {
    "edged://device": [documents.DeviceDocument, documents.ModelLine, Board, Engine, Reading],
    "edged://models/{name}": [
        documents.ModelDocument,
        documents.VersionPart,
        documents.VariantPart,
        documents.LoadedPart,
        documents.Work,
        documents.LabelsDocument,
    ],
    "edged://metrics": [documents.MetricsDocument],
    "edged://network": [documents.NetworkDocument, Health, McpStatus, SpoolStatus, Total],
    "edged://config": [documents.ConfigDocument],
}


@pytest.mark.parametrize("uri", SECTIONS)
def test_every_field_is_named_under_its_resource(uri: str) -> None:
    section = PAGE.partition(f"### {uri}\n")[2].partition("\n##")[0]
    named = set(re.findall(r"`([a-z_0-9]+)`", section))
    fields = {field for kind in SECTIONS[uri] for field in kind.__struct_fields__}
    assert fields <= named


def test_every_document_is_covered() -> None:
    covered = {kind for kinds in SECTIONS.values() for kind in kinds}
    defined = {
        kind
        for kind in vars(documents).values()
        if isinstance(kind, type)
        and issubclass(kind, msgspec.Struct)
        and kind.__module__ == documents.__name__
    }
    assert defined <= covered
