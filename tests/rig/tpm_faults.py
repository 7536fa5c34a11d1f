"""The wire between the daemon and its TPM: hears every byte, and breaks where it is told to.

It stands outside the process under test, between its TCTI and swtpm, as an interposer on a board's bus would.
"""

from __future__ import annotations

import contextlib
import shutil
import socket
import struct
import tempfile
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

from tests.rig.swtpm import Swtpm

# TPM 2.0 Library, part 2, 6.5.2: command codes
NV_INCREMENT: Final = 0x134
NV_EXTEND: Final = 0x136
NV_WRITE: Final = 0x137
NV_READ: Final = 0x14E
UNSEAL: Final = 0x15E
LOAD: Final = 0x157
SIGN: Final = 0x15D
START_AUTH_SESSION: Final = 0x176
GET_CAPABILITY: Final = 0x17A
FLUSH_CONTEXT: Final = 0x165

Send = Callable[[bytes], bytes]
Fault = Callable[[bytes, Send], bytes | None]
"""Given a command and a way to have it run: the response to hand back, or None to break the line."""


def answers(code: int) -> Fault:
    """The TPM refuses with `code`; the command does not run."""
    response = struct.pack(">HII", 0x8001, 10, code)
    return lambda _command, _send: response


def never_arrives(_command: bytes, _send: Send) -> None:
    """The line breaks before the command is heard."""


def is_not_answered(command: bytes, send: Send) -> None:
    """The line breaks after the command has run."""
    send(command)


def rewritten(old: bytes, new: bytes) -> Fault:
    """The command runs, and its response is altered on the way."""
    return lambda command, send: send(command).replace(old, new)


def after(act: Callable[[], object]) -> Fault:
    """`act`, and then the command is sent on."""

    def fault(command: bytes, send: Send) -> bytes:
        act()
        return send(command)

    return fault


class Bus:
    """`with Bus(tpm) as bus:` and open `bus.tcti` instead of the TPM's own."""

    def __init__(self, tpm: Swtpm) -> None:
        self._tpm = tpm
        self._folder = Path(tempfile.mkdtemp(prefix="bus"))
        self._path = self._folder / "s"
        self._faults: list[tuple[int, Fault]] = []
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self.commands: list[bytes] = []
        self.responses: list[bytes] = []

    @property
    def tcti(self) -> str:
        """How the TSS reaches the TPM through this wire."""
        return f"swtpm:path={self._path}"

    @property
    def heard(self) -> bytes:
        """Everything that crossed it, both ways."""
        return b"".join(self.commands + self.responses)

    def codes(self) -> list[int]:
        """The command codes that crossed it, in order."""
        return [_code(command) for command in self.commands]

    def on(self, code: int, *faults: Fault) -> None:
        """What happens to the next commands of this code, one fault each."""
        with self._lock:
            self._faults += [(code, fault) for fault in faults]

    def clear(self) -> None:
        """No faults any more, and nothing heard."""
        with self._lock:
            self._faults.clear()
        self.commands.clear()
        self.responses.clear()

    def __enter__(self) -> Bus:
        self._serve(self._path, self._line)
        self._serve(Path(f"{self._path}.ctrl"), self._control)
        return self

    def __exit__(self, *exc: object) -> None:
        for open_socket in self._sockets:
            with contextlib.suppress(OSError):
                open_socket.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        for open_socket in self._sockets:
            open_socket.close()
        shutil.rmtree(self._folder)

    def _serve(self, path: Path, handle: Callable[[socket.socket], None]) -> None:
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(str(path))
        listening.listen(8)
        self._sockets.append(listening)

        def accept() -> None:
            with contextlib.suppress(OSError):  # shut down
                while True:
                    client, _ = listening.accept()
                    self._sockets.append(client)
                    self._start(partial(_until_broken, handle, client))

        self._start(accept)

    def _start(self, work: Callable[[], None]) -> None:
        thread = threading.Thread(target=work, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _line(self, client: socket.socket) -> None:
        while True:
            command = _message(client)
            self.commands.append(command)
            response = self._fault(_code(command))(command, self._send)
            if response is None:
                return
            self.responses.append(response)
            client.sendall(response)

    def _send(self, command: bytes) -> bytes:
        """On a line of its own: swtpm listens to one at a time, and a fault may want to talk to it first."""
        with _connected(self._tpm.path) as upstream:
            self._sockets.append(upstream)
            upstream.sendall(command)
            return _message(upstream)

    def _control(self, client: socket.socket) -> None:
        with _connected(Path(f"{self._tpm.path}.ctrl")) as upstream:
            self._sockets.append(upstream)
            while request := client.recv(4096):
                upstream.sendall(request)
                client.sendall(upstream.recv(4096))

    def _fault(self, code: int) -> Fault:
        with self._lock:
            for index, (wanted, fault) in enumerate(self._faults):
                if wanted == code:
                    del self._faults[index]
                    return fault
        return lambda command, send: send(command)


def _until_broken(handle: Callable[[socket.socket], None], client: socket.socket) -> None:
    with client, contextlib.suppress(OSError, EOFError):
        handle(client)


def _connected(path: Path) -> socket.socket:
    upstream = socket.socket(socket.AF_UNIX)
    try:
        upstream.connect(str(path))
    except OSError:
        upstream.close()
        raise
    return upstream


def _code(command: bytes) -> int:
    return int.from_bytes(command[6:10], "big")


def _message(source: socket.socket) -> bytes:
    """One TPM command or response: tag, size, code, body (part 1, 18)."""
    head = _exactly(source, 10)
    return head + _exactly(source, int.from_bytes(head[2:6], "big") - 10)


def _exactly(source: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        if not (chunk := source.recv(size - len(data))):
            raise EOFError
        data += chunk
    return data
