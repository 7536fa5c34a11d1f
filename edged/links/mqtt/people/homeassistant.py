"""How Home Assistant learns what the device is: one discovery message for all of its entities. Pure.

Source: home-assistant.io, MQTT integration, "Device discovery payload". Long keys are used, not their abbreviations.
Every entity reads one JSON document, `up/now`; whether the device is there, `up/status`. None takes a command.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from hashlib import sha256
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from edged.links.mqtt.people.vitals import Identity, Now, Topics

ONLINE: Final = b"online"
"""What Home Assistant says of itself when it comes back."""

Component = dict[str, Any]


class _Entity(msgspec.Struct, frozen=True):
    platform: Annotated[str, Meta(pattern=r"^[a-z_]{1,32}$(?!\n)")]


class _Earlier(msgspec.Struct, frozen=True):
    components: dict[str, _Entity]


class Announcement(msgspec.Struct, frozen=True, kw_only=True):
    """Where the device is announced, and as what."""

    prefix: str
    name: str
    identity: Identity

    @property
    def object_id(self) -> str:
        """The device's id in the letters that Home Assistant allows; two devices never share one."""
        device = self.identity.device
        safe = re.sub(r"[^a-zA-Z0-9_-]", "_", device)
        return safe if safe == device else f"{safe}_{sha256(device.encode()).hexdigest()[:8]}"

    @property
    def topic(self) -> str:
        """Retained."""
        return f"{self.prefix}/device/{self.object_id}/config"

    @property
    def birth(self) -> str:
        """Where Home Assistant says that it is back."""
        return f"{self.prefix}/status"


def components(now: Now, has: Collection[str], *, models: bool = True) -> dict[str, Component]:
    """Every entity of the device as it is, by what names it within the device; `has` as in `Look`."""
    found = _board(now)
    if "heat" in has:
        found["temperature"] = _measured(
            "Temperature", "value_json.temperature_c", "°C", 1, device_class="temperature"
        )
    if "battery" in has:
        found |= _battery()
    for name in sorted(now.models) if models else ():
        found |= _model(name)
    return found


def payload(to: Announcement, entities: Mapping[str, Component], gone: Mapping[str, Component]) -> bytes:
    """The discovery message; what is `gone` was announced before and is told to be removed."""
    me, topics = to.identity, Topics(to.identity.device)
    announced = {
        key: {"unique_id": f"edged_{to.object_id}_{key}", **entity} for key, entity in entities.items()
    }
    removed = {key: {"platform": entity["platform"]} for key, entity in gone.items() if key not in entities}
    document = {
        "device": {
            "identifiers": [f"edged_{to.object_id}"],
            "name": to.name or me.device,
            "manufacturer": "edged",
            "model": me.board,
            "sw_version": me.version,
        },
        "origin": {"name": "edged", "sw_version": me.version},
        "availability": [{"topic": topics.status, "value_template": "{{ value_json.state }}"}],
        "state_topic": topics.now,
        "qos": 1,
        "components": announced | removed,
    }
    return msgspec.json.encode(document)


def announced(payload: bytes) -> dict[str, Component]:
    """What it takes to remove the entities of an earlier discovery message; nothing for what is none."""
    try:
        earlier = msgspec.json.decode(payload, type=_Earlier)
    except msgspec.DecodeError:  # also where it is no UTF-8, or has another shape
        return {}
    return {key: {"platform": entity.platform} for key, entity in earlier.components.items()}


def _board(now: Now) -> dict[str, Component]:
    return {
        "band": _said("Throttle band", "value_json.band", "mdi:speedometer"),
        "reason": _said("Throttle reason", "value_json.reason", "mdi:comment-question-outline"),
        "models": _said("Active models", "value_json.active", "mdi:brain"),
        **{f"problem_{group}": _problem(group) for group in now.problem},
    }


def _battery() -> dict[str, Component]:
    return {
        "battery": _measured("Battery", "value_json.battery_pct", "%", 0, device_class="battery"),
        "mains": _flag("Mains", "value_json.mains", device_class="plug"),
    }


def _model(name: str) -> dict[str, Component]:
    """Its name is in brackets: Jinja takes `models.items` for the method of a dictionary."""
    shown, at = name.replace("_", " "), f"value_json.models['{name}']"
    return {
        f"model_{name}_rate": _measured(f"{shown} rate", f"{at}.rate_hz", "Hz", 2, device_class="frequency"),
        f"model_{name}_latency": _measured(
            f"{shown} latency", f"{at}.p50_ms", "ms", 1, device_class="duration"
        ),
        f"model_{name}_latency_p99": _measured(
            f"{shown} latency p99", f"{at}.p99_ms", "ms", 1, device_class="duration"
        ),
    }


def _problem(group: str) -> Component:
    """Likewise in brackets: there is a group `keys`."""
    shown = group.capitalize()
    flag = _flag(f"{shown} problem", f"value_json.problem['{group}']", device_class="problem")
    return {**flag, "entity_category": "diagnostic"}


def _measured(name: str, path: str, unit: str, digits: int, *, device_class: str) -> Component:
    """A number; what is null is rendered as None, which Home Assistant shows as unknown."""
    return {
        "platform": "sensor",
        "name": name,
        "value_template": _template(path),
        "device_class": device_class,
        "unit_of_measurement": unit,
        "state_class": "measurement",
        "suggested_display_precision": digits,
    }


def _said(name: str, path: str, icon: str) -> Component:
    return {
        "platform": "sensor",
        "name": name,
        "value_template": _template(path),
        "icon": icon,
        "entity_category": "diagnostic",
    }


def _flag(name: str, path: str, *, device_class: str) -> Component:
    """What is true or false, as Python writes it when a template renders it."""
    return {
        "platform": "binary_sensor",
        "name": name,
        "value_template": _template(path),
        "payload_on": "True",
        "payload_off": "False",
        "device_class": device_class,
    }


def _template(path: str) -> str:
    return "{{ " + path + " }}"
