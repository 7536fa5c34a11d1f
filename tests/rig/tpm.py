"""What tests ask of a TPM beside what edged does."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from tpm2_pytss import (
    ESAPI,
    ESYS_TR,
    TPM2_ALG,
    TPML_DIGEST_VALUES,
    TPMT_HA,
    TPMU_HA,
)

from edged.keys.tpm.backend import TpmBackend
from edged.keys.tpm.device import Device, handles
from edged.keys.tpm.opening import TpmSettings, open_tpm

SECRET = bytes(range(32))
ROOT = bytes(range(100, 132))
DIGEST = bytes(range(200, 232))

TRANSIENT = 0x80000000
LOADED_SESSIONS = 0x02000000


def enrolled(tcti: str, pinned: bytes = b"") -> TpmBackend:
    """The backend, shown the secret of its enrolment."""
    backend = open_tpm(TpmSettings(tcti=tcti), pinned=pinned)
    backend.authorise(SECRET)
    return backend


def patient(tcti: str, pauses_s: list[float]) -> TpmBackend:
    """Likewise, which notes its pauses and makes none."""
    backend = TpmBackend(Device(tcti, wait=pauses_s.append))
    backend.authorise(SECRET)
    return backend


def measure(tcti: str, pcr: int, digest: bytes) -> None:
    """Extend a register, as firmware does."""
    value = TPMT_HA(hashAlg=TPM2_ALG.SHA256, digest=TPMU_HA(sha256=digest))
    with ESAPI(tcti) as esapi:
        esapi.pcr_extend(ESYS_TR(pcr), TPML_DIGEST_VALUES([value]))


def held(tcti: str) -> list[int]:
    """The slots that are taken: transient objects and loaded sessions."""
    with ESAPI(tcti) as esapi:
        return handles(esapi, TRANSIENT) + handles(esapi, LOADED_SESSIONS)


@contextlib.contextmanager
def closing(*backends: TpmBackend) -> Iterator[None]:
    """They are closed at the end."""
    try:
        yield
    finally:
        for backend in backends:
            backend.close()
