"""TLS with the device's own key: opened into memory for the moment it is loaded, or never leaving the TPM."""

from __future__ import annotations

import contextlib
import os
import ssl
from collections.abc import Callable, Iterator
from typing import Final, Protocol

from edged.errors import KeysUnavailable

_NOEXEC_SEAL: Final = 0x0008  # MFD_NOEXEC_SEAL, Linux 6.3; some systems refuse a memory file without it


class Material(Protocol):
    """A certificate and its key, as `edged.keys.enrolling.material` gives them; all PEM."""

    @property
    def certificate(self) -> bytes:
        """With what lies between it and its authority."""

    @property
    def key(self) -> bytes:
        """PKCS8, or the blob of a key inside the TPM."""

    @property
    def broker_ca(self) -> bytes:
        """The authorities that sign the brokers' certificates."""


class DeviceTls:
    """What a connection is given to prove who it is (`edged.links.mqtt.tls.Tls`).

    `fetch` gives what to connect with now, and may block: `context` is called at every connect, on a thread.
    `password` is a `NativeKey`'s.
    """

    def __init__(self, fetch: Callable[[], Material], password: str = "") -> None:
        self._fetch = fetch
        self._password = password

    def context(self) -> ssl.SSLContext:
        """A client's context with the certificate and its key; raises as `fetch`, and KeysUnavailable."""
        return context(self._fetch(), self._password)


def context(material: Material, password: str = "") -> ssl.SSLContext:
    """A client's: TLS 1.3, the broker's certificate and host name checked, the key never in a file on a disk.

    Raises KeysUnavailable where the key cannot be loaded.
    """
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.minimum_version = ssl.TLSVersion.TLSv1_3
    made.load_verify_locations(cadata=material.broker_ca.decode("ascii"))
    load_key(made, material.certificate, material.key, password)
    return made


def load_key(into: ssl.SSLContext, certificate: bytes, key: bytes, password: str = "") -> None:
    """Give a context its certificate and key, through files that are memory alone; raises KeysUnavailable."""
    with in_memory(certificate) as chain, in_memory(key) as private:
        try:
            into.load_cert_chain(chain, private, password=password)
        except OSError as exc:  # an ssl.SSLError too
            raise KeysUnavailable(f"OpenSSL does not take the TLS key: {_why(exc)}") from exc


@contextlib.contextmanager
def in_memory(data: bytes) -> Iterator[str]:
    """A path under which `data` may be opened by this process; overwritten and gone afterwards.

    Raises KeysUnavailable where the system has no memory files.
    """
    try:
        fd = _memory_file()
    except OSError as exc:
        raise KeysUnavailable(f"cannot make a memory file: {exc.strerror}") from exc
    try:
        os.pwrite(fd, data, 0)
        yield f"/proc/self/fd/{fd}"
    finally:
        os.pwrite(fd, bytes(len(data)), 0)
        os.close(fd)


def _memory_file() -> int:
    try:
        return os.memfd_create("edged:tls", os.MFD_CLOEXEC | _NOEXEC_SEAL)
    except OSError:  # a kernel older than the flag
        return os.memfd_create("edged:tls", os.MFD_CLOEXEC)


def _why(exc: OSError) -> str:
    return exc.strerror or str(exc)
