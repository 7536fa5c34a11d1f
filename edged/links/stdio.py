"""A dumb pump between standard streams and the daemon's socket, for hosts that start their servers.

Knows nothing of MCP and imports nothing heavy: `ssh board edged stdio` runs it once a session.
"""

from __future__ import annotations

import os
import socket
import sys
import threading

_CHUNK_BYTES = 256 * 1024
_EX_UNAVAILABLE = 69  # sysexits.h


def pump(path: str | os.PathLike[str], source: int = 0, sink: int = 1) -> int:
    """Carry bytes both ways until the daemon has answered everything; return the exit code.

    End of input is passed on and what is still due is waited for. 0: all was carried. 69: nobody listens at
    `path`, or the daemon went away first.
    """
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.connect(os.fspath(path))
    except OSError as exc:
        sys.stderr.write(f"edged: cannot reach the daemon at {path}: {exc.strerror}\n")
        return _EX_UNAVAILABLE
    ended = threading.Event()
    threading.Thread(target=_send, args=(source, sock, ended), daemon=True).start()
    host_listens = _receive(sock, sink)
    if ended.is_set() or not host_listens:
        return 0
    sys.stderr.write("edged: the daemon closed the connection\n")
    return _EX_UNAVAILABLE


def _send(source: int, sock: socket.socket, ended: threading.Event) -> None:
    try:
        while chunk := os.read(source, _CHUNK_BYTES):
            sock.sendall(chunk)
        ended.set()
        sock.shutdown(socket.SHUT_WR)
    except OSError:  # the daemon went away: the other direction sees it too, and says so
        return


def _receive(sock: socket.socket, sink: int) -> bool:
    """Whether the host took all there was."""
    try:
        while chunk := sock.recv(_CHUNK_BYTES):
            rest = memoryview(chunk)
            while rest:
                rest = rest[os.write(sink, rest) :]
    except BrokenPipeError:
        return False
    except ConnectionError:
        return True
    return True


if __name__ == "__main__":
    sys.exit(pump(sys.argv[1]))
