"""Clients that cost as little as a client can: bytes encoded beforehand, one buffer, no parsing.

An answer is checked to hold the wanted text, so an error can never pass for a fast answer.
"""

from __future__ import annotations

import mmap
import os
import selectors
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from fcntl import F_ADD_SEALS, F_SEAL_GROW, F_SEAL_SHRINK, fcntl
from pathlib import Path
from typing import NamedTuple

from bench.harness import Load

BUFFER_BYTES = 1 << 20
ANSWER_S = 30.0  # longest wait for an answer


class Wrong(Exception):
    """A server answered something else than it was asked for."""


class Request(NamedTuple):
    """Bytes to send and what the answer to them must hold."""

    data: bytes
    expect: bytes


Framing = Callable[[bytearray, int], int]
"""Length of the first whole answer among the first n bytes of a buffer; 0 where it is not whole yet."""


def line(buffer: bytearray, received: int) -> int:
    """Newline-delimited JSON, as MCP speaks it on a socket."""
    return buffer.find(b"\n", 0, received) + 1


def http(buffer: bytearray, received: int) -> int:
    """An HTTP/1.1 response with a Content-Length (RFC 9112 section 6)."""
    head = buffer.find(b"\r\n\r\n", 0, received)
    if head < 0:
        return 0
    fields = bytes(buffer[:head]).lower()
    at = fields.find(b"\ncontent-length:")
    if at < 0:
        raise Wrong(f"no Content-Length in {fields!r}")
    whole = head + 4 + int(fields[at + 16 :].split(b"\r", 1)[0])
    return whole if received >= whole else 0


class Client:
    """One connection to a Unix socket."""

    def __init__(self, path: Path, framing: Framing) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(ANSWER_S)
        self.socket.connect(str(path))
        self.buffer = bytearray(BUFFER_BYTES)
        self.received = 0
        self._view = memoryview(self.buffer)
        self._framing = framing

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *raised: object) -> None:
        self.socket.close()

    def call(self, request: Request) -> bytes:
        """Send, and give the whole answer; raises Wrong where it is not the one expected."""
        self.socket.sendall(request.data)
        self.received = 0
        while not (whole := self.receive(request.expect)):
            pass
        return bytes(self._view[:whole])

    def pass_memory(self, request: Request, descriptor: int) -> bytes:
        """`call`, with a descriptor attached to the first byte (SCM_RIGHTS)."""
        sent = socket.send_fds(self.socket, [request.data], [descriptor])
        return self.call(Request(request.data[sent:], request.expect))

    def receive(self, expect: bytes) -> int:
        """Read once; length of the answer where it is whole now, else 0."""
        count = self.socket.recv_into(self._view[self.received :])
        if not count:
            raise Wrong("the server closed the connection")
        self.received += count
        whole = self._framing(self.buffer, self.received)
        if whole and self.buffer.find(expect, 0, whole) < 0:
            raise Wrong(f"expected {expect!r} in {bytes(self._view[: min(whole, 2000)])!r}")
        return whole


@contextmanager
def shared_memory(content: bytes) -> Iterator[tuple[int, mmap.mmap]]:
    """A descriptor and its mapping, holding `content`: writable here, sealed so that it cannot shrink."""
    descriptor = os.memfd_create("frames", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.ftruncate(descriptor, len(content))
        fcntl(descriptor, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW)
        with mmap.mmap(descriptor, len(content)) as memory:
            memory[:] = content
            yield descriptor, memory
    finally:
        os.close(descriptor)


class Caller:
    """One of many who share a thread: sends as the socket takes it, then waits for the answer."""

    def __init__(self, client: Client, request: Request) -> None:
        self.client, self.request = client, request
        self.unsent = memoryview(b"")
        self.asked_at = 0.0

    def ask(self, now: float) -> None:
        """Begin the request over, as of `now`."""
        self.asked_at, self.client.received = now, 0
        self.unsent = memoryview(self.request.data)
        self.send()

    def send(self) -> None:
        """Whatever the socket takes now."""
        try:
            while self.unsent:
                self.unsent = self.unsent[self.client.socket.send(self.unsent) :]
        except BlockingIOError:
            return

    @property
    def waits_for(self) -> int:
        """Events the selector should watch for."""
        return selectors.EVENT_READ | (selectors.EVENT_WRITE if self.unsent else 0)


def crowd(clients: Sequence[Client], requests: Sequence[Request]) -> Load:
    """A load of as many callers as there are clients, each waiting for its answer before it asks again."""

    def load(seconds: float) -> list[float]:
        with selectors.DefaultSelector() as selector:
            callers = [Caller(client, request) for client, request in zip(clients, requests, strict=True)]
            for caller in callers:
                caller.client.socket.setblocking(False)
                caller.ask(time.perf_counter())
                selector.register(caller.client.socket, caller.waits_for, caller)
            try:
                return _serve(selector, len(callers), time.perf_counter() + seconds)
            finally:
                for client in clients:
                    client.socket.settimeout(ANSWER_S)

    return load


def _serve(selector: selectors.BaseSelector, callers: int, end: float) -> list[float]:
    latencies: list[float] = []
    while callers:
        events = selector.select(ANSWER_S)
        if not events:
            raise Wrong(f"no answer for {ANSWER_S:.0f} s")
        for key, mask in events:
            caller: Caller = key.data
            if mask & selectors.EVENT_WRITE:
                caller.send()
            if mask & selectors.EVENT_READ and caller.client.receive(caller.request.expect):
                now = time.perf_counter()
                latencies.append(now - caller.asked_at)
                if now < end:
                    caller.ask(now)
                else:
                    callers -= 1
            if key.events != caller.waits_for:
                selector.modify(key.fileobj, caller.waits_for, caller)
    return latencies


def pipeline(client: Client, requests: Sequence[bytes], expect: bytes, depth: int) -> Load:
    """A load that keeps `depth` requests under way; requests and answers each of one length, newline framing.

    A request's time ends with the answer of the same rank: exact where the server answers in order, and right
    on average where it does not.
    """
    size, cycle = len(requests[0]), len(requests)
    joined = memoryview(b"".join(requests) * 2)
    answer_bytes = len(client.call(Request(requests[0], expect)))

    def load(seconds: float) -> list[float]:
        latencies: list[float] = []
        sent: deque[float] = deque()
        first, more, bytes_read = 0, depth, 0
        end = time.perf_counter() + seconds
        while more or sent:
            if more:
                sent.extend([time.perf_counter()] * more)
                client.socket.sendall(joined[first * size : (first + more) * size])
                first = (first + more) % cycle
            count = client.socket.recv_into(client.buffer)
            now = time.perf_counter()
            answered = client.buffer.count(b"\n", 0, count)
            if answered > len(sent):
                raise Wrong("more answers than requests")
            latencies.extend(now - sent.popleft() for _ in range(answered))
            bytes_read += count
            more = answered if now < end else 0
        if bytes_read != answer_bytes * len(latencies):
            raise Wrong("answers differ in length: an error is among them")
        return latencies

    return load
