"""`edged models`: install, serve and remove models."""

from __future__ import annotations

import argparse
import base64
import os
from pathlib import Path
from typing import Any
from urllib.parse import quote

from edged.cli.call import checked, progress_printer
from edged.cli.connection import client
from edged.cli.resources import document
from edged.cli.tables import show, table
from edged.errors import NotFound
from edged.links.unix_client import UnixClient

INSTALL_TIMEOUT_S = 300.0
INLINE_MAX_BYTES = 1 << 16


def ls(arguments: argparse.Namespace) -> int:
    """List every installed version."""
    with client(arguments) as device:
        entries = checked(device.call_tool("models_list", {}))["models"]
    if arguments.json:
        show({"models": entries}, as_json=True)
    elif entries:
        columns = ["name", "version", "state", "variants", "bytes", "licence", "reason"]
        table("", columns, [[_cell(entry.get(column)) for column in columns] for entry in entries])
    else:
        print("no models installed; `edged models add FOLDER --activate` installs one")
    return 0


def show_one(arguments: argparse.Namespace) -> int:
    """Show one model: its versions with their tensors, and what it has done."""
    with client(arguments) as device:
        found = document(device, f"edged://models/{quote(arguments.name, safe='')}")
    if arguments.json:
        show(found, as_json=True)
        return 0
    for version in found.pop("versions"):
        variants = [
            {**variant, "inputs": _shape(variant["inputs"]), "outputs": _shape(variant["outputs"])}
            for variant in version["variants"]
        ]
        show({**version, "variants": variants}, as_json=False)
    show(found, as_json=False)
    return 0


def add(arguments: argparse.Namespace) -> int:
    """Send a folder's manifest and the files it names."""
    with client(arguments) as device:
        given = {**package(device, Path(arguments.folder)), "activate": arguments.activate}
        answer = device.call_tool(
            "models_add", given, timeout_s=INSTALL_TIMEOUT_S, on_progress=progress_printer()
        )
    return _changed(checked(answer), arguments)


def package(device: UnixClient, folder: Path) -> dict[str, Any]:
    """Compose the arguments of models_add from a folder; large files go ahead as shared memory."""
    from edged.inference import manifest

    try:
        text = (folder / "manifest.toml").read_text()
    except OSError as exc:
        raise NotFound(f"{folder}/manifest.toml: {exc.strerror}") from exc
    return {
        "manifest": text,
        "files": [_send(device, folder / name) for name in manifest.files(manifest.load(text))],
    }


def activate(arguments: argparse.Namespace) -> int:
    """Serve an installed version."""
    return _change("models_activate", {"name": arguments.name, "version": arguments.version}, arguments)


def rollback(arguments: argparse.Namespace) -> int:
    """Serve the previous version again."""
    return _change("models_rollback", {"name": arguments.name}, arguments)


def remove(arguments: argparse.Namespace) -> int:
    """Delete a version, or the whole model."""
    given = {"name": arguments.name}
    if arguments.version:
        given["version"] = arguments.version
    return _change("models_remove", given, arguments)


def _change(tool: str, given: dict[str, Any], arguments: argparse.Namespace) -> int:
    with client(arguments) as device:
        answer = device.call_tool(tool, given, timeout_s=INSTALL_TIMEOUT_S, on_progress=progress_printer())
    return _changed(checked(answer), arguments)


def _changed(changed: dict[str, Any], arguments: argparse.Namespace) -> int:
    if arguments.json:
        show(changed, as_json=True)
    else:
        print(f"{changed['name']} {changed['version'] or '(every version)'}: {changed['state']}")
    return 0


def _send(device: UnixClient, file: Path) -> dict[str, Any]:
    """One file as the daemon takes it: small ones in the call, large ones as shared memory."""
    try:
        raw = file.read_bytes()
    except OSError as exc:
        raise NotFound(f"{file}: {exc.strerror}, but the manifest names it") from exc
    if len(raw) <= INLINE_MAX_BYTES:
        return {"name": file.name, "data": base64.b64encode(raw).decode()}
    return {"name": file.name, "mapping": share(device, raw)}


def share(device: UnixClient, raw: bytes) -> str:
    """Register bytes as a sealed mapping; returns its handle, good for this connection."""
    import fcntl

    descriptor = os.memfd_create("edged", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        with os.fdopen(os.dup(descriptor), "wb") as file:
            file.write(raw)
        seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, seals)
        answer = device.request("edged/mapping/register", {"bytes": len(raw)}, fds=(descriptor,))
    finally:
        os.close(descriptor)
    return str(answer["handle"])


def _cell(value: Any) -> Any:
    return ", ".join(variant["name"] for variant in value) if isinstance(value, list) else value


def _shape(tensors: list[dict[str, Any]]) -> str:
    return ", ".join(f"{t['dtype']} {'x'.join(map(str, t['shape']))}" for t in tensors)
