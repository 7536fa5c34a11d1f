"""Manifests for models that tests build."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from edged.inference.manifest import Manifest, load

HEAD = """schema = 1
name = "{name}"
version = "{version}"
title = "A test"
description = "For a test"
licence = "none"
source = "tests"
"""


def manifest_text(
    parts: str,
    variants: Mapping[str, bytes],
    *,
    name: str = "thing",
    version: str = "1",
    extra: str = "",
) -> str:
    """A manifest: `parts` are its input and output tables, `variants` the content of each, stored as NAME.tflite.

    `extra` is added to the last variant's table.
    """
    tables = "".join(
        f'[[variants]]\nname = "{key}"\nfile = "{key}.tflite"\nsha256 = "{sha256(content)}"\n'
        for key, content in variants.items()
    )
    return HEAD.format(name=name, version=version) + parts + "\n" + tables + extra


def manifest(parts: str, variants: Mapping[str, bytes] | None = None, **options: str) -> Manifest:
    """The same, loaded."""
    return load(manifest_text(parts, variants or {"only": b""}, **options))


def sha256(content: bytes) -> str:
    """The hash a manifest names."""
    return hashlib.sha256(content).hexdigest()


TENSORS = 'input.kind = "tensor"\noutput.kind = "tensors"\n'
