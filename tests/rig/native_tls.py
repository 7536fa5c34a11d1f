"""A process that does TLS with a key inside a TPM: OpenSSL's provider is for a whole process.

    python -m tests.rig.native_tls TCTI HOST PORT DIRECTORY

The directory holds `key.pem`, `password`, `key.der`, `device.crt` and `ca.crt`. Prints `connected` once the broker has
let it in, `refused: …` where this machine cannot.
"""

from __future__ import annotations

import socket
import sys
from pathlib import Path
from typing import NamedTuple

from edged.errors import KeysUnavailable
from edged.keys import native, tls
from edged.keys.backend import NativeKey

# MQTT 5, 3.1: CONNECT of a clean session, client id "native"; and 3.2: a CONNACK begins so
CONNECT = b"\x10\x13\x00\x04MQTT\x05\x02\x00\x0a\x00\x00\x06native"
CONNACK = 0x20


class Found(NamedTuple):
    certificate: bytes
    key: bytes
    broker_ca: bytes


def main(tcti: str, host: str, port: str, directory: str) -> str:
    home = Path(directory)
    pem, password, public = (home / name for name in ("key.pem", "password", "key.der"))
    key = NativeKey(pem.read_bytes(), password.read_text(), public.read_bytes())
    try:
        native.load(tcti, key)
    except KeysUnavailable as exc:
        return f"refused: {exc.message}"
    found = Found((home / "device.crt").read_bytes(), key.pem, (home / "ca.crt").read_bytes())
    context = tls.context(found, key.password)
    with (
        socket.create_connection((host, int(port))) as plain,
        context.wrap_socket(plain, server_hostname=host) as line,
    ):
        line.sendall(CONNECT)
        answer = line.recv(64)
    return "connected" if answer[:1] == bytes([CONNACK]) and answer[3] == 0 else f"answered {answer.hex()}"


if __name__ == "__main__":
    print(main(*sys.argv[1:]))
