"""Compiling the kernels ahead of time into one small shared object, in a child process that then goes away.

    python -m edged.inference.kernels.build --cache DIR [--cpu generic] [--json]

numba's machine code is taken as LLVM IR, each kernel given a plain C entry, everything emitted as one
position-independent object and linked. The daemon maps the result and never sees numba.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import msgspec

from edged.errors import DeviceError, EdgedError
from edged.files import atomic_write, trusted
from edged.inference.kernels import abi, native, sources
from edged.inference.kernels.stamp import Stamp, cpu_flags, file_name, seal, source_hash

Cpu = Literal["host", "generic"]

_LINKERS = ("ld", "ld.lld", "cc", "gcc", "clang")
_HARDENED = ("-z", "noexecstack", "-z", "relro", "-z", "now")
_NO_LINKER = (
    f"no linker found (looked for {', '.join(_LINKERS)}): install one, on Debian `apt install binutils`"
)
_NO_NUMBA = (
    "numba is not installed: pip install 'edged[numba]', or use a package that brings compiled kernels"
)

# Where LLVM and Linux name an x86 instruction set differently, other than by dots and underscores
_X86_NAMES = {"pni": "sse3", "abm": "lzcnt", "bmi1": "bmi", "3dnowprefetch": "prfchw"}


class Built(msgspec.Struct, frozen=True, kw_only=True):
    """What a build left in the cache."""

    path: str
    fresh: bool
    """Whether it was there already and nothing had to be compiled."""
    cpu: str
    size_bytes: int
    seconds: float


class Failed(msgspec.Struct, frozen=True):
    """Why a build left nothing."""

    error: str


def build(cache: Path, cpu: Cpu = "host") -> Path:
    """Compile every kernel into `cache`, unless what is there is fresh; answer the shared object's path.

    Runs a child that imports numba, so this process does not; its progress goes to stderr. Raises DeviceError
    with the remedy where numba or a linker is missing, or where the cache cannot be written or trusted.
    """
    command = [sys.executable, "-m", __name__, "--cache", str(cache), "--cpu", cpu, "--json"]
    child = subprocess.run(command, stdout=subprocess.PIPE, check=False)  # noqa: S603 # this module, our own arguments
    try:
        answer = msgspec.json.decode(child.stdout, type=dict[str, Any])
    except msgspec.DecodeError:
        raise DeviceError(f"compiling the kernels failed with exit code {child.returncode}") from None
    if child.returncode:
        raise DeviceError(str(answer.get("error")))
    return Path(answer["path"])


def main(arguments: list[str] | None = None) -> int:
    """The compiling child: 0 where the cache holds a fresh library afterwards."""
    parser = argparse.ArgumentParser(prog="python -m edged.inference.kernels.build", description=__doc__)
    parser.add_argument("--cache", type=Path, required=True, metavar="DIR", help="directory for the library")
    parser.add_argument(
        "--cpu", choices=["host", "generic"], default="host", help="this CPU, or any of its type"
    )
    parser.add_argument("--json", action="store_true", help="answer one JSON object")
    options = parser.parse_args(arguments)
    try:
        built = compile_into(options.cache, options.cpu)
    except (EdgedError, OSError) as exc:
        message = exc.message if isinstance(exc, EdgedError) else f"cannot write to {options.cache}: {exc}"
        _say(message)
        if options.json:
            print(msgspec.json.encode(Failed(message)).decode())  # noqa: T201 # the answer
        return 1
    print(msgspec.json.encode(built).decode() if options.json else built.path)  # noqa: T201 # the answer
    return 0


def compile_into(cache: Path, cpu: Cpu) -> Built:
    """Compile in this process, which must not have imported numba yet. Raises DeviceError, OSError."""
    start = time.monotonic()
    linker = find_linker()
    stamp = _stamp(cpu)
    path = cache / file_name()
    fresh = is_fresh(cache, stamp)
    if fresh:
        _say(f"{path} is fresh")
    else:
        cache.mkdir(parents=True, exist_ok=True)
        if not trusted(cache):
            raise DeviceError(
                f"{cache} is not trusted: it, or a directory above it, can be written by others"
            )
        with tempfile.TemporaryDirectory(prefix="edged-kernels-") as work:
            library = link(linker, emit(_modules(), stamp), Path(work))
        atomic_write(path, seal(library, stamp), mode=0o644)
        native.load(cache)
    seconds = round(time.monotonic() - start, 2)
    return Built(path=str(path), fresh=fresh, cpu=stamp.cpu, size_bytes=path.stat().st_size, seconds=seconds)


def find_linker() -> str:
    """The first linker, or compiler that brings one, on PATH. Raises DeviceError."""
    for name in _LINKERS:
        found = shutil.which(name)
        if found:
            return found
    raise DeviceError(_NO_LINKER)


def needs(features: str, flags: frozenset[str]) -> list[str]:
    """Which of this CPU's flags code compiled with LLVM's `features` may rely on."""
    if platform.machine() != "x86_64":
        return sorted(flags)
    enabled = {_bare(name[1:]) for name in features.split(",") if name.startswith("+")}
    return sorted(flag for flag in flags if _bare(_X86_NAMES.get(flag, flag)) in enabled)


def _bare(name: str) -> str:
    return name.replace("_", "").replace(".", "").replace("-", "")


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # noqa: T201 # progress for whoever waits


def _stamp(cpu: Cpu) -> Stamp:
    """Import the compiler, set to this CPU or to any, and say what its output will be."""
    if cpu == "generic":
        os.environ["NUMBA_CPU_NAME"] = "generic"
    try:
        import llvmlite  # noqa: PLC0415 # the CPU must be settled first
        import numba  # noqa: PLC0415
        from llvmlite import binding  # noqa: PLC0415
    except ImportError as exc:
        raise DeviceError(_NO_NUMBA) from exc
    features = "" if cpu == "generic" else binding.get_host_cpu_features().flatten()
    return Stamp(
        format=abi.FORMAT,
        source=source_hash(),
        machine=platform.machine(),
        cpu="generic" if cpu == "generic" else binding.get_host_cpu_name(),
        features=features,
        needs=[] if cpu == "generic" else needs(features, cpu_flags()),
        numba=numba.__version__,
        llvmlite=llvmlite.__version__,
    )


def is_fresh(cache: Path, stamp: Stamp) -> bool:
    """Whether `cache` holds a usable library with this very stamp."""
    try:
        return native.load(cache)[1] == stamp
    except native.Unusable:
        return False


def _modules() -> Iterator[tuple[str, str]]:
    """Each kernel's C entry and the LLVM IR that defines it."""
    from edged.inference.kernels import lowering  # noqa: PLC0415 # imports numba

    for index, kernel in enumerate(sources.KERNELS, 1):
        start = time.monotonic()
        yield abi.PREFIX + kernel.name, lowering.ir_text(kernel)
        _say(f"[{index}/{len(sources.KERNELS)}] {kernel.name} {time.monotonic() - start:.1f} s")


def emit(modules: Iterator[tuple[str, str]], stamp: Stamp) -> bytes:
    """One position-independent object in which only the entries are visible."""
    from llvmlite import binding  # noqa: PLC0415

    whole = binding.parse_assembly("")
    for entry, text in modules:
        module = binding.parse_assembly(text)
        for value in (*module.functions, *module.global_variables):
            if not value.is_declaration and value.name != entry:
                value.linkage = "internal"
        whole.link_in(module)
    whole.verify()
    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    target = binding.Target.from_default_triple()
    machine = target.create_target_machine(
        cpu=stamp.cpu, features=stamp.features, opt=3, reloc="pic", codemodel="small"
    )
    emitted: bytes = machine.emit_object(whole)
    return emitted


def link(linker: str, emitted: bytes, work: Path) -> bytes:
    """The object as a shared object, made in the directory `work`. Raises DeviceError with what the linker said."""
    source, result = work / "kernels.o", work / "kernels.so"
    source.write_bytes(emitted)
    compiler = Path(linker).name not in {"ld", "ld.lld"}
    options = [f"-Wl,{','.join(_HARDENED)}", "-nostdlib"] if compiler else [*_HARDENED]
    command = [linker, "-shared", "-s", *options, "-o", str(result), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 # the linker found on PATH
    if done.returncode:
        raise DeviceError(f"{linker} could not link the kernels: {done.stderr.strip()}")
    return result.read_bytes()


if __name__ == "__main__":
    sys.exit(main())
