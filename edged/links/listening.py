"""Unix sockets: bind or inherit them, accept, and know who is there.

A peer is what the kernel says it is (SO_PEERCRED, SO_PEERGROUPS), taken when it connected.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import grp
import logging
import os
import socket
import stat
import struct
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Final, Generic, Protocol, TypeVar

from edged.errors import DeviceError
from edged.links.config import SocketConfig
from edged.mcp.access import Access
from edged.mcp.catalog import Principal

_log = logging.getLogger(__name__)

_SO_PEERGROUPS: Final = getattr(socket, "SO_PEERGROUPS", 59)  # asm-generic/socket.h
_UCRED: Final = struct.Struct("iII")  # struct ucred: pid, uid, gid
_GROUPS_BYTES: Final = 1024  # the most that Python's getsockopt takes: 256 groups
_ACCEPTS_A_TURN: Final = 32
_RETRY_ACCEPT_S: Final = 1.0
_NO_RESOURCES: Final = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


class Connected(Protocol):
    """A connection, as its link sees it."""

    def __hash__(self) -> int: ...

    def finish(self) -> None:
        """Take in nothing more; close when what runs has been answered."""

    def close(self, reason: str) -> None:
        """Let go of everything, at once."""


C = TypeVar("C", bound=SocketConfig)
K = TypeVar("K", bound=Connected)


class Listener(Generic[C, K]):
    """Accepts on listening sockets: its own at `path`, or those inherited from a service manager.

    `open` binds and raises DeviceError where another process serves the path; `run` serves until `close`.
    What is spoken on a connection is up to the link that `connect`s it.
    """

    def __init__(self, where: Path | Iterable[socket.socket], access: Access, config: C) -> None:
        self._path = where if isinstance(where, Path) else None
        self._listeners = [] if isinstance(where, Path) else list(where)
        self._access = access
        self._config = config
        self._connections: set[K] = set()
        self._bound: os.stat_result | None = None
        self._group: str | None = None
        self._stop = asyncio.Event()
        self._empty = asyncio.Event()
        self._tasks: asyncio.TaskGroup | None = None

    def connect(self, sock: socket.socket, principal: Principal, tasks: asyncio.TaskGroup) -> K:
        """Take over an accepted socket; the connection calls `forget` once, when it is closed."""
        raise NotImplementedError

    def turn_away(self, reason: str) -> bytes:
        """What one connection too many is told before it is closed."""
        raise NotImplementedError

    def stopped(self) -> None:
        """Let go of what outlives connections."""

    @property
    def peers(self) -> int:
        """Connections at this moment."""
        return len(self._connections)

    def open(self) -> None:
        """Be reachable: connections are kept waiting from here on, and served by `run`."""
        if self._path is not None and not self._listeners:
            listener = bind(self._path, self._config)
            self._bound = self._path.stat()
            self._listeners = [listener]
        for listener in self._listeners:
            listener.setblocking(False)
        if self._listeners:
            where = self._path or self._listeners[0].getsockname()
            self._group = _owning_group(where)

    async def run(self) -> None:
        """Serve until `close` is called or this is cancelled; leaves nothing behind."""
        self.open()
        loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as self._tasks:
            try:
                for listener in self._listeners:
                    loop.add_reader(listener, self._accept, listener)
                await self._stop.wait()
                self._stop_listening()
                await self._drain()
            finally:  # before the group cancels handlers: theirs are no answers to send
                self._stop_listening()
                for connection in tuple(self._connections):
                    connection.close("stopped")
                self.stopped()

    def close(self) -> None:
        """Stop: no new peers, subscriptions end, calls may finish within `grace_s`; then `run` returns."""
        self._stop.set()

    async def _drain(self) -> None:
        for connection in tuple(self._connections):
            connection.finish()
        if self._connections:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._config.grace_s):
                    await self._empty.wait()

    def _stop_listening(self) -> None:
        loop = asyncio.get_running_loop()
        for listener in self._listeners:
            loop.remove_reader(listener)
        if self._path is None and not self._stop.is_set():
            return  # inherited: a restarted `run` needs them again
        while self._listeners:
            self._listeners.pop().close()
        if self._path is not None and self._bound is not None:
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(self._path.lstat(), self._bound):
                    self._path.unlink()
            self._bound = None

    def _accept(self, listener: socket.socket) -> None:
        for _ in range(_ACCEPTS_A_TURN):
            try:
                sock, _address = listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as exc:
                if exc.errno not in _NO_RESOURCES:
                    raise
                self._rest(listener, exc)
                return
            self._welcome(sock)

    def _rest(self, listener: socket.socket, exc: OSError) -> None:
        """Accept nothing for a while: without descriptors the same connection would wake us for ever."""
        _log.warning("accept paused reason=%s retry_s=%s", errno.errorcode[exc.errno or 0], _RETRY_ACCEPT_S)
        loop = asyncio.get_running_loop()
        loop.remove_reader(listener)
        loop.call_later(_RETRY_ACCEPT_S, self._listen_again, listener)

    def _listen_again(self, listener: socket.socket) -> None:
        if listener in self._listeners:
            asyncio.get_running_loop().add_reader(listener, self._accept, listener)

    def _welcome(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        try:
            uid, groups = peer_of(sock)
        except OSError:  # it is gone already
            sock.close()
            return
        principal = self._access.local(uid, groups, self._group)
        reserved = 0 if principal.tier >= max(type(principal.tier)) else self._config.reserved_peers
        if len(self._connections) >= max(1, self._config.peers_max - reserved):
            _log.warning("peer refused principal=%s reason=too-many-peers", principal.name)
            with contextlib.suppress(OSError), sock:
                sock.send(self.turn_away("too many connections"))
            return
        assert self._tasks is not None  # noqa: S101 - we accept only while `run` runs
        self._empty.clear()
        self._connections.add(self.connect(sock, principal, self._tasks))

    def forget(self, connection: K) -> None:
        """Take note that a connection is closed."""
        self._connections.discard(connection)
        if not self._connections:
            self._empty.set()


def bind(path: Path, config: SocketConfig) -> socket.socket:
    """A listening socket at `path` that nobody could reach before its owner and mode were right.

    A socket left by a process that died is replaced. Raises DeviceError where a living one serves, where
    something else is in the way, and where the directory refuses.
    """
    _check_free(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with contextlib.suppress(FileNotFoundError):
            fresh.unlink()
        listener.bind(str(fresh))
        _own(fresh, config)
        listener.listen(config.backlog)
        fresh.rename(path)
    except OSError as exc:
        listener.close()
        fresh.unlink(missing_ok=True)
        raise DeviceError(f"{path}: cannot listen: {exc.strerror or exc}") from exc
    return listener


def peer_of(sock: socket.socket) -> tuple[int, tuple[str, ...]]:
    """The uid and the names of the groups of the process that connected; a gid without a name is its number.

    A process in more than 256 groups counts with its main one alone.
    """
    _pid, uid, gid = _UCRED.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
    try:
        packed = sock.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, _GROUPS_BYTES)
    except OSError as exc:
        if exc.errno != errno.ERANGE:
            raise
        packed = b""
    gids = {gid, *(number for (number,) in struct.iter_unpack("I", packed))}
    return uid, tuple(sorted(map(_group_name, gids)))


def _check_free(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    except OSError as exc:
        raise DeviceError(f"{path}: {exc.strerror}") from exc
    if not stat.S_ISSOCK(mode):
        raise DeviceError(f"{path}: in the way, and not a socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        if (code := probe.connect_ex(str(path))) not in (errno.ECONNREFUSED, errno.ENOENT):
            raise DeviceError(
                f"{path}: another process serves it ({os.strerror(code) if code else 'it answers'})"
            )


def _own(path: Path, config: SocketConfig) -> None:
    path.chmod(0o600)
    try:
        os.chown(path, -1, grp.getgrnam(config.group).gr_gid)
    except (KeyError, PermissionError) as exc:
        reason = "unknown" if isinstance(exc, KeyError) else "not permitted"
        _log.warning("socket is private path=%s group=%s reason=%s", path, config.group, reason)
    else:
        path.chmod(config.mode)


def _owning_group(path: Path | str) -> str | None:
    """The group whose members may connect, if the socket lets its group do so."""
    try:
        found = Path(path).stat()
    except OSError:
        return None
    return _group_name(found.st_gid) if found.st_mode & stat.S_IWGRP else None


@lru_cache(maxsize=256)
def _group_name(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)
