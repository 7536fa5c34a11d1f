"""What the TPM itself remembers: a counter that never goes back, a record of 40 bytes, and the audit anchor.

All three are written with the secret of this enrolment alone, and read by the owner of the TPM, which is most often
anybody who may open it. The owner may also remove them and make others of the same name: a counter then goes on above
where any was, a record is empty, an anchor is zero; none of it can be put back to what it was.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Final, TypeVar

from tpm2_pytss import ESAPI, ESYS_TR, TPM2_NT, TSS2_Exception

from edged.errors import KeysReplaced, KeysUnavailable
from edged.keys.tpm import codes, names, templates
from edged.keys.tpm.device import Device, Once
from edged.keys.tpm.root import Root
from edged.keys.tpm.sessions import closed, find, salted

T = TypeVar("T")
Use = Callable[[ESAPI, ESYS_TR, ESYS_TR], T]
"""What is done with an index: the context, the index, and the session that may use it."""

BASE: Final = 0x0180ED00
"""The first of our four, in the range the TCG leaves to the owner (Registry of Reserved TPM 2.0 Handles)."""
RECORD_BYTES: Final = 40
ANCHOR_BYTES: Final = 32
_COUNTER_BYTES: Final = 8


class Index:
    """One NV index, made at its first use."""

    def __init__(self, device: Device, root: Root, handle: int, kind: TPM2_NT, size: int) -> None:
        self._device = device
        self._root = root
        self._public = templates.index(handle, kind, size)
        self._names = {names.index(handle, kind, size, written=written) for written in (False, True)}
        self._handle = handle
        self._size = size

    def read(self) -> bytes:
        """What it holds, asked as the TPM's owner; empty where it is not there, or was never written."""

        def step(esapi: ESAPI) -> bytes:
            if (found := find(esapi, self._handle)) is None:
                self._root.expect(esapi)
                return b""
            with (
                self._ours(esapi, found) as index,
                self._root.open(esapi) as root,
                salted(esapi, root) as session,
            ):
                return self._content(esapi, index, session)

        try:
            return self._device.run(step)
        except codes.Unauthorised as exc:
            raise KeysUnavailable("the TPM's owner has a password, and was shown another") from exc

    def use(self, auth: bytes, use: Use[T], once: Once | None = None) -> T:
        """What `use` gives, by the secret of this enrolment; as `Device.run` otherwise."""

        def step(esapi: ESAPI) -> T:
            with (
                self._root.open(esapi) as root,
                self.open(esapi, root, auth) as index,
                salted(esapi, root) as session,
            ):
                return use(esapi, index, session)

        try:
            return self._device.run(step, once)
        except codes.Unauthorised as exc:
            raise KeysReplaced(
                f"the TPM's index 0x{self._handle:08x} belongs to another enrolment: enrol this device again"
            ) from exc

    def remove(self) -> None:
        """Remove it, as the TPM's owner."""

        def step(esapi: ESAPI) -> None:
            if (found := find(esapi, self._handle)) is None:
                return
            with self._root.open(esapi) as root, salted(esapi, root) as session:
                esapi.nv_undefine_space(found, session1=session)

        self._device.run(step)

    @contextlib.contextmanager
    def open(self, esapi: ESAPI, root: ESYS_TR, auth: bytes) -> Iterator[ESYS_TR]:
        """It, made where there is none. Raises KeysReplaced where something else has its handle."""
        if (found := find(esapi, self._handle)) is None:
            with salted(esapi, root, command=True) as session:
                found = esapi.nv_define_space(auth, self._public, session1=session)
        with self._ours(esapi, found) as index:
            esapi.tr_set_auth(index, auth)
            yield index

    @contextlib.contextmanager
    def found(self, esapi: ESAPI) -> Iterator[ESYS_TR]:
        """It, where it is. Raises KeysReplaced where something else has its handle, KeysUnavailable where nothing."""
        if (found := find(esapi, self._handle)) is None:
            raise KeysUnavailable(f"the TPM has no index 0x{self._handle:08x} yet")
        with self._ours(esapi, found) as index:
            yield index

    @contextlib.contextmanager
    def _ours(self, esapi: ESAPI, found: ESYS_TR) -> Iterator[ESYS_TR]:
        """It, by its name: the hash of handle, attributes, size and policy."""
        with closed(esapi, found) as index:
            if bytes(esapi.tr_get_name(index)) not in self._names:
                raise KeysReplaced(
                    f"the TPM's index 0x{self._handle:08x} is not ours: choose other handles, or remove it with "
                    "tpm2_nvundefine and enrol again"
                )
            yield index

    def _content(self, esapi: ESAPI, index: ESYS_TR, session: ESYS_TR) -> bytes:
        try:
            return bytes(esapi.nv_read(index, self._size, auth_handle=ESYS_TR.OWNER, session1=session))
        except TSS2_Exception as exc:
            if codes.base(exc.rc) != codes.NV_UNINITIALIZED:
                raise
            return b""


class Counter:
    """Counts up, and never back."""

    def __init__(self, device: Device, root: Root, handle: int) -> None:
        self.handle = handle
        self._index = Index(device, root, handle, TPM2_NT.COUNTER, _COUNTER_BYTES)
        self.found = self._index.found
        self.remove = self._index.remove

    def value(self, auth: bytes) -> int:
        """Where it is; made where there is none and `auth` is given, above every counter this TPM ever had."""
        held = self._index.read()
        return self.advance(auth) if auth and not held else int.from_bytes(held, "big")

    def advance(self, auth: bytes) -> int:
        """Where it is after one step. Never repeated: a step that was not answered may have been taken."""
        once = Once()

        def step(esapi: ESAPI, index: ESYS_TR, session: ESYS_TR) -> bytes:
            with once.command():
                esapi.nv_increment(index, session1=session)
            return bytes(esapi.nv_read(index, _COUNTER_BYTES, session1=session))

        return int.from_bytes(self._index.use(auth, step, once), "big")


class Record:
    """Forty bytes, replaced as one."""

    def __init__(self, device: Device, root: Root, handle: int) -> None:
        self._index = Index(device, root, handle, TPM2_NT.ORDINARY, RECORD_BYTES)
        self.remove = self._index.remove
        self.value = self._index.read

    def replace(self, auth: bytes, value: bytes) -> None:
        """Write all of it."""
        if len(value) != RECORD_BYTES:
            raise ValueError(f"the record is {RECORD_BYTES} bytes, not {len(value)}")
        self._index.use(auth, lambda esapi, index, session: esapi.nv_write(index, value, session1=session))


class Anchor:
    """A hash chain in the TPM: each digest is folded into what it holds."""

    def __init__(self, device: Device, root: Root, handle: int) -> None:
        self._index = Index(device, root, handle, TPM2_NT.EXTEND, ANCHOR_BYTES)
        self.remove = self._index.remove
        self.found = self._index.found

    def value(self) -> bytes:
        """Where the chain is; zeros before the first digest."""
        return self._index.read() or bytes(ANCHOR_BYTES)

    def extend(self, auth: bytes, digest: bytes) -> bytes:
        """Where the chain is after `digest`. Never repeated, as `Counter.advance`: read `value` after an error."""
        if len(digest) != ANCHOR_BYTES:
            raise ValueError(f"a digest is {ANCHOR_BYTES} bytes, not {len(digest)}")
        once = Once()

        def step(esapi: ESAPI, index: ESYS_TR, session: ESYS_TR) -> bytes:
            with once.command():
                esapi.nv_extend(index, digest, session1=session)
            return bytes(esapi.nv_read(index, ANCHOR_BYTES, session1=session))

        return self._index.use(auth, step, once)
