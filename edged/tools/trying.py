"""How to try a model, from where it stands now: absent, barred, ready or serving. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec

from edged.errors import BadArgument
from edged.mcp.catalog import Tier
from edged.tools.documents import ModelDocument, VersionPart

MiB: Final = 1 << 20

INPUTS: Final = {
    "image": 'a picture: {"image": {"data": "<base64 of a JPEG or PNG>"}}',
    "audio": 'a recording: {"audio": {"data": "<base64 of a WAV>"}}',
    "vector": 'readings in natural units: {"values": {"<name>": <number>, ...}}',
    "tensor": 'its input tensors: {"tensors": [[<number>, ...], ...]}',
}


class Plan(NamedTuple):
    """What is known, what to do, and the tool to call next."""

    known: list[str]
    steps: list[str]
    next: str


def absent(name: str, installed: Sequence[str], tier: Tier) -> Plan:
    """For a model that is not there."""
    there = ", ".join(installed) or "none"
    known = [f"{name} is not installed; installed: {there}."]
    if tier < Tier.OPERATOR:
        return Plan(
            known,
            [f"Ask an operator to install it: `edged models add FOLDER` with {name}'s manifest."],
            "models_list",
        )
    steps = [
        "Have its manifest.toml and every file that names (docs/models.md shows one).",
        "Call models_add with them, without activate: hashes are checked, and it is run in a process of its own.",
        "If it is refused, the error says what to mend: nothing was changed.",
        f"Get this prompt again for {name}: it goes on from there.",
    ]
    return Plan(known, steps, "models_add")


def present(model: ModelDocument, version: str | None, label: str | None, tier: Tier) -> Plan:
    """For an installed model; raises BadArgument for a version that is not there."""
    chosen = _chosen(model, version)
    if chosen.state == "quarantined":
        return _barred(model, chosen)
    if chosen.state == "active":
        return _serving(model, chosen, label, tier)
    return _ready(model, chosen, label, tier)


def _chosen(model: ModelDocument, version: str | None) -> VersionPart:
    wanted = version or model.active or model.versions[-1].version
    for part in model.versions:
        if part.version == wanted:
            return part
    known = ", ".join(part.version for part in model.versions)
    raise BadArgument(f"$.version: {model.name} has no version {wanted[:32]!r}; installed: {known}")


def _barred(model: ModelDocument, chosen: VersionPart) -> Plan:
    serves = f"version {model.active} serves" if model.active else "no version serves"
    known = [
        f"{model.name} {chosen.version} is barred: {(chosen.reason or 'unknown').rstrip('.')}.",
        f"Now {serves}.",
    ]
    steps = [
        "Do not activate it; that is refused.",
        "Mend what the reason names, and install the result under a new version.",
    ]
    return Plan(known, steps, "models_list")


def _ready(model: ModelDocument, chosen: VersionPart, label: str | None, tier: Tier) -> Plan:
    serves = f"version {model.active} serves until then" if model.active else "no version of it serves yet"
    known = [
        f"{model.name} {chosen.version} is installed and passed its trial; {serves}.",
        *_measured(chosen),
    ]
    which = msgspec.json.encode({"name": model.name, "version": chosen.version}).decode()
    if tier < Tier.OPERATOR:
        steps = [
            f"Ask an operator to serve it: `edged models activate {model.name} {chosen.version}`.",
            *_test(model, label),
        ]
        return Plan(known, steps, "models_list")
    before = (
        [f"Ask infer_{model.name} about your test input first, and keep the answer to compare."]
        if model.active
        else []
    )
    undo = (
        f'If it is worse, call models_rollback with {{"name": "{model.name}"}}.'
        if model.active
        else ("If it is no good, call models_remove with its name.")
    )
    return Plan(
        known,
        [*before, f"Call models_activate with {which}.", *_test(model, label), undo],
        f"models_activate {which}",
    )


def _serving(model: ModelDocument, chosen: VersionPart, label: str | None, tier: Tier) -> Plan:
    work = model.work
    failed = sum(work.errors.values())
    known = [
        f"{model.name} {chosen.version} serves; since the start {work.answered} answers, {failed} failed.",
        *_measured(chosen),
    ]
    steps = _test(model, label)
    previous = next((part.version for part in model.versions if part.previous), None)
    if previous and tier >= Tier.OPERATOR:
        steps.append(
            f'If it is no good, call models_rollback with {{"name": "{model.name}"}}: version {previous} serves again.'
        )
    elif previous:
        steps.append(
            f"If it is no good, tell an operator: `edged models rollback {model.name}` returns to {previous}."
        )
    return Plan(known, steps, f"infer_{model.name}")


def _test(model: ModelDocument, label: str | None) -> list[str]:
    kind = str((model.input or {}).get("kind", "tensor"))
    expected = (
        f"Expect {label!r} first, and clearly ahead of the next."
        if label
        else (
            "Send inputs whose answer you know: a clear one, a doubtful one, and one it should find nothing in."
        )
    )
    return [
        f"Call infer_{model.name} with {INPUTS[kind]}.",
        expected,
        f"Repeat it a few times, then read {model.uri}: its work says how sound and fast it is.",
    ]


def _measured(chosen: VersionPart) -> list[str]:
    """What its trial measured on this board, a sentence for all variants."""
    said = [
        f"{v.name} {v.invoke_ms:.2g} ms and {v.memory_bytes / MiB:.0f} MiB"
        for v in chosen.variants
        if v.invoke_ms is not None and v.memory_bytes is not None
    ]
    return [f"Its trial measured here, without preparing the input: {'; '.join(said)}."] if said else []
