"""The keys as the event loop sees them: opened at the start, within deadlines, degraded where they do not open."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Callable
from pathlib import Path

import pytest

from edged.errors import BadConfig, KeysReplaced, KeysUnavailable, NotEnrolled
from edged.keys.config import KeysConfig
from edged.keys.keyring import Keyring
from edged.keys.vault import Purpose
from tests.rig.keyring import Device, keyplace
from tests.rig.swtpm import Swtpm


def keyring(
    device: Device, *, tpm: str = "preferred", timeout_s: float = 10.0, wait_s: float = 0.0
) -> Keyring:
    tcti = "" if device.tpm is None else device.tpm.tcti
    place = keyplace(device.state, device.noted, tpm=tpm, tcti=tcti)  # type: ignore[arg-type] # one of the three
    config = KeysConfig(tpm=tpm, timeout_s=timeout_s, wait_s=wait_s)  # type: ignore[arg-type] # likewise
    return Keyring(config, device.state, device.noted, place)


async def until(true: Callable[[], bool]) -> None:
    """Let the loop turn until something is so; the suite's own timeout ends what never is."""
    while not true():  # noqa: ASYNC110 - nothing else tells
        await asyncio.sleep(0)


def test_keys_are_made_at_the_first_start_and_opened_at_the_next(device: Device) -> None:
    async def life() -> bytes:
        keys = keyring(device)
        await keys.open()
        sealer = keys.sealer(Purpose.SECRETS)
        sealed = sealer.seal("broker", b"the password")
        await keys.commit({"config": b"one"}, revision=1)
        assert await keys.rotate() == 2
        assert sealer.stale(sealed)
        assert await keys.read("config") == b"one"
        assert await keys.sign("status", b"well")
        assert await keys.anchor() == bytes(32)
        assert await keys.extend(bytes(32)) == await keys.anchor() != bytes(32)
        with pytest.raises(NotEnrolled):
            keys.believed(b"", "config")
        with pytest.raises(NotEnrolled):
            keys.material()
        await keys.load_tls()
        assert await keys.enrolled() is None
        assert (await keys.settle()).revision == keys.committed.revision == 1
        assert keys.status(1_800_000_000).epoch == 2
        await keys.close()
        with pytest.raises(KeysUnavailable):
            _ = keys.vault
        return sealed

    async def again(sealed: bytes) -> None:
        keys = keyring(device)
        await keys.open()
        assert keys.sealer(Purpose.SECRETS).open("broker", sealed) == b"the password"
        assert resource.getrlimit(resource.RLIMIT_CORE) == (0, 0)
        await keys.close()

    asyncio.run(again(asyncio.run(life())))


def test_a_device_goes_on_without_keys_and_says_why(tpm_device: Device) -> None:
    async def scenario() -> None:
        first = keyring(tpm_device)
        await first.open()
        await first.close()
        assert tpm_device.tpm is not None
        tpm_device.tpm.wipe()
        keys = keyring(tpm_device)
        await keys.open()
        assert isinstance(keys.problem, KeysReplaced)
        with pytest.raises(KeysReplaced):
            _ = keys.vault
        with pytest.raises(KeysReplaced):
            await keys.sign("status", b"well")
        await keys.close()

    asyncio.run(scenario())


def test_required_without_a_tpm_refuses_to_start(tmp_path: Path) -> None:
    async def scenario() -> None:
        with pytest.raises(KeysUnavailable, match="Attach or enable a TPM"):
            await keyring(Device(tmp_path), tpm="required").open()
        made = keyring(Device(tmp_path), tpm="off")
        await made.open()
        await made.close()
        with pytest.raises(BadConfig, match="moves them into a TPM"):
            await keyring(Device(tmp_path), tpm="required").open()

    asyncio.run(scenario())


def test_a_tpm_that_appears_late_is_waited_for(tpm_device: Device) -> None:
    async def scenario() -> None:
        tpm = tpm_device.tpm
        assert tpm is not None
        first = keyring(tpm_device)
        await first.open()
        await first.close()
        tpm.kill()
        tpm.path.unlink()
        keys = keyring(tpm_device, wait_s=30.0)
        opening = asyncio.ensure_future(keys.open())  # noqa: TID251 - a test's own
        await until(lambda: "there is no" in str(keys.problem))
        tpm.start()
        await opening
        assert keys.sealer(Purpose.SPOOL)
        await keys.close()

    asyncio.run(scenario())


def test_a_hung_tpm_fails_who_asks_it_and_nobody_else(tpm_device: Device) -> None:
    async def scenario() -> None:
        assert tpm_device.tpm is not None
        keys = keyring(tpm_device, timeout_s=5.0)
        await keys.open()
        sealed = keys.vault.seal("spool", "7", b"a reading")
        tpm_device.tpm.freeze()
        keys._thread._deadline_s = 0.05  # type: ignore[union-attr] # so that the test need not wait
        with pytest.raises(KeysUnavailable, match="has not answered"):
            await keys.sign("status", b"well")
        assert keys.vault.open("spool", "7", sealed) == b"a reading"
        with pytest.raises(KeysUnavailable):
            await keys.sign("status", b"well")
        tpm_device.tpm.thaw()
        keys._thread._deadline_s = 30.0  # type: ignore[union-attr] # likewise
        await until(lambda: not keys._thread.hung)  # type: ignore[union-attr] # it was opened
        assert await keys.sign("status", b"well")
        await keys.close()

    asyncio.run(scenario())


def test_a_tpm_that_cannot_be_asked_stops_nobody_who_does_without_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        with Swtpm() as tpm:
            device = Device(tmp_path, tpm)
            tpm.kill()  # its socket is there, and nobody answers
            for _ in range(2):
                keys = keyring(device, tpm="off")
                await keys.open()
                assert keys.vault.protection == "hostfile"
                await keys.close()
            other = keyring(Device(tmp_path / "other", tpm))
            await other.open()
            assert isinstance(other.problem, KeysUnavailable)
            await other.close()

    asyncio.run(scenario())


def test_an_unused_swtpm_is_not_touched_by_a_device_that_does_without(tmp_path: Path) -> None:
    async def scenario() -> None:
        with Swtpm() as tpm:
            device = Device(tmp_path, tpm)
            keys = keyring(device, tpm="off")
            await keys.open()
            assert keys.vault.protection == "hostfile"
            await keys.close()
            again = keyring(device, tpm="off")
            await again.open()
            assert again.problem is None
            await again.close()

    asyncio.run(scenario())
