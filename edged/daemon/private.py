"""Private models under the device's keys."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Final

from edged.errors import KeysUnavailable

if TYPE_CHECKING:
    from edged.keys.keyring import Keyring
    from edged.keys.vault import Vault

_PURPOSE: Final = "models"  # edged.keys.vault.Purpose.MODELS, whose import costs 18 MB
_FOLDER: Final = "models"


class ModelSealer:
    """An `edged.inference.models.sealing.Sealer`; places go on below the state directory, as `SealedFiles` has them."""

    def __init__(self, keyring: Callable[[], Keyring | None]) -> None:
        self._keyring = keyring

    def ready(self) -> None:
        """Raises what keeps the keys from being used."""
        self._vault()

    def seal(self, place: str, content: Iterable[bytes]) -> Iterator[bytes]:
        """Encrypt; raises as `ready`."""
        return self._vault().seal_stream(_PURPOSE, f"{_FOLDER}/{place}", content)

    def open(self, place: str, data: Iterable[bytes]) -> Iterator[bytes]:
        """Decrypt; raises KeysCorrupt, or as `ready`."""
        return self._vault().open_stream(_PURPOSE, f"{_FOLDER}/{place}", data)

    def _vault(self) -> Vault:
        keyring = self._keyring()
        if keyring is None:
            raise KeysUnavailable("there are no keys; edged keys init makes them while the daemon is stopped")
        return keyring.vault
