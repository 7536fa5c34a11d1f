"""The inference room as the daemon builds it: a library on disk, a real runtime, real kernels, one scheduler."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import threading
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from edged.inference import runtime
from edged.inference.config import InferenceConfig
from edged.inference.kernels.plain import PlainKernels
from edged.inference.library import Library
from edged.inference.manifest import Manifest
from edged.inference.preflight import Preflight
from edged.inference.request import Numbers, Request
from edged.inference.scheduler import Scheduler
from edged.inference.values import Answer
from edged.limits import UNCONSTRAINED, Limits
from tests.rig.tflite import Builder


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
        worker = next(w for w in self.scheduler._workers.values() if w.key.name == model)
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


def request(
    model: str = "tiny", values: Sequence[float] | Mapping[str, float] = (1.0, 2.0), **options: object
) -> Request:
    """A call of a model that takes numbers."""
    return msgspec.structs.replace(Request(model=model, given=Numbers(values), peer="peer"), **options)


def library(root: Path) -> Library:
    """An empty library with a real pre-flight."""
    root.mkdir(parents=True, exist_ok=True)
    return Library(root, Preflight("litert"))


@contextlib.asynccontextmanager
async def opened(
    models: Library, config: InferenceConfig | None = None, limits: Limits = UNCONSTRAINED
) -> AsyncIterator[Room]:
    """A room that serves every active version, and leaves no thread behind."""
    value = Value(limits)
    scheduler = Scheduler(
        config or InferenceConfig(), models, runtime.choose("litert"), PlainKernels(), value
    )
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
    output: str = 'kind = "classification"\nlabels = ["left", "right"]\ntop_k = 2',
) -> None:
    """Admit and activate a model that multiplies numbers a, b, … by a matrix; every variant is the same file."""
    content = linear(weights)
    digest = hashlib.sha256(content).hexdigest()
    inputs = [chr(ord("a") + index) for index in range(len(weights[0]))]
    parts = "".join(
        f'[[variants]]\nname = "{v}"\nfile = "{name}.tflite"\nsha256 = "{digest}"\n' for v in variants
    )
    text = (
        f'schema = 1\nname = "{name}"\nversion = "{version}"\ntitle = "Linear"\ndescription = "A matrix"\n'
        f'licence = "Apache-2.0"\nsource = "built here"\n'
        f'[input]\nkind = "vector"\nnames = {inputs!r}\nmean = {[0.0] * len(inputs)}\nstd = {[1.0] * len(inputs)}\n'
        f"[output]\n{output}\n{parts}"
    )
    models.add(text, {f"{name}.tflite": content})
    models.activate(name, version)


def linear(weights: Sequence[Sequence[float]]) -> bytes:
    """A .tflite file: y = weights x."""
    build = Builder()
    x = build.tensor("x", (1, len(weights[0])))
    y = build.tensor("y", (1, len(weights)))
    build.fully_connected(x, weights, [0.0] * len(weights), y)
    return build.finish([x], [y])
