"""The package around the venv: units, config, maintainer scripts, and what it depends on."""

from __future__ import annotations

import gzip
import hashlib
import platform
import re
import shutil
import string
import subprocess
from pathlib import Path

UNITS = ("edged.service", "edged.socket", "edged-http.socket", "edged-kernels.service")
SCRIPTS = ("postinst", "prerm", "postrm")


def lay_out(checkout: Path, stage: Path) -> None:
    """Put every file but the venv in its place."""
    source = checkout / "systemd"
    for unit in UNITS:
        _place(source / unit, stage / "usr/lib/systemd/system" / unit)
    _place(source / "edged.sysusers", stage / "usr/lib/sysusers.d/edged.conf")
    _place(source / "edged.tmpfiles", stage / "usr/lib/tmpfiles.d/edged.conf")
    _place(source / "edged.toml", stage / "etc/edged/edged.toml")
    documents = stage / "usr/share/doc/edged"
    _place(source / "RECOVERY.md", documents / "RECOVERY.md")
    for file in sorted((source / "mosquitto").iterdir()):
        _place(file, documents / "mosquitto" / file.name)
    _place(checkout / "systemd/packaging/copyright", documents / "copyright")
    if (checkout / "CHANGELOG.md").exists():
        (documents / "changelog.gz").write_bytes(
            gzip.compress((checkout / "CHANGELOG.md").read_bytes(), mtime=0)
        )
    command = stage / "usr/bin/edged"
    command.parent.mkdir(parents=True)
    command.symlink_to("/opt/edged/bin/edged")


def pack(checkout: Path, stage: Path, into: Path) -> Path:
    """Write the control files and the package; its path."""
    architecture = _output("dpkg", "--print-architecture")
    release = platform.freedesktop_os_release()
    version = f"{_version(checkout)}+{release['ID']}{release.get('VERSION_ID', '')}"
    control = stage / "DEBIAN"
    control.mkdir()
    files = sorted(path for path in stage.rglob("*") if path.is_file() and not path.is_symlink())
    sums = [f"{hashlib.md5(path.read_bytes()).hexdigest()}  {path.relative_to(stage)}" for path in files]  # noqa: S324 - dpkg's format
    (control / "md5sums").write_text("\n".join(sums) + "\n")
    text = (checkout / "systemd/packaging/DEBIAN/control").read_text()
    fields = {
        "version": version,
        "architecture": architecture,
        "installed_kib": sum(path.stat().st_size for path in files) // 1024,
        "depends": ", ".join(depends(stage)),
    }
    (control / "control").write_text(string.Template(text).substitute(fields))
    _place(checkout / "systemd/packaging/DEBIAN/conffiles", control / "conffiles")
    for script in SCRIPTS:
        _place(checkout / "systemd/packaging/DEBIAN" / script, control / script, mode=0o755)
    _settle_modes(stage)
    package = into / f"edged_{version}_{architecture}.deb"
    _output("dpkg-deb", "--root-owner-group", "-Zzstd", "--build", str(stage), str(package))
    return package


def depends(stage: Path) -> list[str]:
    """The Python minor, systemd, and the packages that own the libraries the wheels are linked against."""
    python = Path("/usr/bin/python3").resolve().name
    libraries = [path for path in sorted((stage / "opt").rglob("*")) if _is_library(path)]
    linked = {name for library in libraries for name in _linked(library)}
    glibc = max(version for library in libraries for version in _glibc_versions(library))
    owners = {_owner(path) for path in linked} - {"libc6"}
    return [python, f"libc6 (>= {glibc[0]}.{glibc[1]})", *sorted(owners), "init-system-helpers", "systemd"]


def _is_library(path: Path) -> bool:
    return bool(re.search(r"\.so(\.\d+)*$", path.name)) and path.is_file() and not path.is_symlink()


def _linked(library: Path) -> set[str]:
    """Paths of the system's libraries that the loader picks for this one."""
    return set(re.findall(r"=> (/(?:usr/)?lib/\S+)", _output("ldd", str(library))))


def _owner(path: str) -> str:
    """The installed package a library belongs to; its database may know it with or without /usr."""
    bare = path.removeprefix("/usr")
    for name in (bare, f"/usr{bare}"):
        found = subprocess.run(["dpkg", "--search", name], capture_output=True, text=True, check=False)
        if found.returncode == 0:
            return found.stdout.partition(":")[0]
    raise SystemExit(f"no installed package owns {path}, which a wheel is linked against")


def _glibc_versions(library: Path) -> set[tuple[int, int]]:
    """The glibc symbol versions a library asks for."""
    found = re.findall(rb"GLIBC_(\d+)\.(\d+)", library.read_bytes())
    return {(int(major), int(minor)) for major, minor in found} or {(2, 17)}


def _settle_modes(stage: Path) -> None:
    """The builder's umask is not the package's business."""
    for path in [stage, *stage.rglob("*")]:
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
    (stage / "etc/edged").chmod(0o750)


def _version(checkout: Path) -> str:
    found = re.search(r'^__version__ = "(.+)"$', (checkout / "edged/__init__.py").read_text(), re.MULTILINE)
    if not found:
        raise SystemExit("edged/__init__.py has no __version__")
    return found[1]


def _place(source: Path, target: Path, mode: int = 0o644) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    target.chmod(mode)


def _output(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
