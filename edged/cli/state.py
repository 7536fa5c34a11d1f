"""The device's state, in hand while the daemon is not running."""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import logging
import os
import pwd
import stat
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edged.cli.run import load_config
from edged.errors import NotReady, StorageError

if TYPE_CHECKING:
    from edged.audit.config import AuditConfig
    from edged.keys.config import KeysConfig
    from edged.keys.note import Note
    from edged.keys.opening import Keyplace
    from edged.keys.vault import Vault

_RETRY_AFTER_S = 5.0
_log = logging.getLogger("edged.audit")


class Logged:
    """Notes go to the log: a command beside a running daemon, whose audit log it is, changes nothing."""

    def note(self, event: str, fields: Mapping[str, object]) -> None:
        """One line of `key=value`."""
        _log.info("event=%s %s", event, " ".join(f"{name}={value}" for name, value in fields.items()))


@contextlib.contextmanager
def _quiet(name: str) -> Iterator[None]:
    """What a room warns of is in the answer; not a second time in the log."""
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def now_s() -> int:
    """Wall time, as far as this board knows."""
    return int(time.clock_gettime(time.CLOCK_REALTIME))


def directory(arguments: argparse.Namespace) -> Path:
    """Where the device keeps its state."""
    return Path(arguments.state or load_config(arguments.config).paths.state)


def keys_config(arguments: argparse.Namespace) -> KeysConfig:
    """The `[keys]` table."""
    return load_config(arguments.config).keys


@contextlib.contextmanager
def keyplace(arguments: argparse.Namespace, *, alone: bool = True) -> Iterator[Keyplace]:
    """The keys' directory; `alone` means that nobody else uses the state meanwhile. Raises NotReady, StorageError."""
    from edged.keys.opening import Keyplace

    state, config = directory(arguments), load_config(arguments.config)  # read while it may be
    who = f"uid:{os.getuid()}"
    become_owner(state)
    with contextlib.ExitStack() as stack:
        stack.enter_context(_quiet("edged.keys"))
        if alone:
            stack.enter_context(held(state))
        note = stack.enter_context(audited(config.audit, state, who)) if alone else Logged()
        yield Keyplace(state / "keys", config.keys, note)


@contextlib.contextmanager
def audited(config: AuditConfig, state: Path, who: str) -> Iterator[Note]:
    """Notes go into the device's audit log, each before its effect; raises StorageError where they cannot."""
    from edged.audit.recorder import Notes
    from edged.audit.store import Store
    from edged.clock import Clock, read_floor

    store = Store(state / "audit", config, Clock(read_floor(state / "clock")))
    store.open()
    try:
        yield Notes(store, who)
    finally:
        store.close()


@contextlib.contextmanager
def vault(arguments: argparse.Namespace, *, alone: bool = True) -> Iterator[Vault]:
    """The opened keys."""
    with keyplace(arguments, alone=alone) as place:
        opened = place.open(alone=alone)
        try:
            yield opened
        finally:
            opened.close()


@contextlib.contextmanager
def held(state: Path) -> Iterator[None]:
    """The state's lock, which the daemon holds while it runs."""
    try:
        state.mkdir(parents=True, exist_ok=True, mode=0o750)
        descriptor = os.open(state / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as exc:
        raise StorageError(f"cannot write in {state}: {exc.strerror}; run as root, or set --state") from exc
    with os.fdopen(descriptor) as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            message = f"edged is running on {state}: systemctl stop edged, then try again"
            raise NotReady(message, _RETRY_AFTER_S) from exc
        yield


def become_owner(state: Path, tpm: Path = Path("/dev/tpmrm0")) -> None:
    """As root, go on as the user whose state this is, so that its daemon can read what is made; never back."""
    if os.geteuid() != 0 or not state.exists() or state.stat().st_uid == 0:
        return
    owner = state.stat()
    groups = {group for group in (_group(tpm), owner.st_gid) if group is not None}
    with contextlib.suppress(KeyError):
        groups |= set(os.getgrouplist(pwd.getpwuid(owner.st_uid).pw_name, owner.st_gid))
    os.setgroups(sorted(groups))
    os.setgid(owner.st_gid)
    os.setuid(owner.st_uid)


def read_input(name: str, cap_bytes: int = 1 << 20) -> bytes:
    """A file named on the command line; `-` is standard input."""
    from edged.files import read_capped

    return sys.stdin.buffer.read(cap_bytes) if name == "-" else read_capped(Path(name), cap_bytes)


def write_output(path: Path, data: bytes) -> None:
    """A file for the operator; StorageError where it cannot be written."""
    try:
        path.write_bytes(data)
    except OSError as exc:
        raise StorageError(f"cannot write {path}: {exc.strerror}") from exc


def progress(name: str, size_bytes: int) -> None:
    """A line for each file, where somebody watches."""
    if sys.stderr.isatty():
        print(f"  {size_bytes:>12,}  {name}", file=sys.stderr)


def shown(value: Any) -> dict[str, Any]:
    """A Struct as an answer."""
    import msgspec

    answer: dict[str, Any] = msgspec.to_builtins(value)
    return answer


def _group(path: Path) -> int | None:
    try:
        info = path.stat()
    except OSError:
        return None
    return info.st_gid if stat.S_ISCHR(info.st_mode) else None
