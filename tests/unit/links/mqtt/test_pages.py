"""The pages for the fleet and for Home Assistant say what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from edged.limits import Limits
from edged.links.mqtt.people.config import HomeAssistantConfig, StateConfig
from edged.links.mqtt.people.homeassistant import components
from edged.links.mqtt.people.vitals import Alert, ModelSample, Now, Sample, Status, Topics
from edged.links.spool.packing import DamageAlert, GapAlert
from edged.power.bands import BATTERY, FIRMWARE, HEAT, MEMORY_FREE, UNDERVOLTAGE
from edged.tools.problems import CODES
from tests.rig.telling import Device

DOCS = Path(__file__).parents[4] / "docs"
PAGE = (DOCS / "telemetry.md").read_text()
HOUSE = (DOCS / "home-assistant.md").read_text()
ROW = re.compile(r"^\| (?P<first>[^|]+?) \|(?P<rest>.*)\|$", re.MULTILINE)


def table(heading: str, number: int = 0) -> list[tuple[str, list[str]]]:
    """The rows of a section's table: the names in the first column, and the other cells."""
    section = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    tables = [block for block in section.split("\n\n") if block.lstrip().startswith("|")]
    rows = [match for match in ROW.finditer(tables[number]) if "`" in match["first"]]
    return [(match["first"], [cell.strip() for cell in match["rest"].split("|")]) for match in rows]


def fields(heading: str, number: int = 0) -> list[str]:
    return [name for first, _ in table(heading, number) for name in re.findall(r"`(\w+)`", first)]


@pytest.mark.parametrize(
    ("kind", "heading", "number"),
    [(Alert, "Alerts", 2), (Status, "Status", 0), (Sample, "Samples", 0), (ModelSample, "Samples", 1)],
)
def test_every_field_is_in_its_table_and_no_other_is(
    kind: type[msgspec.Struct], heading: str, number: int
) -> None:
    assert sorted(fields(heading, number)) == sorted(kind.__struct_fields__)


def test_what_the_newest_sample_has_beside_is_in_its_table() -> None:
    assert set(fields("Samples", 2)) == set(Now.__struct_fields__) - set(Sample.__struct_fields__)


def test_every_code_is_in_the_table_as_it_is() -> None:
    rows = {first.strip("`"): (cells[0], cells[2]) for first, cells in table("Alerts")}
    assert rows == {code: (kind.severity, kind.means) for code, kind in CODES.items()}


@pytest.mark.parametrize(("code", "kind"), [("spool.gap", GapAlert), ("spool.damaged", DamageAlert)])
def test_what_the_outbox_says_of_itself_is_in_its_table(code: str, kind: type[Alert]) -> None:
    rows = {first.strip("`"): cells[2] for first, cells in table("Alerts", 1)}
    named = set(re.findall(r"`(\w+)`", rows[code])) - {"evicted", "expired"}
    assert named == set(kind.__struct_fields__) - set(Alert.__struct_fields__)


def test_every_topic_is_in_the_table() -> None:
    topics = Topics("{dev}")
    written = re.findall(r"^\| `(edged/v1/\S+)` \|", PAGE, re.MULTILINE)
    assert written == [topics.status, topics.now, topics.telemetry, topics.alert]


def test_every_band_is_named() -> None:
    named = {step.band for step in (*BATTERY, *UNDERVOLTAGE, *FIRMWARE, *MEMORY_FREE)}
    (cell,) = (cells[0] for first, cells in table("Status") if first == "`band`")
    assert set(re.findall(r"`([a-z-]+)`", cell)) == {Limits().band, *HEAT, *named}


def test_the_tree_shows_the_entities_there_are() -> None:
    device = Device()
    device.raws |= {"battery.percent": 81.0, "battery.mains": 1.0}
    device.install("face")
    device.sense()
    look = device.telemetry.look(sampled=True)
    tree = HOUSE.partition("```text\n")[2].partition("```")[0]
    shown = re.findall(r"[├└]── (\S.*?)  ", tree)
    names = {
        entity["name"]: entity.get("entity_category") for entity in components(look.now, look.has).values()
    }
    assert set(shown) == set(names)
    diagnostic = re.findall(r"^    [├└]── (\S.*?)  ", tree, re.MULTILINE)
    assert {name for name, category in names.items() if category == "diagnostic"} == set(diagnostic)


def test_the_settings_shown_are_the_defaults() -> None:
    shown = dict(
        re.findall(r"^(\w+) = (\S+) ", HOUSE.partition("```toml\n")[2].partition("```")[0], re.MULTILINE)
    )
    defaults = {
        name: msgspec.json.encode(value).decode()
        for name, value in msgspec.structs.asdict(HomeAssistantConfig()).items()
    }
    assert shown == defaults


def test_every_setting_has_a_word_on_a_page() -> None:
    for name in StateConfig.__struct_fields__:
        assert re.search(rf"\b{name}\b", PAGE + HOUSE), name
