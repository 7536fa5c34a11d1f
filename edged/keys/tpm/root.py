"""The storage root key: who this TPM is. Its name is pinned at enrolment."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Final

from tpm2_pytss import ESAPI, ESYS_TR, TPMA_OBJECT

from edged.errors import KeysReplaced, KeysUnavailable
from edged.keys.tpm import templates
from edged.keys.tpm.sessions import closed, find, flushed, salted

HANDLE: Final = 0x81000001
"""Where the TCG's provisioning guidance and systemd keep it."""

_REMEDY: Final = "nothing was changed; put the old one back, or recover this device with its recovery key"


class Root:
    """The storage root key at `handle`; made there where `pinned` is empty and there is none."""

    def __init__(self, pinned: bytes = b"", handle: int = HANDLE) -> None:
        self._pinned = pinned
        self.handle = handle
        self._checked = b""

    @contextlib.contextmanager
    def open(self, esapi: ESAPI, parent: bytes = b"") -> Iterator[ESYS_TR]:
        """It, checked to be the pinned one and the `parent` of what is to be loaded, where given.

        Raises KeysReplaced where it is another or gone, KeysUnavailable where it is no storage key.
        """
        expected = {parent, self._pinned} - {b""}
        found = find(esapi, self.handle)
        if found is None and expected:
            raise KeysReplaced(f"the TPM was cleared, or is another one: its root key is gone; {_REMEDY}")
        with closed(esapi, self._make(esapi) if found is None else found) as root:
            name = self.name(esapi, root)
            if expected - {name}:
                raise KeysReplaced(
                    f"the TPM was cleared, or is another one: its root key is not ours; {_REMEDY}"
                )
            if name != self._checked:
                self._check(esapi, root)
                self._checked = name
            yield root

    def expect(self, esapi: ESAPI) -> None:
        """Raise KeysReplaced unless the pinned one is there; makes nothing."""
        if self._pinned:
            with self.open(esapi):
                pass

    @staticmethod
    def name(esapi: ESAPI, root: ESYS_TR) -> bytes:
        """The hash of its public area, which the TSS has checked to be the one it talks to."""
        return bytes(esapi.tr_get_name(root))

    def _make(self, esapi: ESAPI) -> ESYS_TR:
        with salted(
            esapi, ESYS_TR.NONE
        ) as session:  # nothing to salt with yet; no owner's password is shown either
            primary, *_ = esapi.create_primary(
                None, templates.storage_root(), ESYS_TR.OWNER, session1=session
            )
        with flushed(esapi, primary), salted(esapi, primary) as session:
            return esapi.evict_control(ESYS_TR.OWNER, primary, self.handle, session1=session)

    def _check(self, esapi: ESAPI, root: ESYS_TR) -> None:
        """Whether it is what it should be; its name covers all of that, and is looked at every time."""
        public, *_ = esapi.read_public(root)
        attributes = TPMA_OBJECT(public.publicArea.objectAttributes)
        if attributes & templates.STORAGE != templates.STORAGE or attributes & TPMA_OBJECT.SIGN_ENCRYPT:
            raise KeysUnavailable(
                f"what is at 0x{self.handle:08x} is no storage key (attributes 0x{attributes:x}): another system "
                "put it there; remove it with tpm2_evictcontrol if nothing needs it"
            )
