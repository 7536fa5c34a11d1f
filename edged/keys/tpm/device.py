"""One context of the TPM: retried when it is busy, opened again when the line breaks. For one thread."""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, TypeVar

from tpm2_pytss import ESAPI, ESYS_TR, TPM2_CAP, TSS2_Exception

from edged.errors import KeysUnavailable
from edged.keys.tpm import codes
from edged.keys.tpm.codes import Course

T = TypeVar("T")
Step = Callable[[ESAPI], T]

PATIENCE_S: Final = 8.0
"""How long a busy TPM is asked again, below the 10 s after which it counts as hung; the TSS does not pause at all."""
_FIRST_PAUSE_S: Final = 0.01
_LONGEST_PAUSE_S: Final = 1.0

# TPM 2.0 Library, part 2, 7.4: handles of loaded sessions and transient objects
_LOADED_SESSIONS: Final = 0x02000000
_TRANSIENT: Final = 0x80000000

_MANAGED: Final = re.compile(r"device:(/dev/tpmrm\d+)")
_SIMULATED: Final = re.compile(r"swtpm:path=/.+")

os.environ.setdefault("TSS2_LOG", "all+NONE")  # errors are raised; the TSS would print them as well


class Once:
    """A command that must not be carried out twice, within a step that may be repeated."""

    def __init__(self) -> None:
        self._sent = False
        self._ran = False

    @contextlib.contextmanager
    def command(self) -> Iterator[None]:
        """Around the one command."""
        self._sent = True
        yield
        self._ran = True

    def forbids(self, course: Course) -> bool:
        """Whether the step may not be repeated: the command ran, or nobody knows. Refused, it did not run."""
        return self._ran or (self._sent and course is Course.REOPEN)


class Device:
    """Named explicitly by `tcti`, as `device:/dev/tpmrm0` or `swtpm:path=/…`: without a name the TSS tries TCP.

    `wait` is called with the seconds to let pass before a busy TPM is asked again.
    """

    def __init__(
        self, tcti: str, *, owner_auth: bytes = b"", wait: Callable[[float], object] = time.sleep
    ) -> None:
        self._managed = _MANAGED.fullmatch(tcti)
        if not self._managed and not _SIMULATED.fullmatch(tcti):
            raise ValueError(f"not a TPM behind a resource manager (device:/dev/tpmrm0): {tcti!r}")
        self._tcti = tcti
        self._owner_auth = owner_auth
        self._wait = wait
        self._esapi: ESAPI | None = None

    def run(self, step: Step[T], once: Once | None = None) -> T:
        """What `step` gives, called with an open context; it opens and flushes all it uses.

        A step may run more than once: again while the TPM says it is busy, and once more when there was no room or
        the line broke; never where `once` forbids it.
        Raises KeysUnavailable, KeysCorrupt or KeysPolicy.
        """
        pause_s, waited_s, tried = _FIRST_PAUSE_S, 0.0, set[Course]()
        while True:
            try:
                return step(self._open())
            except TSS2_Exception as exc:
                course = codes.course(exc.rc)
                if course is Course.REOPEN:
                    self.close()
                if once and once.forbids(course):
                    raise codes.error(exc.rc) from exc
                if course is Course.WAIT and waited_s < PATIENCE_S:
                    self._wait(pause_s)
                    waited_s, pause_s = waited_s + pause_s, min(pause_s * 2, _LONGEST_PAUSE_S)
                elif course is Course.MAKE_ROOM and course not in tried:
                    self._make_room()
                elif course is not Course.REOPEN or course in tried:
                    raise codes.error(exc.rc) from exc
                tried.add(course)

    def close(self) -> None:
        """Let go of the TPM; the next `run` opens it again."""
        if self._esapi is not None:
            esapi, self._esapi = self._esapi, None
            with contextlib.suppress(TSS2_Exception):
                esapi.close()

    def _open(self) -> ESAPI:
        if self._esapi is None:
            if self._managed:
                _check_node(Path(self._managed[1]))
            self._esapi = ESAPI(self._tcti)
            self._esapi.tr_set_auth(ESYS_TR.OWNER, self._owner_auth)
        return self._esapi

    def _make_room(self) -> None:
        """Flush what leaked: a resource manager does so when it is let go; without one, everything is ours."""
        if self._managed or self._esapi is None:
            self.close()
            return
        for first in (_LOADED_SESSIONS, _TRANSIENT):
            for handle in handles(self._esapi, first):
                with contextlib.suppress(TSS2_Exception):
                    self._esapi.flush_context(self._esapi.tr_from_tpmpublic(handle))


def handles(esapi: ESAPI, first: int, most: int = 254) -> list[int]:
    """The TPM's handles of one kind, from `first` on."""
    _, found = esapi.get_capability(TPM2_CAP.HANDLES, first, most)  # kept: its members point into it
    return [int(handle) for handle in found.data.handles]


def _check_node(node: Path) -> None:
    """The TSS gives one code for every reason; these are the ones an owner can do something about."""
    if not node.exists():
        raise KeysUnavailable(
            f"there is no {node}: no TPM, or its driver is not loaded (Pi: dtoverlay=tpm-slb9670)"
        )
    if not os.access(node, os.R_OK | os.W_OK):
        raise KeysUnavailable(f"no right to open {node}: add this user to the group tss")
