"""New root secrets while everything goes on, and old ones given up once nothing needs them."""

from __future__ import annotations

import os

import msgspec

from edged.errors import Rejected
from edged.keys import recovery
from edged.keys.opening import seal_root
from edged.keys.secret import ROOT_BYTES, Secret
from edged.keys.vault import Vault


def rotate(vault: Vault, note_reason: str = "operator") -> int:
    """A new epoch with a root of its own: what is sealed from now on needs it, what was sealed still opens.

    The new epoch. After a power cut either the old one or the new one is in force.
    """
    keys, epoch = vault.keystore, vault.epoch + 1
    vault.note.note("keys.rotate", {"epoch": epoch, "reason": note_reason})
    root = Secret(os.urandom(ROOT_BYTES))
    public = None if keys.recovery_public is None else recovery.load_spki(keys.recovery_public)
    made = seal_root(vault.backend, epoch, root, public)
    changed = msgspec.structs.replace(keys, roots=(*keys.roots, made))
    vault.adopt(changed, {**vault.roots(), epoch: root})
    return epoch


def retire(vault: Vault, below: int) -> list[int]:
    """Give up the roots of every epoch before `below`; what was sealed in them never opens again.

    The epochs given up. The caller has sealed again what is still needed.
    """
    if below > vault.epoch:
        raise Rejected(f"epoch {vault.epoch} is in use: only older ones can be retired")
    keys = vault.keystore
    gone = [root.epoch for root in keys.roots if root.epoch < below]
    if gone:
        vault.note.note("keys.retire", {"epochs": gone})
        kept = tuple(root for root in keys.roots if root.epoch >= below)
        roots = {epoch: secret for epoch, secret in vault.roots().items() if epoch >= below}
        vault.adopt(msgspec.structs.replace(keys, roots=kept), roots)
    return gone
