"""What a TPM, its bus and its power supply do at the wrong moment."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

import pytest
from tpm2_pytss import ESAPI, ESYS_TR, TPM2_CAP, TPM2_PT

from edged.errors import KeysUnavailable
from edged.keys.thread import KeysThread
from edged.keys.tpm.device import PATIENCE_S, Device
from edged.keys.tpm.opening import TpmSettings, open_tpm
from tests.rig import tpm_faults as faults
from tests.rig.swtpm import Swtpm
from tests.rig.tpm import DIGEST, ROOT, closing, enrolled, held, patient
from tests.rig.tpm_faults import Bus, after, answers

BUSY = [0x922, 0x908, 0x90A, 0x920, 0x128]
READ_CLOCK = 0x181


@pytest.mark.parametrize("code", BUSY, ids=hex)
def test_a_busy_tpm_is_asked_again_after_a_pause(bus: Bus, code: int) -> None:
    pauses_s: list[float] = []
    with closing(backend := patient(bus.tcti, pauses_s)):
        sealed = backend.seal(ROOT)
        bus.on(faults.UNSEAL, *[answers(code)] * 7)  # the TSS itself repeats some of them five times, at once
        assert backend.unseal(sealed) == ROOT
    assert pauses_s


@pytest.mark.parametrize("code", BUSY, ids=hex)
def test_a_tpm_that_stays_busy_is_given_up_in_bounded_time(bus: Bus, code: int) -> None:
    pauses_s: list[float] = []
    with closing(backend := patient(bus.tcti, pauses_s)):
        count = backend.advance()
        bus.on(faults.NV_INCREMENT, *[answers(code)] * 1000)
        with pytest.raises(Exception, match=f"{code:x}"):
            backend.advance()
        bus.clear()
        assert backend.advance() == count + 1
    assert PATIENCE_S <= sum(pauses_s) < PATIENCE_S + 2
    assert sorted(pauses_s) == pauses_s


@pytest.mark.parametrize("fault", [faults.never_arrives, faults.is_not_answered])
def test_a_broken_line_is_opened_again_for_what_may_be_repeated(bus: Bus, fault: faults.Fault) -> None:
    with closing(backend := enrolled(bus.tcti)):
        sealed, identity = backend.seal(ROOT), backend.make_identity()
        bus.on(faults.UNSEAL, fault)
        assert backend.unseal(sealed) == ROOT
        bus.on(faults.SIGN, fault)
        assert backend.sign(identity, DIGEST)
        bus.on(faults.NV_WRITE, fault)
        backend.set_record(b"a" * 40)
        assert backend.record() == b"a" * 40


@pytest.mark.parametrize(("fault", "counted"), [(faults.never_arrives, 0), (faults.is_not_answered, 1)])
def test_a_count_is_never_repeated(bus: Bus, fault: faults.Fault, counted: int) -> None:
    with closing(backend := enrolled(bus.tcti)):
        count = backend.counter()
        bus.on(faults.NV_INCREMENT, fault)
        with pytest.raises(KeysUnavailable, match="does not answer"):
            backend.advance()
        assert backend.counter() == count + counted


@pytest.mark.parametrize(
    ("fault", "extended"), [(faults.never_arrives, False), (faults.is_not_answered, True)]
)
def test_a_digest_is_never_folded_in_twice(bus: Bus, fault: faults.Fault, extended: bool) -> None:  # noqa: FBT001 - a case
    with closing(backend := enrolled(bus.tcti)):
        bus.on(faults.NV_EXTEND, fault)
        with pytest.raises(KeysUnavailable, match="does not answer"):
            backend.extend(DIGEST)
        folded = hashlib.sha256(bytes(32) + DIGEST).digest()
        assert backend.anchor() == (folded if extended else bytes(32))


def test_a_count_that_was_refused_before_it_began_is_asked_for_again(bus: Bus) -> None:
    with closing(backend := patient(bus.tcti, [])):
        count = backend.counter()
        bus.on(faults.NV_INCREMENT, *[answers(0x920)] * 3)
        assert backend.advance() == count + 1


@pytest.mark.parametrize("fault", [answers(0x922), faults.never_arrives])
def test_a_count_is_not_repeated_when_only_reading_it_fails(bus: Bus, fault: faults.Fault) -> None:
    with closing(backend := patient(bus.tcti, [])):
        count = backend.counter()
        bus.on(faults.NV_READ, *[fault] * 9)
        with pytest.raises(KeysUnavailable):
            backend.advance()
        bus.clear()
        assert backend.counter() == count + 1


@pytest.mark.parametrize(
    ("use", "commands"),
    [("unseal", 6), ("sign", 6), ("counter", 5), ("advance", 6), ("set_record", 5), ("extend", 6)],
)
def test_no_use_takes_more_commands_than_it_must(bus: Bus, use: str, commands: int) -> None:
    """Each is 10 ms or more on a real bus, starting the session 70 to 230."""
    with closing(backend := enrolled(bus.tcti)):
        sealed, identity = backend.seal(ROOT), backend.make_identity()
        backend.set_record(b"a" * 40)
        backend.extend(DIGEST)
        backend.advance()
        arguments = {
            "unseal": (sealed,),
            "sign": (identity, DIGEST),
            "set_record": (b"b" * 40,),
            "extend": (DIGEST,),
        }
        bus.clear()
        getattr(backend, use)(*arguments.get(use, ()))
        assert len(bus.codes()) == commands


def test_a_line_that_broke_while_idle_costs_no_count(tpm: Swtpm, bus: Bus) -> None:
    with closing(backend := enrolled(bus.tcti)):
        count = backend.advance()
        tpm.restart()
        assert backend.advance() == count + 1


@pytest.mark.parametrize("command", [faults.LOAD, faults.UNSEAL, faults.START_AUTH_SESSION])
def test_power_cut_in_the_middle_of_an_unseal(tpm: Swtpm, bus: Bus, command: int) -> None:
    with closing(backend := enrolled(bus.tcti)):
        sealed = backend.seal(ROOT)
        bus.on(command, after(tpm.kill))
        with pytest.raises(KeysUnavailable, match="does not answer"):
            backend.unseal(sealed)
        tpm.start()
        assert backend.unseal(sealed) == ROOT


def test_power_cuts_do_not_lock_the_tpm(tpm: Swtpm) -> None:
    with closing(backend := enrolled(tpm.tcti)):
        sealed, identity = backend.seal(ROOT), backend.make_identity()
        for _ in range(6):  # without NODA three were enough
            assert backend.unseal(sealed) == ROOT
            assert backend.sign(identity, DIGEST)
            backend.advance()
            tpm.restart()
        assert lockout_counter(tpm) == 0


def test_slots_that_a_crash_left_taken_are_freed(tpm: Swtpm) -> None:
    with closing(backend := enrolled(tpm.tcti)):
        sealed = backend.seal(ROOT)
        fill_slots(tpm)
        assert backend.unseal(sealed) == ROOT
        assert held(tpm.tcti) == []


@pytest.mark.parametrize(("command", "code"), [(faults.LOAD, 0x902), (faults.START_AUTH_SESSION, 0x903)])
def test_slots_that_stay_taken_are_an_error_that_says_so(bus: Bus, command: int, code: int) -> None:
    with closing(backend := enrolled(bus.tcti)):
        sealed = backend.seal(ROOT)
        bus.on(command, *[answers(code)] * 2)
        with pytest.raises(KeysUnavailable, match="no free slot"):
            backend.unseal(sealed)
        assert backend.unseal(sealed) == ROOT


def test_a_failed_use_leaves_no_slot_taken(tpm: Swtpm, bus: Bus) -> None:
    with closing(backend := enrolled(bus.tcti)):
        sealed = backend.seal(ROOT)
        for command in (faults.LOAD, faults.UNSEAL):
            bus.on(command, answers(0x101))
            with pytest.raises(KeysUnavailable, match="failure mode"):
                backend.unseal(sealed)
    assert held(tpm.tcti) == []


def test_a_hung_tpm_fails_its_callers_at_once_and_serves_them_when_it_is_back(tpm: Swtpm) -> None:
    async def scenario() -> None:
        keys, backend = KeysThread(0.02), enrolled(tpm.tcti)
        with closing(backend):
            sealed = backend.seal(ROOT)
            tpm.freeze()
            with pytest.raises(KeysUnavailable, match="has not answered"):
                await keys.run(backend.unseal, sealed)
            with pytest.raises(KeysUnavailable, match="has not answered"):
                await keys.run(backend.counter)
            tpm.thaw()
            while keys.hung:  # noqa: ASYNC110 - the TPM tells nobody
                await asyncio.sleep(0)
            keys._deadline_s = 60.0
            assert await keys.run(backend.unseal, sealed) == ROOT
            await keys.close()

    asyncio.run(scenario())


def test_a_tpm_nobody_started_is_told() -> None:
    with (
        Swtpm(startup="startup-none") as tpm,
        closing(backend := enrolled(tpm.tcti)),
        pytest.raises(KeysUnavailable, match="nobody has started the TPM"),
    ):
        backend.seal(ROOT)


def test_a_tpm_that_is_gone_is_told(tpm: Swtpm) -> None:
    with closing(backend := enrolled(tpm.tcti)):
        backend.seal(ROOT)
        tpm.stop()
        with pytest.raises(KeysUnavailable, match="does not answer"):
            backend.seal(ROOT)


def test_a_board_without_a_tpm_is_told() -> None:
    with pytest.raises(KeysUnavailable, match=r"there is no /dev/tpmrm999.*dtoverlay"):
        open_tpm(TpmSettings(tcti="device:/dev/tpmrm999")).seal(ROOT)


@pytest.mark.parametrize(
    "tcti", ["", "mssim:host=localhost", "device:/dev/tpm0", "device", "swtpm:", "swtpm:port=2321"]
)
def test_a_tcti_that_is_not_explicit_or_not_managed_is_refused(tcti: str) -> None:
    with pytest.raises(ValueError, match="resource manager"):
        Device(tcti)


def test_the_bus_carries_neither_secret_nor_key_nor_authorisation(bus: Bus) -> None:
    with closing(backend := enrolled(bus.tcti)):
        sealed, identity = backend.seal(ROOT), backend.make_identity()
        assert backend.unseal(sealed) == ROOT
        backend.sign(identity, DIGEST)
        backend.set_record(b"r" * 40)
        backend.advance()
        backend.extend(DIGEST)
        shown = backend._shown()
    assert b"r" * 40 in bus.heard  # it hears what is said in the clear
    for secret in (ROOT, shown, shown[:16], bytes.fromhex(shown.decode())):
        assert secret not in bus.heard


def test_the_tap_would_hear_an_authorisation_shown_as_a_password(tpm: Swtpm, bus: Bus) -> None:
    with closing(backend := enrolled(tpm.tcti)):
        backend.counter()
        with ESAPI(bus.tcti) as esapi:
            index = esapi.tr_from_tpmpublic(0x0180ED00)
            esapi.tr_set_auth(index, backend._shown())
            esapi.nv_increment(index)
        assert backend._shown() in bus.heard


def test_the_tpms_clock_is_never_asked(bus: Bus) -> None:
    with closing(backend := enrolled(bus.tcti)):
        backend.unseal(backend.seal(ROOT))
        backend.advance()
    assert READ_CLOCK not in bus.codes()


def test_an_owner_with_a_password_is_obeyed_and_not_overheard(tpm: Swtpm, bus: Bus) -> None:
    password = b"the owner's password"
    with ESAPI(tpm.tcti) as esapi:
        esapi.hierarchy_change_auth(ESYS_TR.OWNER, password)
    with closing(backend := open_tpm(TpmSettings(tcti=bus.tcti, owner_auth=password))):
        backend.authorise(ROOT)
        assert backend.unseal(backend.seal(ROOT)) == ROOT
        assert backend.advance() == backend.counter()
        backend.forget()
    assert password not in bus.heard


def test_an_owners_password_that_is_not_known_is_asked_for(tpm: Swtpm) -> None:
    with closing(first := enrolled(tpm.tcti)):
        first.advance()
    with ESAPI(tpm.tcti) as esapi:
        esapi.hierarchy_change_auth(ESYS_TR.OWNER, b"the owner's password")
    with closing(backend := enrolled(tpm.tcti)), pytest.raises(KeysUnavailable, match="owner has a password"):
        backend.counter()


def test_the_tss_prints_nothing(bus: Bus, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with closing(backend := enrolled(bus.tcti)):
        bus.on(faults.LOAD, answers(0x101))
        with pytest.raises(KeysUnavailable):
            backend.unseal(backend.seal(ROOT))
    with pytest.raises(KeysUnavailable):
        open_tpm(TpmSettings(tcti=f"swtpm:path={tmp_path}/none")).seal(ROOT)
    assert "ERROR" not in "".join(capfd.readouterr())


def fill_slots(tpm: Swtpm) -> None:
    """Load and start as much as fits, and go without a word."""
    with ESAPI(tpm.tcti) as esapi:
        for _ in range(3):
            esapi.create_primary(None, "ecc")
            esapi.start_auth_session(ESYS_TR.NONE, ESYS_TR.NONE, 0, None, 0x000B)


def lockout_counter(tpm: Swtpm) -> int:
    with ESAPI(tpm.tcti) as esapi:
        _, found = esapi.get_capability(TPM2_CAP.TPM_PROPERTIES, TPM2_PT.LOCKOUT_COUNTER, 1)
        return int(found.data.tpmProperties[0].value)
