from __future__ import annotations

import json
import string
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]  # it ships no types

from edged.links.mqtt.people.homeassistant import Announcement, components, payload
from edged.links.mqtt.people.vitals import ModelSample, Now, Topics, encode
from edged.tools.problems import GROUPS
from tests.rig.jinja import render
from tests.rig.telling import ME

HOUSE = Announcement(prefix="homeassistant", name="", identity=ME)
EVERYTHING = frozenset({"heat", "battery"})
NOW = Now(
    at=1.0,
    uptime_s=1.0,
    band="hot",
    cause="heat",
    temperature_c=74.5,
    battery_pct=81.0,
    mains=False,
    models={
        "face": ModelSample(version="1.0", rate_hz=2.5, p50_ms=8.25, p99_ms=20.0),
        "items": ModelSample(version="3"),
    },
    reason="hot: heat.cpu reached 74.5 °C",
    active="face 1.0, items 3",
    problem={group: group in {"heat", "keys"} for group in GROUPS},
)

# home-assistant.io, MQTT: "Device discovery payload", "MQTT Sensor", "MQTT binary sensor"; no abbreviations
STRING: dict[str, Any] = {"type": "string", "minLength": 1}
TOPIC: dict[str, Any] = {"type": "string", "pattern": r"^[^+#\u0000]+$"}
COMMON: dict[str, Any] = {
    "platform": STRING,
    "name": STRING,
    "unique_id": {"type": "string", "pattern": "^[a-zA-Z0-9_-]+$"},
    "value_template": {"type": "string", "pattern": r"^\{\{ .* \}\}$"},
    "device_class": STRING,
    "entity_category": {"enum": ["diagnostic", "config"]},
    "icon": {"type": "string", "pattern": "^mdi:[a-z-]+$"},
}
SENSOR = {
    **COMMON,
    "platform": {"const": "sensor"},
    "device_class": {"enum": ["temperature", "battery", "frequency", "duration"]},
    "unit_of_measurement": {"enum": ["°C", "%", "Hz", "ms"]},
    "state_class": {"enum": ["measurement", "total", "total_increasing"]},
    "suggested_display_precision": {"type": "integer", "minimum": 0},
}
BINARY = {
    **COMMON,
    "platform": {"const": "binary_sensor"},
    "device_class": {"enum": ["problem", "plug"]},
    "payload_on": STRING,
    "payload_off": STRING,
}
REMOVED = {
    "type": "object",
    "properties": {"platform": STRING},
    "required": ["platform"],
    "additionalProperties": False,
}


def entity(properties: dict[str, Any]) -> dict[str, Any]:
    needed = ["platform", "name", "unique_id", "value_template"]
    return {"type": "object", "properties": properties, "required": needed, "additionalProperties": False}


DEVICE = {
    "type": "object",
    "properties": {
        "identifiers": {"type": "array", "items": STRING, "minItems": 1},
        **dict.fromkeys(["name", "manufacturer", "model", "sw_version"], STRING),
    },
    "required": ["identifiers"],
    "additionalProperties": False,
}
AVAILABILITY = {
    "type": "object",
    "properties": {
        "topic": TOPIC,
        "value_template": STRING,
        "payload_available": STRING,
        "payload_not_available": STRING,
    },
    "required": ["topic"],
    "additionalProperties": False,
}
DISCOVERY = {
    "type": "object",
    "properties": {
        "device": DEVICE,
        "origin": {
            "type": "object",
            "properties": dict.fromkeys(["name", "sw_version", "support_url"], STRING),
            "required": ["name"],
            "additionalProperties": False,
        },
        "availability": {"type": "array", "items": AVAILABILITY, "minItems": 1},
        "state_topic": TOPIC,
        "qos": {"enum": [0, 1, 2]},
        "components": {
            "type": "object",
            "additionalProperties": {"oneOf": [entity(SENSOR), entity(BINARY), REMOVED]},
            "minProperties": 1,
        },
    },
    "required": ["device", "origin", "components", "availability", "state_topic"],
    "additionalProperties": False,  # so no command_topic
}
VALIDATOR = Draft202012Validator(DISCOVERY)


def announced(now: Now = NOW, **options: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(payload(HOUSE, components(now, EVERYTHING, **options), {}))
    return found


def test_the_announcement_is_what_home_assistant_asks_for() -> None:
    VALIDATOR.validate(announced())


def test_no_entity_takes_a_command() -> None:
    assert "command" not in json.dumps(announced())


RENDERED = {
    "temperature": "74.5",
    "battery": "81.0",
    "mains": "False",
    "band": "hot",
    "reason": "hot: heat.cpu reached 74.5 °C",
    "models": "face 1.0, items 3",
    "model_face_rate": "2.5",
    "model_face_latency": "8.25",
    "model_face_latency_p99": "20.0",
    "model_items_rate": "0.0",
    "model_items_latency": "None",
    "model_items_latency_p99": "None",
    **{f"problem_{group}": str(group in {"heat", "keys"}) for group in GROUPS},
}


@pytest.mark.parametrize("key", sorted(RENDERED))
def test_an_entity_shows_what_the_newest_sample_says(key: str) -> None:
    template = announced()["components"][key]["value_template"]
    assert render(template, json.loads(encode(NOW))) == RENDERED[key]


def test_every_entity_is_among_those_rendered() -> None:
    assert set(announced()["components"]) == set(RENDERED)


def test_a_binary_sensor_knows_each_of_its_states_by_what_is_rendered() -> None:
    for each in announced()["components"].values():
        if each["platform"] == "binary_sensor":
            assert (each["payload_on"], each["payload_off"]) == (str(True), str(False))


def test_a_number_has_a_unit_and_can_be_graphed() -> None:
    for key, each in announced()["components"].items():
        if key in {"temperature", "battery"} or key.startswith("model_"):
            assert each["state_class"] == "measurement"
            assert each["unit_of_measurement"]


def test_a_board_without_a_battery_has_no_entity_for_one() -> None:
    found = components(NOW, frozenset({"heat"}))
    assert {"battery", "mains"}.isdisjoint(found)
    assert "temperature" in found
    assert "temperature" not in components(NOW, frozenset())


def test_whether_the_device_is_there_comes_from_its_status() -> None:
    (availability,) = announced()["availability"]
    assert availability["topic"] == Topics(ME.device).status
    assert (
        render(availability["value_template"], {"state": "offline"}) == "offline"
    )  # Home Assistant's own word


def test_what_is_gone_keeps_only_its_platform() -> None:
    before = components(NOW, EVERYTHING)
    after = components(msgspec.structs.replace(NOW, models={"face": NOW.models["face"]}), EVERYTHING)
    told = json.loads(payload(HOUSE, after, {key: before[key] for key in before if key not in after}))
    VALIDATOR.validate(told)
    gone = {key for key, each in told["components"].items() if set(each) == {"platform"}}
    assert gone == {"model_items_rate", "model_items_latency", "model_items_latency_p99"}


ids = st.text(string.ascii_letters + string.digits + "._-", min_size=1, max_size=64)


@settings(max_examples=30)
@given(ids, ids)
def test_two_devices_never_share_a_topic_or_an_entity(one: str, other: str) -> None:
    def unique(device: str) -> tuple[str, set[str]]:
        house = msgspec.structs.replace(HOUSE, identity=msgspec.structs.replace(ME, device=device))
        document = json.loads(payload(house, components(NOW, EVERYTHING), {}))
        VALIDATOR.validate(document)
        return house.topic, {each["unique_id"] for each in document["components"].values()}

    (topic, entities), (other_topic, other_entities) = unique(one), unique(other)
    if one != other:
        assert topic != other_topic
        assert entities.isdisjoint(other_entities)


names = st.from_regex(r"[a-z][a-z0-9_]{0,62}", fullmatch=True)


@given(names)
def test_every_name_of_a_model_can_stand_in_a_template(name: str) -> None:
    now = msgspec.structs.replace(NOW, models={name: ModelSample(version="1", rate_hz=1.5)})
    document = announced(now)
    VALIDATOR.validate(document)
    assert (
        render(document["components"][f"model_{name}_rate"]["value_template"], json.loads(encode(now)))
        == "1.5"
    )
