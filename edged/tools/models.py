"""Tools that show and change which models the device has."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Protocol

import msgspec
from msgspec import Meta

from edged.errors import Throttled
from edged.inference.gate import DWELL_S
from edged.inference.manifest import Manifest, Name, Variant, Version
from edged.inference.models.library import Slot
from edged.inference.trial.report import Report
from edged.limits import Limits
from edged.mcp.catalog import Annotations, Call, Job, Link, Tier, Tool, ToolResult, Work
from edged.tools.arguments import Bytes, Sources
from edged.tools.device import READ_ONLY, Nothing
from edged.tools.uris import JSON, model_uri

CHANGES = Annotations(read_only=False, destructive=False, idempotent=True)
RETURNS = Annotations(read_only=False, destructive=False, idempotent=False)
"""A second rollback undoes the first."""
DESTROYS = Annotations(read_only=False, destructive=True, idempotent=True)
"""Destructive is what no other tool can undo. To do it twice is an error the second time, and changes nothing."""

LINES_MAX = 20
"""Of a list as text."""

Progress = Callable[[str, int], None]
"""What is being done, and how many bytes that read."""


class ModelFile(Bytes, frozen=True, kw_only=True):
    """One file of a model version."""

    name: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}$(?!\n)")]


class Add(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A model version to install."""

    manifest: Annotated[str, Meta(max_length=1 << 20, description="manifest.toml, as text")]
    files: Annotated[list[ModelFile], Meta(max_length=64, description="Every file the manifest names")]
    activate: Annotated[bool, Meta(description="Serve it at once when it passes its pre-flight")] = False


class Which(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A model and one of its versions."""

    name: Name
    version: Version


class WhichModel(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A model."""

    name: Name


class Removal(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A model, or one of its versions."""

    name: Name
    version: Annotated[Version | None, Meta(description="Default: every version")] = None


class VariantEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One variant: what the manifest says of it, and what its pre-flight measured here."""

    name: str
    cost: float
    accuracy: float | None
    invoke_ms: float | None
    memory_bytes: int | None

    @classmethod
    def of(cls, variant: Variant, report: Report | None) -> VariantEntry:
        """A variant with its report; None where the record of it is damaged."""
        return cls(
            name=variant.name,
            cost=variant.cost,
            accuracy=variant.accuracy,
            invoke_ms=round(report.invoke_ms, 3) if report else None,
            memory_bytes=report.memory_bytes if report else None,
        )


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One installed version; its resource has the rest."""

    name: str
    version: str
    uri: str
    """Resource with what it takes and gives, its tensors, its labels and what it has done."""
    state: str
    """active, ready, or quarantined."""
    reason: str | None
    """Why it is quarantined."""
    previous: bool
    """Whether a rollback leads here."""
    private: bool
    """Whether its files lie on the disk only encrypted."""
    bytes: int
    title: str | None
    licence: str | None
    source: str | None
    variants: list[VariantEntry]

    @classmethod
    def of(cls, slot: Slot, manifest: Manifest | None) -> Entry:
        """A slot with what its manifest says; None where that is damaged."""
        return cls(
            name=slot.name,
            version=slot.version,
            uri=model_uri(slot.name),
            state=slot.state.value,
            reason=slot.reason,
            previous=slot.previous,
            private=manifest is not None and manifest.private,
            bytes=slot.size_bytes,
            title=manifest.title if manifest else None,
            licence=manifest.licence if manifest else None,
            source=manifest.source if manifest else None,
            variants=[VariantEntry.of(v, slot.reports.get(v.name)) for v in manifest.variants]
            if manifest
            else [],
        )


class Entries(msgspec.Struct, frozen=True, kw_only=True):
    """Every installed version, by name and version."""

    models: list[Entry]


class Changed(msgspec.Struct, frozen=True, kw_only=True):
    """What was done."""

    name: str
    version: str | None
    """None for all of them."""
    state: str
    """active, ready, or removed."""


class Models(Protocol):
    """What these tools need of the daemon; each call returns when the change is on disk and served."""

    def entries(self) -> Awaitable[list[Entry]]: ...  # noqa: D102 - a port
    def add(self, manifest: str, files: dict[str, bytes], progress: Progress) -> Awaitable[Entry]: ...  # noqa: D102
    def activate(self, name: str, version: str) -> Awaitable[Entry]: ...  # noqa: D102
    def rollback(self, name: str) -> Awaitable[Entry]: ...  # noqa: D102
    def remove(self, name: str, version: str | None) -> Awaitable[None]: ...  # noqa: D102


class ModelTools:
    """The handlers, over one `Models`."""

    def __init__(self, models: Models, sources: Sources, limits: Callable[[], Limits]) -> None:
        self._models = models
        self._sources = sources
        self._limits = limits

    def tools(self) -> list[Tool]:
        """The tools, in the order a person meets them."""
        operator: dict[str, Any] = {"tier": Tier.OPERATOR, "result": Changed}
        return [
            Tool(
                name="models_list",
                title="List models",
                description="Every installed model version with its state, licence and variants.",
                arguments=Nothing,
                result=Entries,
                handler=self._list,
                tier=Tier.READ,
                annotations=READ_ONLY,
            ),
            Tool(
                name="models_add",
                title="Install a model version",
                description="Checks every hash, runs the model once in a separate process, and keeps it ready; "
                "the active version goes on serving. Each active model is a tool infer_<name>.",
                arguments=Add,
                handler=self._add,
                annotations=CHANGES,
                **operator,
            ),
            Tool(
                name="models_activate",
                title="Serve a model version",
                description="Makes an installed version the one that answers infer_<name>.",
                arguments=Which,
                handler=self._activate,
                annotations=CHANGES,
                **operator,
            ),
            Tool(
                name="models_rollback",
                title="Return to the previous version",
                description="Makes the version that served before the active one serve again.",
                arguments=WhichModel,
                handler=self._rollback,
                annotations=RETURNS,
                **operator,
            ),
            Tool(
                name="models_remove",
                title="Remove a model",
                description="Deletes a version that is not active, or with no version the whole model.",
                arguments=Removal,
                handler=self._remove,
                annotations=DESTROYS,
                frees=True,
                **operator,
            ),
        ]

    async def _list(self, _call: Call, _arguments: Nothing) -> ToolResult:
        entries = await self._models.entries()
        return ToolResult(structured=Entries(models=entries), text=_listed(entries))

    def _add(self, call: Call, arguments: Add) -> Job:
        if not (limits := self._limits()).updates_allowed:
            raise Throttled(f"no models are installed now: {limits.reason}", DWELL_S)
        files = {
            file.name: bytes(self._sources.resolve(call, file, f"$.files[{index}]"))
            for index, file in enumerate(arguments.files)
        }
        return Job(lambda work: self._install(work, arguments, files), message="installing")

    async def _install(self, work: Work, arguments: Add, files: dict[str, bytes]) -> ToolResult:
        total_bytes = sum(map(len, files.values()))
        done_bytes = 0

        def report(what: str, read_bytes: int) -> None:
            nonlocal done_bytes
            done_bytes += max(read_bytes, 1)
            work.progress(done_bytes, max(total_bytes, done_bytes), what)

        entry = await self._models.add(arguments.manifest, files, report)
        if arguments.activate:
            entry = await self._models.activate(entry.name, entry.version)
        return _changed(entry.name, entry.version, entry.state)

    async def _activate(self, _call: Call, arguments: Which) -> ToolResult:
        entry = await self._models.activate(arguments.name, arguments.version)
        return _changed(entry.name, entry.version, entry.state)

    async def _rollback(self, _call: Call, arguments: WhichModel) -> ToolResult:
        entry = await self._models.rollback(arguments.name)
        return _changed(entry.name, entry.version, entry.state)

    async def _remove(self, _call: Call, arguments: Removal) -> ToolResult:
        await self._models.remove(arguments.name, arguments.version)
        return _changed(arguments.name, arguments.version, "removed")


def _listed(entries: list[Entry]) -> str:
    """A line a version; a few names stand for many, which are in the structured answer."""
    lines = [f"{entry.name} {entry.version} {entry.state}" for entry in entries[:LINES_MAX]]
    if more := len(entries) - len(lines):
        lines.append(f"and {more} more")
    return "\n".join(lines) or "no models installed"


def _changed(name: str, version: str | None, state: str) -> ToolResult:
    """What was done, and where to go on: the tool to call, the resource to read."""
    then = f"; call infer_{name}" if state == "active" else ""
    link = Link(uri=model_uri(name), name=name, description=f"Model {name}", mime=JSON)
    return ToolResult(
        structured=Changed(name=name, version=version, state=state),
        text=f"{name} {version or '(every version)'}: {state}{then}",
        content=() if state == "removed" else (link,),
    )
