"""The inference room as the daemon builds it: a library on disk, a real runtime, real kernels, one scheduler."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import hashlib
import inspect
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from edged.inference import runtime
from edged.inference.config import InferenceConfig
from edged.inference.kernels.plain import PlainKernels
from edged.inference.manifest import Manifest
from edged.inference.models.library import Library
from edged.inference.request import Numbers, Request
from edged.inference.scheduler import Scheduler
from edged.inference.trial.preflight import Preflight
from edged.inference.values import Answer
from edged.limits import UNCONSTRAINED, Limits
from tests.rig.tflite import Builder
from tests.rig.wanted import RUNTIME


@dataclass
class Value:
    """Limits as the daemon hands them over."""

    value: Limits = UNCONSTRAINED


@dataclass
class Room:
    """A library and a scheduler over it."""

    library: Library
    scheduler: Scheduler
    limits: Value = field(default_factory=Value)

    def manifest(self, name: str, version: str = "1") -> Manifest:
        return self.library.manifest(name, version)

    async def ask(
        self, model: str = "tiny", values: Sequence[float] = (1.0, 2.0), **options: object
    ) -> Answer:
        """One call of a model that takes numbers."""
        return await self.scheduler.submit(request(model, values, **options))

    @contextlib.contextmanager
    def held(self, model: str = "tiny") -> Iterator[None]:
        """Keep a loaded model's thread from beginning anything, so that a test decides what waits."""
        worker = next(w for w in self.scheduler._shelf.workers.values() if w.key.name == model)
        busy, go = threading.Event(), threading.Event()

        def hold(_pipeline: object) -> None:
            busy.set()
            go.wait()

        worker._orders.put(hold)
        busy.wait()
        try:
            yield
        finally:
            go.set()


def scenario(**settings: Any) -> Callable[[Callable[..., Awaitable[None]]], Callable[..., None]]:
    """Make `async def test(here, …)` a test: a room with these settings over the `models` fixture's library."""

    def wrap(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
        def run(models: Library, **arguments: Any) -> None:
            async def main() -> None:
                async with asyncio.timeout(60), opened(models, InferenceConfig(**settings)) as here:
                    await test(here, **arguments)

            asyncio.run(main(), debug=False)

        _here, *others = inspect.signature(test).parameters.values()
        models = inspect.Parameter("models", inspect.Parameter.KEYWORD_ONLY)
        others = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in others]
        functools.update_wrapper(run, test)
        run.__signature__ = inspect.Signature([models, *others])  # type: ignore[attr-defined] # what pytest reads
        return run

    return wrap


def request(
    model: str = "tiny", values: Sequence[float] | Mapping[str, float] = (1.0, 2.0), **options: object
) -> Request:
    """A call of a model that takes numbers."""
    return msgspec.structs.replace(Request(model=model, given=Numbers(values), peer="peer"), **options)


def library(root: Path) -> Library:
    """An empty library with a real pre-flight."""
    root.mkdir(parents=True, exist_ok=True)
    return Library(root, Preflight(RUNTIME))


@contextlib.asynccontextmanager
async def opened(
    models: Library, config: InferenceConfig | None = None, limits: Limits = UNCONSTRAINED
) -> AsyncIterator[Room]:
    """A room that serves every active version, and leaves no thread behind."""
    value = Value(limits)
    scheduler = Scheduler(config or InferenceConfig(), models, runtime.choose(RUNTIME), PlainKernels(), value)
    for slot in models.active():
        scheduler.serve(models.manifest(slot.name, slot.version))
    before = threading.active_count()
    try:
        yield Room(models, scheduler, value)
    finally:
        await scheduler.close()
        await asyncio.sleep(0)
        assert not [t for t in threading.enumerate() if t.name.startswith("model-") and _stays(t)], before


def _stays(thread: threading.Thread) -> bool:
    thread.join(timeout=10.0)
    return thread.is_alive()


def install(models: Library, folder: Path) -> None:
    """Admit and activate a model from a folder."""
    text = (folder / "manifest.toml").read_text()
    manifest = models.add(
        text, {file.name: file for file in folder.iterdir() if file.name != "manifest.toml"}
    )
    models.activate(manifest.name, manifest.version)


def install_linear(
    models: Library,
    name: str = "tiny",
    version: str = "1",
    *,
    weights: Sequence[Sequence[float]] = ((1.0, 0.0), (0.0, 1.0)),
    variants: Sequence[str] = ("f32",),
    output: str = 'kind = "classification"\nlabels = ["left", "right"]',
) -> None:
    """Admit and activate a model that multiplies numbers a, b, … by a matrix; every variant is the same file."""
    names = [chr(ord("a") + index) for index in range(len(weights[0]))]
    given = f'kind = "vector"\nnames = {names}\nmean = {[0.0] * len(names)}\nstd = {[1.0] * len(names)}'
    _install(models, (name, version), linear(weights), (given, output), variants)


def install_file(models: Library, name: str, content: bytes, inputs: int) -> None:
    """Admit and activate a .tflite file that takes so many numbers a, b, … and gives bare tensors."""
    names = [chr(ord("a") + index) for index in range(inputs)]
    given = f'kind = "vector"\nnames = {names}\nmean = {[0.0] * inputs}\nstd = {[1.0] * inputs}'
    _install(models, (name, "1"), content, (given, 'kind = "tensors"'), ["f32"])


def install_tensors(models: Library, name: str) -> None:
    """Admit and activate a model that gives back its two inputs, as bare tensors."""
    parts = 'kind = "tensor"', 'kind = "tensors"'
    _install(models, (name, "1"), linear([[1.0, 0.0], [0.0, 1.0]]), parts, ["f32"])


def linear(weights: Sequence[Sequence[float]]) -> bytes:
    """A .tflite file: y = weights x."""
    build = Builder()
    x = build.tensor("x", (1, len(weights[0])))
    y = build.tensor("y", (1, len(weights)))
    build.fully_connected(x, weights, [0.0] * len(weights), y)
    return build.finish([x], [y])


def _install(
    models: Library,
    label: tuple[str, str],
    content: bytes,
    parts: tuple[str, str],
    variants: Sequence[str],
) -> None:
    name, version = label
    digest = hashlib.sha256(content).hexdigest()
    file = f"{name}.tflite"
    text = f"""
schema = 1
name = "{name}"
version = "{version}"
title = "A matrix"
description = "Built for a test"
licence = "Apache-2.0"
source = "tests/rig"
[input]
{parts[0]}
[output]
{parts[1]}
"""
    text += "".join(f'[[variants]]\nname = "{v}"\nfile = "{file}"\nsha256 = "{digest}"\n' for v in variants)
    models.add(text, {file: content})
    models.activate(name, version)
