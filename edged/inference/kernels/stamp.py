"""What a shared object of kernels says about itself, and how it is sealed: stamp and checksum at its end.

The dynamic loader ignores what follows the sections of an ELF file, so library, stamp and checksum are one
file, replaced in one step.

    ELF | stamp, JSON | length of the stamp, 8 bytes little endian | SHA-256 of all before | magic
"""

from __future__ import annotations

import hashlib
import platform
from functools import cache
from pathlib import Path

import msgspec

from edged.inference.kernels import abi

MAGIC = b"EDGEDKRN"
_TAIL = 8 + 32 + len(MAGIC)
_SOURCES = ("abi.py", "audio.py", "boxes.py", "image.py", "lowering.py", "sources.py", "tensor.py")


class Stamp(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """From what, for what and by what a shared object was compiled."""

    format: int
    source: str
    """`source_hash()` of the tree it was compiled from."""
    machine: str
    """As `uname -m` says."""
    cpu: str
    """LLVM's name for it; `generic` runs on every CPU of this machine type."""
    features: str
    """LLVM's features, as it was told."""
    needs: list[str]
    """The flags of /proc/cpuinfo without which it may not be called."""
    numba: str
    llvmlite: str


@cache
def source_hash() -> str:
    """SHA-256 of the source that kernels are compiled from."""
    digest = hashlib.sha256()
    for name in _SOURCES:
        digest.update(hashlib.sha256((Path(__file__).parent / name).read_bytes()).digest())
    return digest.hexdigest()


def file_name() -> str:
    """What the shared object is called in its directory."""
    return f"edged-kernels-{platform.machine()}.so"


def seal(library: bytes, stamp: Stamp) -> bytes:
    """The file: library, stamp, checksum."""
    note = msgspec.json.encode(stamp)
    body = library + note + len(note).to_bytes(8, "little")
    return body + hashlib.sha256(body).digest() + MAGIC


def unseal(data: bytes) -> Stamp:
    """The stamp of an undamaged file. Raises ValueError, in words, for any other."""
    if len(data) < _TAIL or not data.endswith(MAGIC):
        raise ValueError("is truncated or no library of kernels")
    body, digest = data[: 8 - _TAIL], data[8 - _TAIL : -len(MAGIC)]
    if hashlib.sha256(body).digest() != digest:
        raise ValueError("is damaged: its checksum does not match")
    length = int.from_bytes(body[-8:], "little")
    try:
        return msgspec.json.decode(body[-8 - length : -8], type=Stamp)
    except msgspec.MsgspecError:
        raise ValueError("was written by another version of edged") from None


def check_fits(stamp: Stamp, flags: frozenset[str]) -> None:
    """Raises ValueError, in words, where the library may not be called: old, or for a CPU that has not these flags."""
    if stamp.format != abi.FORMAT or stamp.source != source_hash():
        raise ValueError("was compiled from other sources than these")
    if stamp.machine != platform.machine():
        raise ValueError(f"was compiled for {stamp.machine}, this is {platform.machine()}")
    missing = sorted(set(stamp.needs) - flags)
    if missing:
        raise ValueError(
            f"was compiled for another CPU ({stamp.cpu}): this one lacks {', '.join(missing[:4])}"
        )


def cpu_flags() -> frozenset[str]:
    """The instruction sets that every CPU here has, as /proc/cpuinfo names them; empty where it tells nothing."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return frozenset()
    found = [
        frozenset(line.partition(":")[2].split()) for line in lines if line.startswith(("flags", "Features"))
    ]
    return frozenset.intersection(*found) if found else frozenset()
