"""What a new version consists of: the files its manifest names, gathered in sealed memory and checked by hash."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Mapping

from edged.errors import BadArgument, BadManifest, NotFound, TooLarge, WrongHash
from edged.inference import memfd
from edged.inference.manifest import Manifest, Variant
from edged.inference.manifest import load as load_manifest
from edged.inference.memfd import Sealed, Source
from edged.inference.models import slots
from edged.inference.trial.report import Trial

Progress = Callable[[str, int], object]
"""Told which file is being worked on and how many of its bytes were read since the last time."""

MAX_LABELS = 20_000


class Parcel(contextlib.ExitStack):
    """A manifest and all of its files; holds their memory until it is closed.

    Raises BadManifest, BadArgument (a file too many or missing), WrongHash, TooLarge, NotFound, Rejected.
    """

    def __init__(
        self, manifest_text: str, files: Mapping[str, Source], cap_bytes: int, progress: Progress | None
    ) -> None:
        super().__init__()
        self.raw = manifest_text.encode()
        if len(self.raw) > slots.MANIFEST_BYTES:
            raise TooLarge(f"the manifest is larger than {slots.MANIFEST_BYTES} bytes")
        self.manifest = load_manifest(manifest_text)
        wanted = _wanted(self.manifest)
        _complete(wanted, files)
        self.files: dict[str, Sealed] = {}
        try:
            for name in sorted(wanted):
                step = (lambda size, name=name: progress(name, size)) if progress else None
                self.files[name] = memfd.seal(files[name], cap_bytes, name, progress=step)
                self.callback(self.files[name].close)
                _check(name, self.files[name].sha256, wanted[name])
            self._label_count = _label_count(self.manifest, self.files)
        except BaseException:
            self.close()
            raise

    def hashes(self) -> dict[str, str]:
        """The SHA-256 of every file, the manifest included."""
        own = {slots.MANIFEST: hashlib.sha256(self.raw).hexdigest()}
        return own | {name: sealed.sha256 for name, sealed in self.files.items()}

    def size_bytes(self) -> int:
        """Of everything together."""
        return len(self.raw) + sum(sealed.size for sealed in self.files.values())

    def trial(self, variant: Variant) -> Trial:
        """One variant, ready for its pre-flight; lives as long as the parcel."""
        golden = self.files[variant.golden.file].fd if variant.golden else None
        return Trial(self.manifest, variant, self._label_count, self.files[variant.file].fd, golden)


def parse_labels(file: str, content: bytes) -> list[str]:
    """One label a line, UTF-8; blank lines at the end do not count. Raises BadManifest."""
    try:
        labels = content.decode().rstrip().splitlines()
    except UnicodeDecodeError as exc:
        raise BadManifest(f"output.labels: {file} is not UTF-8") from exc
    if not 1 <= len(labels) <= MAX_LABELS:
        raise BadManifest(f"output.labels: {file} has {len(labels)} lines; 1 to {MAX_LABELS} are allowed")
    return [label.strip() for label in labels]


def _label_count(manifest: Manifest, sealed: Mapping[str, Sealed]) -> int | None:
    declared = getattr(manifest.output, "labels", None)
    if isinstance(declared, str):
        return len(parse_labels(declared, sealed[declared].read()))
    return None if declared is None else len(declared)


def _wanted(manifest: Manifest) -> dict[str, str | None]:
    """The files a manifest names, with their SHA-256; a labels file has none. Raises BadManifest."""
    named: list[tuple[str, str, str | None]] = []
    for index, variant in enumerate(manifest.variants):
        named.append((f"variants[{index}].file", variant.file, variant.sha256))
        if variant.golden:
            named.append((f"variants[{index}].golden.file", variant.golden.file, variant.golden.sha256))
    if isinstance(labels := getattr(manifest.output, "labels", None), str):
        named.append(("output.labels", labels, None))
    wanted: dict[str, str | None] = {}
    for place, file, sha256 in named:
        if file == slots.MANIFEST:
            raise BadManifest(f"{place}: {slots.MANIFEST} is the manifest's own name")
        if wanted.setdefault(file, sha256) != sha256:
            raise BadManifest(f"{place}: {file} is named twice with different SHA-256")
    return wanted


def _complete(wanted: Mapping[str, object], files: Mapping[str, object]) -> None:
    if missing := sorted(set(wanted) - set(files)):
        raise BadArgument(
            f"$.files: {', '.join(missing)} missing; the manifest names {', '.join(sorted(wanted))}"
        )
    if extra := sorted(set(files) - set(wanted)):
        raise BadArgument(f"$.files: {', '.join(extra)} not named in the manifest")


def variant_named(manifest: Manifest, name: str) -> Variant:
    """The variant of this name; raises NotFound."""
    for variant in manifest.variants:
        if variant.name == name:
            return variant
    known = ", ".join(v.name for v in manifest.variants)
    raise NotFound(f"{manifest.name} {manifest.version} has no variant {name}; it has {known}")


def _check(name: str, found: str, wanted: str | None) -> None:
    if wanted is not None and found != wanted:
        raise WrongHash(f"{name} has SHA-256 {found}; the manifest names {wanted}")
