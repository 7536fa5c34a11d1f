"""A key inside a backend, for what of `cryptography` signs with a key: certificate requests."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any, NoReturn

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from edged.keys.tpm import names

Sign = Callable[[bytes], bytes]
"""ECDSA over a SHA-256 digest: r and s."""


class DeviceKey(ec.EllipticCurvePrivateKey):
    """ECDSA P-256 with SHA-256, of which nothing but the public half is here. For the keys' thread."""

    def __init__(self, public: bytes, sign: Sign) -> None:
        self._public = names.p256(public)
        self._sign = sign

    def sign(self, data: Any, signature_algorithm: ec.EllipticCurveSignatureAlgorithm) -> bytes:
        """Over SHA-256 of `data`; DER."""
        if not isinstance(signature_algorithm.algorithm, hashes.SHA256):
            raise ValueError("this key signs SHA-256 alone")  # noqa: TRY004 - the type is right, the algorithm is not
        flat = self._sign(hashlib.sha256(data).digest())
        return encode_dss_signature(int.from_bytes(flat[:32], "big"), int.from_bytes(flat[32:], "big"))

    def public_key(self) -> ec.EllipticCurvePublicKey:
        """Its public half."""
        return self._public

    @property
    def curve(self) -> ec.EllipticCurve:
        """P-256."""
        return self._public.curve

    @property
    def key_size(self) -> int:
        """Bits."""
        return self._public.key_size

    def exchange(self, algorithm: ec.ECDH, peer_public_key: ec.EllipticCurvePublicKey) -> NoReturn:
        """It signs, and nothing else."""
        raise NotImplementedError

    def private_numbers(self) -> NoReturn:
        """They do not leave the backend."""
        raise NotImplementedError

    def private_bytes(self, encoding: Any, format: Any, encryption_algorithm: Any) -> NoReturn:  # noqa: A002 - its name there
        """Likewise."""
        raise NotImplementedError

    def __copy__(self) -> DeviceKey:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> DeviceKey:
        return self
