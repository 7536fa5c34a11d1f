"""One connection on the Unix socket, with a reader of its own: asyncio drops passed descriptors.

Reading yields to other peers after `_LINES_A_TURN` lines and pauses while answers wait to be read, so a peer
is held back by its own slowness. What comes by itself (progress, late answers) may pile up to
`write_buffer_max_bytes`; a peer that still does not read is dropped.
"""

from __future__ import annotations

import array
import asyncio
import contextlib
import logging
import os
import select
import socket
import threading
from collections import deque
from collections.abc import Callable
from typing import Final

from edged.links.config import UnixConfig
from edged.links.lines import Lines, Pool, TooLong
from edged.mcp.catalog import Principal
from edged.mcp.server import Server
from edged.mcp.session import Session

_log = logging.getLogger(__name__)

_LINES_A_TURN: Final = 64
_READS_A_TURN: Final = 16
_CORKED_MAX_BYTES: Final = 64 * 1024  # answers of one turn are sent together up to this
_DESCRIPTORS_A_MESSAGE: Final = 16
_DOES_NOT_READ: Final = "does-not-read"
_TRUNCATED: Final = int(socket.MSG_CTRUNC)  # an enum's member takes 2 us to be and-ed with
_ANCILLARY_BYTES: Final = socket.CMSG_SPACE(_DESCRIPTORS_A_MESSAGE * array.array("i").itemsize)


class Connection:
    """Reads lines into a session and writes its messages; `gone` is called once, when it is closed."""

    def __init__(
        self,
        sock: socket.socket,
        principal: Principal,
        *,
        server: Server,
        config: UnixConfig,
        pool: Pool,
        tasks: asyncio.TaskGroup,
        gone: Callable[[Connection], None],
    ) -> None:
        self.principal = principal
        self._sock = sock
        self._config = config
        self._write_max_bytes = server.limits.write_buffer_max_bytes
        self._loop = asyncio.get_running_loop()
        self._lines = Lines(pool, server.limits.line_max_bytes)
        self._gone = gone
        self._descriptors: deque[int] = deque()
        self._corked: list[bytes] | None = None
        self._corked_bytes = 0
        self._sending = threading.Lock()  # guards what follows, and the socket against being closed meanwhile
        self._unsent: deque[memoryview] = deque()
        self._unsent_bytes = 0
        self._reading = self._ended = self._lost = self._closed = False
        self._hangup: select.epoll | None = None
        self._linger: asyncio.TimerHandle | None = None
        self._turn: asyncio.Handle | None = None
        self.session = Session(server, principal, self, tasks)
        self._read(on=True)

    def write(self, message: bytes) -> None:
        """See `session.Wire`."""
        if self._lost:
            return
        if self._corked is not None:
            self._corked.append(message)
            self._corked_bytes += len(message)
            if self._corked_bytes > _CORKED_MAX_BYTES:
                self._flush(self._corked)
                self._corked, self._corked_bytes = [], 0
        else:
            self._flush([message])

    def write_from_thread(self, message: bytes) -> None:
        """See `session.Wire`."""
        with self._sending:
            if self._lost:
                return
            was_waiting, lost = bool(self._unsent), self._send_or_hold(message + b"\n")
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody reads any more
            if lost:
                self._loop.call_soon_threadsafe(self._lose, lost)
            elif self._unsent and not was_waiting:
                self._loop.call_soon_threadsafe(self._await_writable)

    @property
    def congested(self) -> bool:
        """See `session.Wire`."""
        return bool(self._unsent)

    def take_descriptor(self) -> int | None:
        """See `session.Wire`."""
        return self._descriptors.popleft() if self._descriptors else None

    def settled(self) -> None:
        """See `session.Wire`."""
        if self._ended and not self.session.busy and not self._unsent:
            self.close("ended")

    def finish(self) -> None:
        """Take in nothing more; close when what runs has been answered and read."""
        if self._closed or self._ended:
            return
        self._ended = True
        self._read(on=False)
        self.session.end_subscriptions()
        self.settled()
        if not self._closed:
            self._watch_hangup()
            self._linger = self._loop.call_later(self._config.linger_s, self._check_linger)

    def close(self, reason: str) -> None:
        """Let go of everything, at once."""
        if self._closed:
            return
        self._closed = self._lost = True
        _log.debug("peer left principal=%s reason=%s", self.principal.name, reason)
        self._read(on=False)
        self._loop.remove_writer(self._sock)
        if self._hangup is not None:
            self._loop.remove_reader(self._hangup)
            self._hangup.close()
        if self._linger is not None:
            self._linger.cancel()
        with self._sending:
            self._sock.close()
            self._unsent.clear()
        self._lines.clear()
        for descriptor in self._descriptors:
            os.close(descriptor)
        self._descriptors.clear()
        self.session.close()
        self._gone(self)

    def _read(self, *, on: bool) -> None:
        if on and not self._reading:
            self._loop.add_reader(self._sock, self._readable)
        elif self._reading and not on:
            self._loop.remove_reader(self._sock)
        self._reading = on

    def _readable(self) -> None:
        """Receive once, and on while a long line comes in as fast as it is taken."""
        self._receive()
        reads = 1
        while self._lines.held and self._reading and reads < _READS_A_TURN:
            self._receive()
            reads += 1

    def _receive(self) -> None:
        try:
            count, ancillary, flags, _ = self._sock.recvmsg_into(
                [self._lines.space()], _ANCILLARY_BYTES, socket.MSG_CMSG_CLOEXEC
            )
        except (BlockingIOError, InterruptedError):
            return
        except OSError as exc:
            self.close(type(exc).__name__)
            return
        if ancillary or flags & _TRUNCATED:
            self._keep_descriptors(ancillary)
        if count == 0:
            self._end_of_input()
            return
        self._lines.received(count)
        self._cut()

    def _cut(self) -> None:
        """Hand lines to the session, then send all their answers together."""
        self._turn = None
        if self._lost or self._ended:
            return
        self._corked, self._corked_bytes = [], 0
        left = _LINES_A_TURN
        while left and (line := self._lines.next()):
            left -= 1
            if isinstance(line, TooLong):
                self.session.refuse(line.reason)
            elif line.start < line.end:
                self.session.receive(*line)
            if self._unsent or self._lost:
                break
        more = line is not None
        corked, self._corked = self._corked, None
        if corked and not self._lost:
            self._flush(corked)
        if not self._lost:
            self._pace(more=more)

    def _pace(self, *, more: bool) -> None:
        """Read on, or let others go first, or wait until our answers are read."""
        if not more and not self._unsent:
            self._read(on=True)
            return
        self._read(on=False)
        if more:
            self._lines.park()
            if not self._unsent and self._turn is None:
                self._turn = self._loop.call_soon(self._cut)

    def _end_of_input(self) -> None:
        if (line := self._lines.rest()) is not None:
            self.session.receive(*line)
            self._lines.clear()
        self.finish()

    def _flush(self, messages: list[bytes]) -> None:
        with self._sending:
            lost = self._send_or_hold(b"\n".join(messages) + b"\n")
        if lost:
            self._lose(lost)
        elif self._unsent:
            self._await_writable()

    def _send_or_hold(self, data: bytes) -> str | None:
        """Send what can be sent and hold the rest; why the peer has to go where it has to. Under the lock."""
        sent = 0
        if not self._unsent:
            try:
                sent = self._sock.send(data)
            except (BlockingIOError, InterruptedError):
                pass
            except OSError as exc:
                return type(exc).__name__
        elif self._unsent_bytes > self._write_max_bytes:
            return _DOES_NOT_READ
        if sent < len(data):
            self._unsent.append(memoryview(data)[sent:])
            self._unsent_bytes += len(data) - sent
        return None

    def _await_writable(self) -> None:
        if self._unsent and not self._lost:
            self._loop.add_writer(self._sock, self._writable)

    def _writable(self) -> None:
        try:
            with self._sending:
                while self._unsent:
                    sent = self._sock.send(self._unsent[0])
                    self._unsent_bytes -= sent
                    if sent < len(self._unsent[0]):
                        self._unsent[0] = self._unsent[0][sent:]
                        return
                    self._unsent.popleft()
                self._loop.remove_writer(self._sock)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as exc:
            self._lose(type(exc).__name__)
            return
        self.session.catch_up()
        if self._ended:
            self.settled()
        else:
            self._cut()

    def _lose(self, reason: str) -> None:
        """Close soon: whoever is sending must not find the session gone when `write` returns."""
        if self._lost:
            return
        if reason == _DOES_NOT_READ:
            _log.warning("peer dropped principal=%s reason=%s", self.principal.name, reason)
        self._lost = True
        self._read(on=False)
        self._loop.remove_writer(self._sock)
        self._loop.call_soon(self.close, reason)

    def _keep_descriptors(self, ancillary: list[tuple[int, int, bytes]]) -> None:
        for level, kind, data in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                received = array.array("i")
                received.frombytes(data[: len(data) - len(data) % received.itemsize])
                self._descriptors.extend(received)
        while len(self._descriptors) > self._config.descriptors_max:
            os.close(self._descriptors.pop())
            _log.warning("descriptor refused principal=%s reason=too-many", self.principal.name)

    def _watch_hangup(self) -> None:
        """Notice that a peer which only stopped sending goes altogether, so that its calls can be cancelled.

        The socket itself stays readable for ever after end of input; an epoll that asks for nothing still
        reports the hang-up, and is readable only then.
        """
        self._hangup = select.epoll()
        self._hangup.register(self._sock, 0)
        self._loop.add_reader(self._hangup, self.close, "hung up")

    def _check_linger(self) -> None:
        if self.session.busy:
            self._linger = self._loop.call_later(self._config.linger_s, self._check_linger)
        else:
            _log.warning("peer dropped principal=%s reason=%s", self.principal.name, _DOES_NOT_READ)
            self.close(_DOES_NOT_READ)
