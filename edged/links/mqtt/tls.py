"""How a connection is encrypted and proves who it is."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Protocol

from edged.errors import BadConfig


class Tls(Protocol):
    """Whoever holds the device's key."""

    def context(self) -> ssl.SSLContext:
        """A client's context with the certificate and its key in it; called at every connect, on a thread.

        Raises EdgedError where the key cannot be had.
        """


class PemFiles:
    """Certificates and the key in PEM files, read at every connect: a renewed one needs no restart.

    `ca` None: the system's authorities. `cert` None: the broker is not told who this is.
    """

    def __init__(self, ca: Path | None = None, cert: Path | None = None, key: Path | None = None) -> None:
        self._ca = ca
        self._cert = cert
        self._key = key

    def context(self) -> ssl.SSLContext:
        """Raises BadConfig with the file that cannot be used."""
        context = client_context(self._ca)
        if self._cert:
            try:
                context.load_cert_chain(self._cert, self._key)
            except OSError as exc:  # an ssl.SSLError too
                raise BadConfig(
                    f"cannot use {self._cert} with {self._key or 'the key in it'}: {_why(exc)}"
                ) from exc
        return context


def client_context(ca: Path | None) -> ssl.SSLContext:
    """TLS 1.3, the broker's certificate and host name checked; raises BadConfig where `ca` cannot be used."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    try:
        if ca:
            context.load_verify_locations(ca)
        else:
            context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    except OSError as exc:
        raise BadConfig(f"cannot use {ca}: {_why(exc)}") from exc
    return context


def _why(exc: OSError) -> str:
    return exc.strerror or str(exc)
