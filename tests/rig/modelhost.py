"""The real daemon as a host for guest models: each is added, served, invoked ten times over its socket, and removed.

A healthy model serves all the while and answers after every guest, so that damage done quietly shows as well.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from edged.cli.resources import document
from edged.errors import EdgedError, Unreachable
from edged.links.unix_client import UnixClient
from edged.mcp.client import CallResult
from tests.rig.daemon import Daemon, spawn, write_config

INVOKES = 10
ADD_S = 120.0
INVOKE_S = 30.0
ANY_MODEL = """
schema = 1
name = "{name}"
version = "1"
title = "Any tensors"
description = "A model that may have any shape"
licence = "none"
source = "tests"
input.kind = "tensor"
output.kind = "tensors"
[[variants]]
name = "only"
file = "model.tflite"
sha256 = "{sha256}"
"""


class Outcome(NamedTuple):
    """What became of one model file."""

    admitted: bool
    said: str
    """Why it was refused, or what was answered after it was admitted; empty where it just ran."""
    healthy: bool
    """Whether the healthy model still answers as it did."""


class Died(NamedTuple):
    """The daemon did not survive a model."""

    status: int
    stderr: str


def any_model(name: str, content: bytes) -> str:
    """A manifest that fits whatever tensors a model has."""
    return ANY_MODEL.format(name=name, sha256=hashlib.sha256(content).hexdigest())


class ModelHost:
    """One daemon and a connection to it."""

    def __init__(self, device: Daemon, healthy: bytes) -> None:
        self._device = device
        self._client = UnixClient(device.socket)
        self._guests = 0
        assert not self._add("healthy", healthy).is_error, device.log
        self._expected = self._ask("healthy", [[1.0] * 8])

    def submit(self, content: bytes) -> Outcome | Died:
        """Offer one model file; the host is gone after a Died."""
        self._guests += 1
        try:
            admitted, said = self._visit(f"guest{self._guests}", content)
            same = self._ask("healthy", [[1.0] * 8]) == self._expected
        except Unreachable as exc:
            return Died(self._device.process.wait(30), f"{exc.message}\n{self._device.log[-2000:]}")
        return Outcome(admitted, said, same)

    def close(self) -> None:
        """Hang up."""
        self._client.close()

    def _visit(self, name: str, content: bytes) -> tuple[bool, str]:
        added = self._add(name, content)
        if added.is_error:
            return False, f"{added.structured['error']}: {added.text}"
        try:
            for number in range(INVOKES):
                answer = self._invoke(name, number)
                if answer.is_error:
                    return True, f"{answer.structured['error']}: {answer.text}"
        except Unreachable:
            raise
        except EdgedError as exc:
            return True, f"{type(exc).__name__}: {exc.message}"
        finally:
            if self._device.process.poll() is None:
                self._client.call_tool("models_remove", {"name": name})
        return True, ""

    def _add(self, name: str, content: bytes) -> CallResult:
        files = [{"name": "model.tflite", "data": content}]
        given = {"manifest": any_model(name, content), "files": files, "activate": True}
        return self._client.call_tool("models_add", given, timeout_s=ADD_S)

    def _invoke(self, name: str, seed: int) -> CallResult:
        """One inference with arbitrary numbers in every input."""
        random = np.random.default_rng(seed)
        variants = document(self._client, f"edged://models/{name}")["versions"][0]["variants"]
        shapes = [tensor["shape"] for tensor in variants[0]["inputs"]]
        tensors = [random.uniform(-4, 4, int(np.prod(shape))).round(3).tolist() for shape in shapes]
        return self._client.call_tool(f"infer_{name}", {"tensors": tensors}, timeout_s=INVOKE_S)

    def _ask(self, name: str, tensors: list[list[float]]) -> Any:
        return self._client.call_tool(f"infer_{name}", {"tensors": tensors}).structured["tensors"]


@contextmanager
def model_host(home: Path, healthy: bytes, runtime: str = "litert") -> Iterator[ModelHost]:
    """A daemon in `home`, ended with the block; one that lives must end in good order."""
    write_config(home, f'[inference]\nruntime = "{runtime}"\nkernels = "numpy"\n')
    device = Daemon(home, spawn(home))
    try:
        device.wait()
        host = ModelHost(device, healthy)
        yield host
        host.close()
        if device.process.poll() is None:
            assert device.stop() == 0, device.log
    finally:
        if device.process.poll() is None:
            device.kill()
