"""A TCP proxy on loopback that fails on purpose: a black hole, a cut in the middle of a packet, a delay."""

from __future__ import annotations

import contextlib
import socket
import threading
from types import TracebackType

_CHUNK_BYTES = 65536


class Proxy:
    """Carries bytes from its own `port` to `target`, which may change, until told otherwise. Threads of its own.

    `hole`: what is sent goes nowhere, connections are taken and nothing is said. `cut_up_after`, `cut_down_after`:
    each connection is cut once that many more bytes have gone to or come from the target. `delay_s`: each way.
    """

    def __init__(self, target: int) -> None:
        self.target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.cut_up_after: int | None = None
        self.cut_down_after: int | None = None
        self.delay_s = 0.0
        self.accepted = 0
        self._open = threading.Event()
        self._open.set()
        self._ended = threading.Event()
        self._socks: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._threads = [self._thread(self._accept)]

    def __enter__(self) -> Proxy:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, where: TracebackType | None
    ) -> None:
        self._ended.set()
        self._open.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()
        for thread in self._threads:
            thread.join()

    @property
    def url(self) -> str:
        return f"mqtt://127.0.0.1:{self.port}"

    def hole(self, *, on: bool = True) -> None:
        """Swallow everything, or no longer."""
        if on:
            self._open.clear()
        else:
            self._open.set()

    def cut(self) -> None:
        """Cut every connection there is."""
        with self._lock:
            for sock in self._socks:
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while not self._ended.is_set():
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            self.accepted += 1
            try:
                far = socket.create_connection(("127.0.0.1", self.target))
            except OSError:
                near.close()
                continue
            for sock in (near, far):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._socks |= {near, far}
            both_done = threading.Barrier(2)
            self._threads.append(self._thread(self._pump, near, far, "cut_up_after", both_done))
            self._threads.append(self._thread(self._pump, far, near, "cut_down_after", both_done))

    def _pump(
        self, source: socket.socket, sink: socket.socket, budget: str, both_done: threading.Barrier
    ) -> None:
        with contextlib.suppress(OSError):
            while chunk := source.recv(_CHUNK_BYTES):
                self._open.wait()
                self._ended.wait(self.delay_s)
                left: int | None = getattr(self, budget)
                if left is None:
                    sink.sendall(chunk)
                    continue
                sink.sendall(chunk[:left])
                setattr(self, budget, max(0, left - len(chunk)))
                if left <= len(chunk):
                    setattr(self, budget, None)
                    break
        for sock in (source, sink):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        if both_done.wait() == 0:
            with self._lock:
                self._socks -= {source, sink}
                source.close()
                sink.close()

    def _thread(self, work: object, *args: object) -> threading.Thread:
        thread = threading.Thread(target=work, args=args, name="proxy", daemon=True)  # type: ignore[arg-type] # any function
        thread.start()
        return thread
