"""The daemon as a process: its log, its directories, its end."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from edged import systemd
from edged.config import Config
from edged.daemon.daemon import Daemon, Offer
from edged.errors import DeviceError, EdgedError, StorageError
from edged.mcp import trace

LOG = logging.getLogger("edged")


def main(reread: Callable[[], Config], offers: Sequence[Offer] = ()) -> int:
    """Run until SIGTERM or SIGINT; exit code 0, or 1 when it could not start or gave up.

    `reread` gives the config, at the start and at every SIGHUP; it raises BadConfig, at the start to the caller.
    """
    config = reread()
    _log_to_stderr(config)
    try:
        with _own_directories(config):
            asyncio.run(Daemon(config, reread, offers).run())
    except (EdgedError, BaseExceptionGroup) as exc:
        if not (reasons := _reasons(exc)):
            raise
        for reason in reasons:
            LOG.critical("edged ends: %s", reason)
        return 1
    return 0


def _log_to_stderr(config: Config) -> None:
    handler = logging.StreamHandler(sys.stderr)
    if systemd.journal_attached(sys.stderr):
        handler.setFormatter(systemd.JournalFormatter())
    else:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s%(trace)s"))
    handler.addFilter(trace.Stamp())
    logging.basicConfig(level=config.log.level.upper(), handlers=[handler])


@contextlib.contextmanager
def _own_directories(config: Config) -> Iterator[None]:
    """Make what systemd would have made, and hold the state: two daemons on one would undo each other's work."""
    for key, mode in (("state", 0o750), ("cache", 0o750), ("run", 0o755)):
        directory = Path(getattr(config.paths, key))
        try:
            directory.mkdir(parents=True, exist_ok=True, mode=mode)
        except OSError as exc:
            raise StorageError(f"cannot make {directory}: {exc.strerror}; set [paths] {key}") from exc
    state = Path(config.paths.state)
    try:
        descriptor = os.open(state / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as exc:
        raise StorageError(f"cannot write in {state}: {exc.strerror}; set [paths] state") from exc
    with os.fdopen(descriptor) as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            raise DeviceError(f"another edged uses {state}; stop it, or set another [paths] state") from exc
        yield


def _reasons(exc: BaseException) -> list[str]:
    """What to tell the operator, where all that went wrong is an EdgedError; else nothing."""
    if isinstance(exc, EdgedError):
        return [exc.message]
    if not isinstance(exc, BaseExceptionGroup):
        return []
    parts = [_reasons(part) for part in exc.exceptions]
    return [reason for part in parts for reason in part] if all(parts) else []
