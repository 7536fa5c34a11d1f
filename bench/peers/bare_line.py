"""Answers every line with a fixed one, from one blocking thread. `python -m bench.peers.bare_line SOCKET`."""

from __future__ import annotations

import socket
import sys

ANSWER = b'{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"hi"}]}}\n'


def main() -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(sys.argv[1])
        listener.listen()
        while True:
            connection, _ = listener.accept()
            with connection:
                while request := connection.recv(1 << 16):
                    connection.sendall(ANSWER * request.count(b"\n"))


if __name__ == "__main__":
    main()
