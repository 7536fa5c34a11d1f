"""The keys of a board without a TPM, for a library of private models."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from edged.keys.vault import Purpose, Vault
from tests.rig.keyring import keyplace


class Keys:
    """An `edged.inference.models.sealing.Sealer` on the keys below a state directory."""

    def __init__(self, state: Path) -> None:
        self.vault: Vault = keyplace(state).open_or_make()

    def ready(self) -> None:
        """They are open."""

    def seal(self, place: str, content: Iterable[bytes]) -> Iterator[bytes]:
        return self.vault.seal_stream(Purpose.MODELS, f"models/{place}", content)

    def open(self, place: str, data: Iterable[bytes]) -> Iterator[bytes]:
        return self.vault.open_stream(Purpose.MODELS, f"models/{place}", data)
