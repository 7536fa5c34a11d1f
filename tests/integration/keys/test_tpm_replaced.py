"""A TPM that is another one, was cleared, or holds what is not ours; told apart from damage."""

from __future__ import annotations

from pathlib import Path

import pytest
from tpm2_pytss import ESAPI, ESYS_TR, TPM2_NT, TPM2B_PUBLIC

from edged.errors import KeysCorrupt, KeysReplaced, KeysUnavailable
from edged.keys.backend import Sealed
from edged.keys.tpm import templates
from edged.keys.tpm.backend import TpmBackend
from edged.keys.tpm.device import handles
from edged.keys.tpm.opening import TpmSettings, open_tpm
from tests.rig.swtpm import Swtpm
from tests.rig.tpm import DIGEST, ROOT, closing, enrolled, held


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def test_a_damaged_blob_is_corrupt(tpm: Swtpm) -> None:
    with closing(backend := enrolled(tpm.tcti)):
        sealed = backend.seal(ROOT)
        damaged = Sealed(public=sealed.public, private=flipped(sealed.private, 40), parent=sealed.parent)
        with pytest.raises(KeysCorrupt):
            backend.unseal(damaged)
        damaged = Sealed(
            public=flipped(sealed.public, len(sealed.public) - 1),
            private=sealed.private,
            parent=sealed.parent,
        )
        with pytest.raises(KeysCorrupt, match="damaged"):
            backend.unseal(damaged)


def test_halves_of_two_secrets_are_corrupt(tpm: Swtpm) -> None:
    with closing(backend := enrolled(tpm.tcti)):
        one, other = backend.seal(ROOT), backend.seal(DIGEST)
        with pytest.raises(KeysCorrupt, match="damaged"):
            backend.unseal(Sealed(public=one.public, private=other.private, parent=one.parent))


def test_garbage_that_the_tpm_gives_is_noticed(tpm: Swtpm, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(backend := enrolled(tpm.tcti)):
        sealed = backend.seal(ROOT)
        monkeypatch.setattr(
            ESAPI, "unseal", lambda *_args, **_named: b"other bytes than were sealed, of any length"
        )
        with pytest.raises(KeysCorrupt, match="other bytes than were sealed"):
            backend.unseal(sealed)


def test_state_copied_to_another_tpm_is_refused_by_name(tpm: Swtpm) -> None:
    with closing(backend := enrolled(tpm.tcti)):
        sealed, identity, pinned = backend.seal(ROOT), backend.make_identity(), backend.device
    with Swtpm() as another:
        with closing(copy := enrolled(another.tcti, pinned)):
            assert_refused(copy, sealed, identity, "is gone")
        with closing(owner := enrolled(another.tcti)):
            owner.seal(ROOT)
        with closing(copy := enrolled(another.tcti, pinned)):
            assert_refused(copy, sealed, identity, "is not ours")


def test_a_replaced_tpm_is_told_even_where_nothing_is_pinned(tpm: Swtpm) -> None:
    with closing(backend := enrolled(tpm.tcti)):
        sealed, identity = backend.seal(ROOT), backend.make_identity()
        tpm.wipe()
        assert_refused(backend, sealed, identity, "is gone")
        backend.seal(ROOT)
        assert_refused(backend, sealed, identity, "is not ours")


def test_a_cleared_tpm_is_told_and_made_nothing_of_by_itself(tpm: Swtpm) -> None:
    with closing(backend := enrolled(tpm.tcti)):
        sealed, identity, pinned = backend.seal(ROOT), backend.make_identity(), backend.device
        backend.set_record(b"a" * 40)
        with ESAPI(tpm.tcti) as esapi:
            esapi.clear(ESYS_TR.LOCKOUT)
        assert_refused(backend, sealed, identity, "cleared")
        with closing(again := enrolled(tpm.tcti, pinned)):
            for use in (again.counter, again.record, again.anchor, again.advance, again.make_identity):
                with pytest.raises(KeysReplaced, match="cleared"):
                    use()
        assert held(tpm.tcti) == []
        with ESAPI(tpm.tcti) as esapi:
            assert handles(esapi, 0x81000001, 1) == []


def test_something_else_in_the_root_keys_place_is_refused(tpm: Swtpm) -> None:
    with ESAPI(tpm.tcti) as esapi:
        key, *_ = esapi.create_primary(None, templates.signer(), ESYS_TR.OWNER)
        esapi.evict_control(ESYS_TR.OWNER, key, 0x81000001)
        esapi.flush_context(key)
    with closing(backend := enrolled(tpm.tcti)), pytest.raises(KeysUnavailable, match="no storage key"):
        backend.seal(ROOT)


def test_an_rsa_root_key_that_another_system_made_serves_as_well(tpm: Swtpm) -> None:
    with ESAPI(tpm.tcti) as esapi:
        made, *_ = esapi.create_primary(
            None, TPM2B_PUBLIC.parse("rsa2048:aes128cfb", objectAttributes=templates.STORAGE), ESYS_TR.OWNER
        )
        esapi.evict_control(ESYS_TR.OWNER, made, 0x81000001)
        esapi.flush_context(made)
    with closing(backend := enrolled(tpm.tcti)):
        assert backend.unseal(backend.seal(ROOT)) == ROOT
        assert backend.sign(backend.make_identity(), DIGEST)


def test_another_place_for_the_root_key_may_be_chosen(tpm: Swtpm) -> None:
    with closing(backend := open_tpm(TpmSettings(tcti=tpm.tcti, root=0x81000042))):
        assert backend.unseal(backend.seal(ROOT)) == ROOT


def test_somebody_elses_index_is_refused(tpm: Swtpm) -> None:
    with ESAPI(tpm.tcti) as esapi:
        esapi.nv_define_space(b"", templates.index(0x0180ED01, TPM2_NT.ORDINARY, 8))
    with closing(backend := enrolled(tpm.tcti)):
        with pytest.raises(KeysReplaced, match="is not ours"):
            backend.record()
        with pytest.raises(KeysReplaced, match="is not ours"):
            backend.set_record(b"a" * 40)


def test_where_the_library_is_missing_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "tpm2_pytss.py").write_text("raise ImportError('no tss')")
    for name in ("tpm2_pytss", "edged.keys.tpm.backend", "edged.keys.tpm.device"):
        monkeypatch.setitem(__import__("sys").modules, name, None)
    with pytest.raises(KeysUnavailable, match=r"pip install 'edged\[tpm\]'"):
        open_tpm(TpmSettings())


def assert_refused(backend: TpmBackend, sealed: Sealed, identity: Sealed, why: str) -> None:
    with pytest.raises(KeysReplaced, match=why):
        backend.unseal(sealed)
    with pytest.raises(KeysReplaced, match=why):
        backend.sign(identity, DIGEST)
