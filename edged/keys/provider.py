"""OpenSSL's provider for keys inside the TPM (tpm2-openssl), loaded into this process.

A context that uses it fails for good once its TPM was lost, until the process starts again.
"""

from __future__ import annotations

import ctypes
import os
import ssl
from typing import Final

from edged.errors import KeysUnavailable

_LIBRARY: Final = "libcrypto.so.3"
_NAME: Final = b"tpm2"
_PREFER_SOFTWARE: Final = b"?provider!=tpm2"
"""For all that needs no key of the TPM. The `?provider=tpm2` of its documentation breaks every handshake."""


class Provider:
    """Reached through `tcti`; one a process. `unload` it where it turns out to be of no use."""

    def __init__(self, tcti: str) -> None:
        self._crypto = _library()
        os.environ["TPM2OPENSSL_TCTI"] = tcti
        default = self._load(b"default")  # explicitly, or the next one would stand alone
        try:
            self._loaded = [self._load(_NAME), default]
        except KeysUnavailable:
            self._crypto.OSSL_PROVIDER_unload(default)
            raise
        self._crypto.EVP_set_default_properties(None, _PREFER_SOFTWARE)

    def unload(self) -> None:
        """As if it had never been; contexts that use it must be gone."""
        self._crypto.EVP_set_default_properties(None, b"")
        while self._loaded:
            self._crypto.OSSL_PROVIDER_unload(self._loaded.pop(0))

    def _load(self, name: bytes) -> ctypes.c_void_p:
        if not (loaded := self._crypto.OSSL_PROVIDER_load(None, name)):
            raise KeysUnavailable(
                f"OpenSSL has no provider {name.decode()}, or it cannot open the TPM: apt-get install tpm2-openssl"
            )
        return ctypes.c_void_p(loaded)


def _library() -> ctypes.CDLL:
    """The one that `ssl` uses; another copy would load the provider for nobody."""
    try:
        crypto = ctypes.CDLL(_LIBRARY)
        crypto.OpenSSL_version.restype = ctypes.c_char_p
        version = crypto.OpenSSL_version(0).decode()
    except (OSError, AttributeError) as exc:
        raise KeysUnavailable(f"this Python's OpenSSL knows no providers ({ssl.OPENSSL_VERSION})") from exc
    if version != ssl.OPENSSL_VERSION:
        raise KeysUnavailable(
            f"this Python has an OpenSSL of its own ({ssl.OPENSSL_VERSION}; system: {version})"
        )
    crypto.OSSL_PROVIDER_load.restype = ctypes.c_void_p
    crypto.OSSL_PROVIDER_load.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
    crypto.OSSL_PROVIDER_unload.argtypes = [ctypes.c_void_p]
    crypto.EVP_set_default_properties.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
    return crypto
