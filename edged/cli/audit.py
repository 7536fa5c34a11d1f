"""`edged audit`: read and verify the audit log, from its files alone."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TextIO

from edged.cli.run import load_config
from edged.cli.tables import show, table
from edged.errors import BadArgument, NotFound, Rejected, StorageError

if TYPE_CHECKING:
    from edged.audit.chain import Checkpoint, Record
    from edged.audit.verdict import Verdict

INTACT: Final = 0
CHANGED: Final = 3
"""Exit code of `verify` where the log is not what the device wrote; it is read in full before."""

_KEY_MAX_BYTES: Final = 1 << 16
_CHECKPOINT_MAX_BYTES: Final = 1 << 16


def tail(arguments: argparse.Namespace) -> int:
    """Show the last records."""
    if arguments.lines < 1:
        raise BadArgument("--lines: expected 1 or more")
    found: list[Record] = []
    for path in reversed(_files(arguments)):
        found = [*_records(path), *found]
        if len(found) >= arguments.lines:
            break
    lines = [_line(record) for record in found[-arguments.lines :]]
    if arguments.json:
        show({"records": lines}, as_json=True)
    else:
        rows = [[*_cells(line), _about(line["about"])] for line in lines]
        table("", ["seq", "time", "who", "what", "decision", "about"], rows)
    return 0


def verify(arguments: argparse.Namespace) -> int:
    """Say whether the log is intact: INTACT or CHANGED."""
    from edged.audit.chain import unsigned
    from edged.audit.segments import read
    from edged.audit.verify import Verifier

    opened = _opener(arguments.key) if arguments.key else None
    published = [_published(Path(name), opened or unsigned) for name in arguments.checkpoint]
    anchor = _anchor(arguments.anchor) if arguments.anchor else None
    verifier = Verifier(opened, published)
    for path in _watched(_files(arguments)):
        verifier.take(path.name, read(path))
    verdict = verifier.finish(anchor)
    if arguments.json:
        import msgspec

        show(msgspec.to_builtins(verdict), as_json=True)
    else:
        _tell(verdict)
    return INTACT if verdict.intact else CHANGED


def export(arguments: argparse.Namespace) -> int:
    """Write records as JSON, one a line; bytes are hexadecimal."""
    if arguments.output == "-":
        _export(arguments, sys.stdout)
        return 0
    try:
        with Path(arguments.output).open("w", encoding="utf-8") as file:
            _export(arguments, file)
    except OSError as exc:
        raise StorageError(f"cannot write {arguments.output}: {exc.strerror}") from exc
    return 0


def _export(arguments: argparse.Namespace, file: TextIO) -> None:
    for path in _watched(_files(arguments)):
        for record in _records(path):
            if record.seq >= arguments.first and (arguments.last is None or record.seq <= arguments.last):
                file.write(json.dumps(_line(record), ensure_ascii=False) + "\n")


def _files(arguments: argparse.Namespace) -> list[Path]:
    from edged.audit.segments import segments

    directory = Path(arguments.dir) if arguments.dir else _directory(arguments)
    found = segments(directory)
    if not found:
        raise NotFound(f"no audit log in {directory}")
    return found


def _directory(arguments: argparse.Namespace) -> Path:
    return Path(load_config(arguments.config).paths.state) / "audit"


def _records(path: Path) -> Iterator[Record]:
    from edged.audit.chain import Record, frames
    from edged.audit.segments import read

    return (Record.read(frame.body) for frame in frames(read(path)))


def _watched(paths: list[Path]) -> Iterable[Path]:
    """The files, with a bar on standard error where somebody watches and it takes a while."""
    if len(paths) < 2 or not sys.stderr.isatty():
        return paths
    from rich.console import Console
    from rich.progress import track

    return track(paths, "reading", console=Console(stderr=True), transient=True)


def _opener(name: str) -> Callable[[bytes], bytes]:
    """Opens what this public key has signed; raises BadArgument where the file is no such key."""
    from cryptography.hazmat.primitives import serialization

    from edged.audit.checkpoints import PURPOSE
    from edged.files import read_capped
    from edged.keys import cose

    raw = read_capped(Path(name), _KEY_MAX_BYTES)
    pem = raw.lstrip().startswith(b"-----BEGIN")
    try:
        key = serialization.load_pem_public_key(raw) if pem else serialization.load_der_public_key(raw)
    except ValueError as exc:
        raise BadArgument(f"--key: {name} holds no public key") from exc
    spki = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return lambda signed: cose.verify1(spki, signed, purpose=PURPOSE).payload


def _published(path: Path, opened: Callable[[bytes], bytes]) -> Checkpoint:
    from edged.audit.chain import Checkpoint
    from edged.files import read_capped

    try:
        return Checkpoint.read(opened(read_capped(path, _CHECKPOINT_MAX_BYTES)))
    except Rejected as exc:
        raise BadArgument(f"--checkpoint: {path}: {exc.message}") from exc


def _anchor(text: str) -> bytes:
    try:
        value = bytes.fromhex(text)
    except ValueError:
        value = b""
    if len(value) != 32:
        raise BadArgument("--anchor: expected 64 hexadecimal digits")
    return value


def _tell(verdict: Verdict) -> None:
    """The verdict for people: what is wrong first."""
    if verdict.findings:
        rows: list[list[str | float | None]] = [
            [finding.kind.value, finding.message, f"{finding.file}:{finding.offset}"]
            for finding in verdict.findings
        ]
        table("changed", ["how", "what", "where"], rows)
    state = "intact" if verdict.intact else f"CHANGED in {len(verdict.findings)} places"
    written = f"records {verdict.first} to {verdict.last} in {verdict.files} files"
    print(f"{state}: {written}, {verdict.checkpoints} checkpoints, signatures {verdict.signatures}")
    print(f"vouched for up to record {verdict.covered}; {verdict.tail} later ones are not, as yet")
    print(f"head {verdict.head}")


def _line(record: Record) -> dict[str, Any]:
    from edged.tools.audit import shown_about, shown_time

    return {
        "seq": record.seq,
        "time": shown_time(record.wall_ms),
        "trusted": record.trusted,
        "uptime_s": record.uptime_ms / 1000,
        "who": record.who,
        "what": record.what,
        "decision": record.decision,
        "about": shown_about(record.about),
        "before": record.before.hex(),
    }


def _cells(line: dict[str, Any]) -> list[Any]:
    doubt = "" if line["trusted"] else " ?"
    return [line["seq"], line["time"] + doubt, line["who"], line["what"], line["decision"]]


def _about(about: dict[str, Any]) -> str:
    text = "  ".join(f"{name} {value}" for name, value in about.items())
    return text if len(text) <= 100 else text[:99] + "…"
